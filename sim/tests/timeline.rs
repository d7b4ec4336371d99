//! The timeline of a run: one page that needs nothing else.

use asyncserver_sim::{Plan, Played, Profile, Trace, Trouble, html, play, story, text};

/// A run with this in it that is easy to break.
const HOSTILE: &str = "<script>alert(1)</script>\" onmouseover='x' & </pre>";

fn stormy() -> (Plan, Played) {
    let mut seeds = 0..200;
    let seed = seeds.find(|seed| {
        let plan = Plan::generate(*seed, Profile::Storm);
        let is_struck = |fault: &asyncserver_sim::TimedFault| {
            matches!(fault.trouble, Trouble::Cut { .. }) && fault.at_ms > 0
        };
        plan.faults.iter().any(is_struck)
    });
    let plan = Plan::generate(seed.unwrap(), Profile::Storm);
    let played = play(&plan, Trace::off());
    (plan, played)
}

#[test]
fn the_page_loads_nothing_from_anywhere() {
    let (plan, played) = stormy();
    let page = html(&plan, &played).unwrap();
    for load in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(load), "{load}");
    }
}

#[test]
fn text_from_a_plan_is_not_taken_for_markup() {
    let (mut plan, _) = stormy();
    plan.about = HOSTILE.to_owned();
    let before = plan.clients[0].name.clone();
    for event in plan.events.iter_mut().filter(|e| e.client == before) {
        event.client = HOSTILE.to_owned();
    }
    plan.clients[0].name = HOSTILE.to_owned();
    let mut played = play(&plan, Trace::off());
    if let Some(verdict) = &mut played.verdict {
        verdict.text = HOSTILE.to_owned();
    }
    let page = html(&plan, &played).unwrap();
    assert!(page.contains("&#60;script&#62;alert"), "{page}");
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains("\" onmouseover="));
}

#[test]
fn every_step_of_the_plan_and_every_lane_is_there() {
    let (plan, played) = stormy();
    let page = html(&plan, &played).unwrap();
    let head = "<th>client</th><th>network</th><th>server</th><th>tasks</th>";
    assert_eq!(page.matches(head).count(), played.connections.len());
    let steps = plan.events.len() + plan.faults.len() + 1;
    assert_eq!(page.matches("<td class=\"who\">").count(), steps);
    assert!(page.contains("@media print"));
    for connection in &played.connections {
        assert!(page.contains(&connection.name.replace('>', "&#62;")));
    }
}

#[test]
fn times_do_not_run_backwards_in_any_section() {
    let (plan, played) = stormy();
    let page = html(&plan, &played).unwrap();
    for section in page.split("<details").skip(2) {
        let cells = section.split("<td class=\"at\">").skip(1);
        let times = cells.map(|cell| cell.split('<').next().unwrap().parse().unwrap());
        let times: Vec<f64> = times.collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

#[test]
fn what_is_said_as_text_is_the_same_story() {
    let (plan, played) = stormy();
    let text = text(&plan, &played);
    assert!(text.starts_with(&story(&plan)));
    let fault = &plan.faults[0];
    assert!(
        text.contains(&format!("{:>8} ms  fault", fault.at_ms)),
        "{text}"
    );
    for connection in &played.connections {
        assert!(text.contains(&connection.name));
    }
}

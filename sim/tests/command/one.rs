//! One plan: `replay` and `shrink`.

use asyncserver_sim::Plan;

use super::{complained, folder, impossible, said, sim, write};

#[test]
fn a_file_is_replayed_to_the_same_verdict_each_time() {
    let folder = folder("again");
    let file = write(&folder, "plan.json", &impossible().to_json());
    let first = sim(&folder, &["replay", &file, "--text"]);
    assert_eq!(first.status.code(), Some(1));
    assert!(said(&first).contains("BROKEN (hang): no progress for 0ns"));
    let second = sim(&folder, &["replay", &file, "--text"]);
    assert_eq!(said(&first), said(&second));
}

#[test]
fn a_plan_that_passes_is_said_to() {
    let folder = folder("passes");
    let output = sim(&folder, &["replay", "0x3", "--profile", "calm"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said(&output), "Nothing is wrong with it.\n");
}

#[test]
fn another_version_is_pointed_out() {
    let folder = folder("version");
    let output = sim(&folder, &["replay", "3", "--profile", "calm", "--at", "v0"]);
    assert!(complained(&output).contains("and it failed at v0"));
}

#[test]
fn the_plan_of_a_seed_and_its_file_are_the_same_run() {
    let folder = folder("written");
    let seed = ["replay", "0x7", "--profile", "calm", "--text"];
    let of_seed = sim(&folder, &[&seed[..], &["--plan", "p.json"]].concat());
    let text = std::fs::read_to_string(folder.join("p.json")).unwrap();
    assert_eq!(Plan::from_json(&text).unwrap().to_json(), text);
    let of_file = sim(&folder, &["replay", "p.json", "--text"]);
    assert_eq!(said(&of_seed), said(&of_file));
}

#[test]
fn a_trace_has_every_poll_and_the_verdict_at_its_end() {
    let folder = folder("trace");
    let output = sim(&folder, &["replay", "0x3", "--profile", "calm", "--trace"]);
    let said = said(&output);
    assert!(said.lines().filter(|line| line.ends_with("polled")).count() > 10);
    assert!(said.ends_with("Nothing is wrong with it.\n"));
}

#[test]
fn a_plan_is_shrunk_to_nothing_where_nothing_in_it_is_needed() {
    let folder = folder("shrink");
    let file = write(&folder, "plan.json", &impossible().to_json());
    let output = sim(&folder, &["shrink", &file, "-o", "small.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
    let said = said(&output);
    assert!(said.contains("0 events and faults of 5 are left"), "{said}");
    assert!(said.contains("BROKEN (hang)"), "{said}");
    let text = std::fs::read_to_string(folder.join("small.json")).unwrap();
    let small = Plan::from_json(&text).unwrap();
    assert_eq!(small.about, "hang: rest");
    assert_eq!(small.len(), 0);
    let again = sim(&folder, &["replay", "small.json"]);
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn what_passes_cannot_be_shrunk_and_no_work_is_lost_to_a_bad_file_name() {
    let folder = folder("no-shrink");
    let output = sim(&folder, &["shrink", "0x3", "--profile", "calm"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complained(&output).contains("nothing is wrong with it"));
    let file = write(&folder, "plan.json", &impossible().to_json());
    let output = sim(&folder, &["shrink", &file, "-o", "nowhere/small.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complained(&output).contains("nowhere/small.json: "));
}

#[test]
fn a_timeline_is_written_beside_what_is_printed() {
    let folder = folder("timeline");
    let arguments = ["replay", "0x3", "--profile", "calm", "--timeline", "t.html"];
    let output = sim(&folder, &arguments);
    assert_eq!(said(&output), "Nothing is wrong with it.\n");
    let page = std::fs::read_to_string(folder.join("t.html")).unwrap();
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(page.ends_with("</html>"), "{page}");
}

//! The kept scenarios: of bugs that were found, and of states that chance seldom
//! reaches. `scenarios/README.md` says how each is known to fail.
//!
//! Each says what it is about and is accepted by the oracle. PROTOCOL often allows
//! more than the library does: what else must be seen is in the scenario.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Once;

use super::*;

thread_local! {
    /// The scenario that is played.
    static PLAYED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A bug of the library may end the whole process: then nobody else says which
/// scenario it was.
fn name_it_where_it_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PLAYED.with_borrow(|name| {
                if !name.is_empty() {
                    // Not by `eprintln`, of which an abort leaves nothing.
                    let _ = writeln!(std::io::stderr(), "in the kept scenario {name}:");
                }
            });
            tell(panic);
        }));
    });
}

/// What a scenario's file holds beside the scenario.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    about: String,
    #[serde(rename = "config")]
    _config: Option<serde_json::Value>,
    #[serde(rename = "steps")]
    _steps: serde_json::Value,
    #[serde(rename = "neighbours")]
    _neighbours: Option<serde_json::Value>,
    /// Texts that the timeline has.
    #[serde(default)]
    shows: Vec<String>,
    /// Texts that it has not.
    #[serde(default)]
    never: Vec<String>,
}

/// Why a kept scenario is not as it should be.
fn fault(name: &str, scenario: &Scenario) -> Option<String> {
    let file = harness::suite::directory().join(format!("{name}.json"));
    let text = std::fs::read_to_string(file).expect("a kept scenario");
    let kept: Kept = match serde_json::from_str(&text) {
        Ok(kept) => kept,
        Err(error) => return Some(error.to_string()),
    };
    if kept.about.is_empty() {
        return Some("it does not say what it shows".to_owned());
    }
    let outcome = harness::run(scenario);
    match outcome.verdict() {
        Ok(()) => {}
        // What spins has a long timeline.
        Err(harness::Failure::Fault(fault)) => return Some(fault),
        Err(rejected) => return Some(format!("{rejected}\n{}", show(&outcome))),
    }
    let timeline = outcome.timeline();
    let missing = kept.shows.iter().find(|text| !timeline.contains(*text));
    if let Some(text) = missing {
        return Some(format!("it does not show \"{text}\"\n{timeline}"));
    }
    if let Some(text) = kept.never.iter().find(|text| timeline.contains(*text)) {
        return Some(format!("it shows \"{text}\"\n{timeline}"));
    }
    let state = name.strip_prefix("reach_")?.replace('_', "");
    let mut reached = oracle::reached(outcome.history());
    reached.extend(oracle::reached_together(&outcome.seen));
    let mut names = reached.iter().map(|reached| format!("{reached:?}"));
    let has_reached = names.any(|name| name.to_lowercase() == state);
    (!has_reached).then(|| format!("it reaches {reached:?} alone"))
}

#[test]
fn every_kept_scenario_is_accepted() {
    let kept = harness::suite::kept();
    assert!(kept.len() >= 24, "{} kept scenarios", kept.len());
    let mut failed = Vec::new();
    name_it_where_it_panics();
    for (name, scenario) in kept {
        PLAYED.with_borrow_mut(|played| played.clone_from(&name));
        if let Some(why) = fault(&name, &scenario) {
            println!("kept scenario {name}: {}\n{why}\n", scenario.about);
            failed.push(name);
        }
    }
    PLAYED.with_borrow_mut(String::clear);
    assert!(failed.is_empty(), "kept scenarios that fail: {failed:?}");
}

#[test]
fn a_kept_scenario_is_the_same_after_being_written_again() {
    for (name, scenario) in harness::suite::kept() {
        let again = Scenario::from_json(&scenario.to_json()).expect("a scenario");
        assert_eq!(again, scenario, "{name}");
    }
}

//! The kept scenarios: of bugs that were found, and of states that chance seldom
//! reaches. Each says what it is about, and each is accepted.

use super::*;

#[test]
fn every_kept_scenario_is_accepted() {
    let kept = harness::suite::kept();
    assert!(kept.len() >= 12, "{} kept scenarios", kept.len());
    for (name, scenario) in kept {
        assert!(!scenario.about.is_empty(), "{name} says what it shows");
        let outcome = harness::run(&scenario);
        let verdict = outcome.verdict();
        assert!(
            verdict.is_ok(),
            "{name}: {}\n{}",
            scenario.about,
            show(&outcome)
        );
    }
}

#[test]
fn a_kept_scenario_is_the_same_after_being_written_again() {
    for (name, scenario) in harness::suite::kept() {
        let again = Scenario::from_json(&scenario.to_json()).expect("a scenario");
        assert_eq!(again, scenario, "{name}");
    }
}

//! What is printed and kept: violations, timelines, JSON.

use oracle::{Ask, Call, History, Oracle, Reason, RunEnd, Scenario, strategy, timeline};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::h;

/// A history with a bit of everything.
fn history() -> History {
    h().sends(1, Ask::Echo(2))
        .ok(1, &[0, 1])
        .sends(2, Ask::Scripted { code: 20, bytes: 0 })
        .starts(1, 2, 20)
        .at(5)
        .calls(Call::Disconnect { after_ms: 9 })
        .ends(1, RunEnd::Whole { bytes: 0 })
        .ok(2, b"")
        .server_ends()
        .client_ends()
        .closed(Reason::GracefulDisconnect)
        .history()
}

#[test]
fn a_violation_prints_the_rule_the_extract_and_what_was_allowed() {
    let history = h()
        .sends(1, Ask::Echo(2))
        .sends(2, Ask::Echo(0))
        .at(3)
        .ok(1, &[0])
        .history();
    let printed = Oracle::new(&history).judge().unwrap_err().to_string();
    let expected = "PROTOCOL T7 is broken: request 1 (code 1) was answered OK 1 (1 bytes)\n  \
                    allowed: OK with 0001\n    \
                    0.000  client   -> 9 bytes: echo 1 (2 bytes)\n    \
                    3.000  client   <- 8 bytes: OK 1 (1 bytes)";
    assert_eq!(printed, expected);
}

#[test]
fn a_timeline_has_a_line_for_each_event() {
    let history = history();
    let text = timeline::render(&history);
    assert_eq!(text.lines().count(), history.events.len() + 2, "{text}");
    assert!(
        text.contains("    5.000  program  calls Disconnect { after_ms: 9 }"),
        "{text}"
    );
}

#[test]
fn a_history_survives_json() {
    let history = history();
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
}

#[test]
fn generated_scenarios_survive_json_and_are_in_time() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..300 {
        let scenario = strategy::scenarios(30)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        assert!(scenario.steps.is_sorted_by_key(|step| step.at_ms));
        assert_eq!(Scenario::from_json(&scenario.to_json()).unwrap(), scenario);
    }
}

#[test]
fn every_kind_of_step_is_generated() {
    let mut runner = TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let scenario = strategy::scenarios(30)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        kinds.extend(scenario.steps.iter().map(|step| step.op.kind()));
    }
    let missing: Vec<_> = strategy::KINDS
        .iter()
        .filter(|kind| !kinds.contains(**kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_oracle_judges_any_bytes_without_a_panic() {
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(0..6u8, 0..80);
    for _ in 0..2000 {
        let [sent, received] = [(); 2].map(|()| bytes.new_tree(&mut runner).unwrap().current());
        let history = h()
            .sends_bytes(&sent)
            .receives(&received)
            .client_ends()
            .history();
        drop(Oracle::new(&history).violations());
    }
}

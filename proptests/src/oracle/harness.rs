//! What a history must be before it can be judged at all.

use std::collections::BTreeSet;

use super::rule::{Found, Rule};
use crate::history::{History, What};

/// Whether the events can be put together: times do not go back, ends have
/// starts. What fails here is a fault of the harness.
pub(crate) fn check(history: &History, found: &mut Found<'_>) {
    let (mut runs, mut ended, mut last) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut calls = BTreeSet::new();
    for (moment, event) in history.events.iter().enumerate() {
        let mut fault = |what: &str| {
            let allowed = "a history as the documentation of the crate describes it";
            found.broken(Rule::Harness, what, allowed, [moment]);
        };
        if event.at_us < last {
            fault("time goes back");
        }
        last = event.at_us;
        match event.what {
            What::RunStarted { run, .. } if !runs.insert(run) => fault("a run starts twice"),
            What::RunEnded { run, .. } if !runs.contains(&run) => {
                fault("a run ends that never started");
            }
            What::RunEnded { run, .. } if !ended.insert(run) => fault("a run ends twice"),
            What::BodyEnded { run, .. } | What::BodyDropped { run } if !ended.contains(&run) => {
                fault("a body ends before its run");
            }
            What::Called { call, .. } if !calls.insert(call) => fault("a call begins twice"),
            What::Returned { call, .. } if !calls.contains(&call) => {
                fault("a call returns that never began");
            }
            _ => {}
        }
    }
    if history.end_us < last {
        let allowed = "an end at or after the last event";
        found.broken(
            Rule::Harness,
            "the history ends before its last event",
            allowed,
            [],
        );
    }
}

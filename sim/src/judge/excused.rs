//! What is not held against a run: where the oracle cannot know how late bytes
//! were, and findings that are open.

use oracle::{History, Rule, Violation, What};

/// Whether a violation of this history is none, or known.
pub(super) fn is_excused(history: &History, violation: &Violation) -> bool {
    is_of_timing(history, violation) || is_open(history, violation)
}

/// On a link that delays or holds bytes, when the server saw what cannot be told
/// from when it was sent: its clocks are judged on the other links.
fn is_of_timing(history: &History, violation: &Violation) -> bool {
    let is_clock = matches!(violation.rule, Rule::L1 | Rule::L2 | Rule::L3 | Rule::D3);
    let is_held = |what: &What| matches!(what, What::Stalled(_));
    let delays = history.config.tolerance.network_ms > 0;
    is_clock && (delays || history.events.iter().any(|event| is_held(&event.what)))
}

/// Open: a task whose order to end meets the end of its connection is reported
/// as Responding before its function has been dropped (D9).
///
/// Open: of a connection that ended with a stuck task, the oracle takes the late
/// return of its function for activity (L1).
fn is_open(history: &History, violation: &Violation) -> bool {
    let has_stuck =
        |what: &What| matches!(what, What::Closed(Some(report)) if !report.stuck.is_empty());
    let is_stuck = history.events.iter().any(|event| has_stuck(&event.what));
    (violation.rule == Rule::L1 && is_stuck)
        || violation.rule == Rule::D9
            && violation
                .what
                .contains("interrupted in Responding, and its run")
}

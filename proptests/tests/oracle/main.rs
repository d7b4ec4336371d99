//! The oracle's own tests: histories made by hand, each of which breaks one
//! rule and is rejected with that rule, or is odd, legal, and accepted.

mod accepts_ends;
mod accepts_tasks;
mod reaches;
mod rejects_ends;
mod rejects_reports;
mod rejects_tasks;
mod rejects_times;
mod texts;
mod together;

use oracle::{Handmade, Oracle, Rule};

/// A history starts here.
fn h() -> Handmade {
    Handmade::new()
}

/// The history breaks just this rule first, and the message says so.
fn assert_rejected(rule: Rule, history: Handmade) {
    let history = history.history();
    let timeline = oracle::timeline::render(&history);
    match Oracle::new(&history).finish() {
        Ok(()) => panic!("accepted, though it breaks {rule}:\n{timeline}"),
        Err(violation) => {
            assert_eq!(violation.rule, rule, "{violation}\n{timeline}");
            assert!(
                !violation.extract.is_empty(),
                "the message shows where: {violation}"
            );
        }
    }
}

/// The history is legal, as far as it goes and as a whole.
fn assert_accepted(history: Handmade) {
    let history = history.history();
    for verdict in [
        Oracle::new(&history).judge(),
        Oracle::new(&history).finish(),
    ] {
        if let Err(violation) = verdict {
            panic!("{violation}\n{}", oracle::timeline::render(&history));
        }
    }
}

/// Each line is a test: a fact, the rule that its history breaks, the history.
macro_rules! rejected {
    ($($name:ident: $rule:ident, $history:expr;)*) => {
        $(#[test]
        fn $name() {
            crate::assert_rejected(oracle::Rule::$rule, $history);
        })*
    };
}

/// Each line is a test: a fact, and the history that has it.
macro_rules! accepted {
    ($($name:ident: $history:expr;)*) => {
        $(#[test]
        fn $name() {
            crate::assert_accepted($history);
        })*
    };
}

use {accepted, rejected};

//! The whole server, played scenarios by chance over memory under paused time,
//! judged by the oracle. First the kept scenarios, then each suite's cases.
//!
//! `PROPTEST_CASES` and `ASYNCSERVER_SEED` explore further; see `proptests/README.md`.

mod equivalence;
mod kept;

use std::sync::{Mutex, OnceLock};

use harness::suite::{Suite, show};
use harness::{Outcome, Splits};
use oracle::strategy::{Theme, any_scenarios};
use oracle::{Reach, Scenario};

/// The most steps of a scenario.
const STEPS: usize = 14;

/// What the cases of all suites reached.
static REACH: Mutex<Option<Reach>> = Mutex::new(None);

fn count(outcome: &Outcome) {
    let mut reach = REACH.lock().expect("no suite panics in here");
    reach.get_or_insert_default().count_server(&outcome.seen);
}

/// An outcome that PROTOCOL allows; otherwise why it does not.
fn accepted(outcome: Outcome) -> Result<Outcome, String> {
    outcome.verdict().map_err(|failure| failure.to_string())?;
    Ok(outcome)
}

fn check(scenario: &Scenario) -> Result<(), String> {
    let outcome = accepted(harness::run(scenario))?;
    count(&outcome);
    Ok(())
}

/// Runs a suite once, whoever asks first.
macro_rules! suites {
    ($($name:ident: $cases:literal, $strategy:expr;)*) => {
        $(fn $name() {
            static DONE: OnceLock<u32> = OnceLock::new();
            DONE.get_or_init(|| {
                let suite = Suite { name: stringify!($name), cases: $cases };
                suite.run_scenarios(&$strategy, check)
            });
        })*

        mod judged {
            $(#[test]
            fn $name() {
                super::$name();
            })*
        }

        fn all_suites() {
            $($name();)*
        }
    };
}

suites! {
    any_scenario: 2500, any_scenarios(STEPS);
    cancelling: 1000, Theme::Cancelling.scenarios(STEPS);
    ends: 1000, Theme::Ends.scenarios(STEPS);
    bodies: 1000, Theme::Bodies.scenarios(STEPS);
    limits: 1000, Theme::Limits.scenarios(STEPS);
    clocks: 1000, Theme::Clocks.scenarios(STEPS);
    requests: 1000, Theme::Requests.scenarios(STEPS);
    neighbours: 1000, Theme::Neighbours.scenarios(STEPS);
}

#[test]
fn every_interesting_state_is_reached() {
    all_suites();
    for (_, scenario) in harness::suite::kept() {
        count(&harness::run(&scenario));
    }
    let reach = REACH.lock().expect("no suite panics in here");
    let reach = reach.as_ref().expect("suites ran");
    println!("{reach}");
    let missing = reach.missing();
    assert!(missing.is_empty(), "no case reached {missing:?}");
}

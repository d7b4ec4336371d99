//! The judge: see [`Oracle`].
//!
//! One file per group of rules, in the order in which they are judged. `facts`
//! puts a history together once; the rules only look at it.

mod answers;
mod cancelling;
mod clocks;
mod closing;
mod credit;
mod disconnect;
mod extensions;
pub(crate) mod facts;
mod framing;
mod harness;
mod life;
mod outcome;
pub(crate) mod places;
mod prompt;
mod questions;
mod reasons;
pub(crate) mod received;
mod report;
mod residue;
mod rule;
pub(crate) mod sent;
pub(crate) mod server;
mod whose;

pub use rule::{Rule, Violation};

use crate::history::History;
use facts::Facts;
use rule::Found;

/// Judges a history against the set of outcomes that PROTOCOL allows.
///
/// ```
/// use oracle::{Config, History, Oracle, Rule, What};
/// let mut history = History::new(Config::default());
/// history.record(0, What::Sent([1, 0, 0, 0, 7, 1, b'!', 0].into())); // echo 7
/// history.record(1000, What::Received([0, 0, 0, 0, 7, 1, b'?', 0].into()));
/// let violation = Oracle::new(&history).judge().unwrap_err();
/// assert_eq!(violation.rule, Rule::T7);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Oracle<'h> {
    history: &'h History,
}

impl<'h> Oracle<'h> {
    /// A judge of this history.
    #[must_use]
    pub const fn new(history: &'h History) -> Self {
        Self { history }
    }

    /// Judges the history as far as it goes: nothing forbidden has happened.
    ///
    /// # Errors
    /// The first violation, by the order of the rules' files.
    pub fn judge(&self) -> Result<(), Violation> {
        first(self.found(Until::Now))
    }

    /// Judges a history that is over: the same, and nothing is left over; every
    /// request is answered or named, and every function has ended.
    ///
    /// # Errors
    /// The first violation.
    pub fn finish(&self) -> Result<(), Violation> {
        first(self.found(Until::End))
    }

    /// Every violation of a history that is over.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.found(Until::End)
    }

    fn found(&self, until: Until) -> Vec<Violation> {
        let mut found = Found::new(self.history);
        harness::check(self.history, &mut found);
        if !found.violations.is_empty() {
            return found.violations;
        }
        let facts = Facts::of(self.history);
        framing::check(&facts, &mut found);
        life::check(&facts, &mut found);
        answers::check(&facts, &mut found);
        cancelling::check(&facts, &mut found);
        life::check_lists(&facts, &mut found);
        extensions::check(&facts, &mut found);
        places::check(&facts, &mut found);
        disconnect::check(&facts, &mut found);
        report::check(&facts, &mut found);
        reasons::check(&facts, &mut found);
        clocks::check(&facts, &mut found);
        prompt::check(&facts, &mut found);
        if found.violations.is_empty() {
            prompt::check_after_stalls(&facts, &mut found);
        }
        if until == Until::End {
            residue::check(&facts, &mut found);
        }
        found.violations
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Now,
    End,
}

fn first(violations: Vec<Violation>) -> Result<(), Violation> {
    violations.into_iter().next().map_or(Ok(()), Err)
}

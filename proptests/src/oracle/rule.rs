//! The rules of PROTOCOL, and what is printed when one is broken.

use std::fmt;

use crate::history::History;
use crate::timeline;

/// A rule of PROTOCOL, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "each is documented by PROTOCOL under its number"
)]
pub enum Rule {
    N3,
    N4,
    N8,
    N9,
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
    T7,
    T8,
    T9,
    T10,
    T11,
    T12,
    T13,
    E1,
    E2,
    E3,
    E4,
    E5,
    E6,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    L8,
    L9,
    L11,
    L14,
    L15,
    L16,
    /// What a demo task does (section 11).
    S11,
    /// The history contradicts itself: the harness is at fault, not the server.
    Harness,
    /// Nothing is left over at the end (the sum of T3, T7, T10, T13, L6, L7, L16).
    Residue,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S11 => f.write_str("section 11"),
            Self::Harness => f.write_str("the history itself"),
            Self::Residue => f.write_str("nothing left over"),
            rule => write!(f, "PROTOCOL {rule:?}"),
        }
    }
}

/// A rule was broken.
///
/// It prints the rule, what happened, what was allowed, and the part of the
/// history that shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} is broken: {what}\n  allowed: {allowed}\n{}", self.extract.join("\n"))]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What happened.
    pub what: String,
    /// What PROTOCOL allows instead.
    pub allowed: String,
    /// The lines of the history that show it.
    pub extract: Vec<String>,
}

/// Gathers what was found.
#[derive(Debug)]
pub(crate) struct Found<'h> {
    history: &'h History,
    pub(crate) violations: Vec<Violation>,
}

impl<'h> Found<'h> {
    pub(crate) const fn new(history: &'h History) -> Self {
        Self {
            history,
            violations: Vec::new(),
        }
    }

    /// Notes that a rule was broken; `moments` are the events that show it.
    pub(crate) fn broken(
        &mut self,
        rule: Rule,
        what: impl Into<String>,
        allowed: impl Into<String>,
        moments: impl IntoIterator<Item = usize>,
    ) {
        let mut moments: Vec<_> = moments.into_iter().collect();
        moments.sort_unstable();
        moments.dedup();
        self.violations.push(Violation {
            rule,
            what: what.into(),
            allowed: allowed.into(),
            extract: timeline::lines(self.history, &moments),
        });
    }
}

//! What came of a check.

use std::fmt;
use std::time::Duration;

use super::Case;
use super::log::{Lane, Line};
use super::run::BROKEN;
use crate::timeline::{Told, page_of, trouble_in_words};

/// Every case came to its end, and every invariant held.
///
/// ```
/// assert_eq!(asyncserver_sim::Passed::default().cases, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// How many cases.
    pub cases: u64,
    /// How much virtual time they took.
    pub virtual_time: Duration,
    /// How often tasks were polled.
    pub polls: u64,
    /// Of every poll, byte count and event of every case, in their order. Two
    /// processes have the same, unless something from outside gets into the
    /// cases: a wall clock, the order of a `HashMap`.
    pub trace_hash: u64,
}

/// A case that broke. Both [`Display`](fmt::Display) and [`Debug`](fmt::Debug)
/// are its story.
///
/// ```
/// fn keep<T: serde::Serialize>(broken: &asyncserver_sim::Broken<T>) -> std::io::Result<()> {
///     std::fs::write("cases/the_first.json", broken.small.to_json())
/// }
/// ```
pub struct Broken<T> {
    /// Its seed.
    pub seed: u64,
    /// How many cases were run until it was found.
    pub cases: u64,
    /// The case as it was found.
    pub found: Case<T>,
    /// The smallest case found that breaks in the same way.
    pub small: Case<T>,
    /// What does not hold in the small one.
    pub why: String,
    /// What happened in the small one.
    pub(super) log: Vec<Line>,
}

impl<T: fmt::Debug> Broken<T> {
    /// The small case as one page of HTML that needs nothing else: time
    /// downwards, lanes for clients, network, servers and tasks.
    ///
    /// # Panics
    /// Never: there is nothing in the page that cannot be rendered.
    #[must_use]
    pub fn html(&self) -> String {
        let told = self.log.iter().map(|line| Told {
            at_us: line.at_us,
            lane: match line.lane {
                Lane::Client => "client",
                Lane::Network => "network",
                Lane::Server => "server",
                Lane::Task => "tasks",
            },
            text: format!("{}: {}", line.who, line.what),
            task: line.task.clone().unwrap_or_default(),
            class: match line.who.as_str() {
                BROKEN => "violation",
                "fault" => "fault",
                _ => "",
            },
        });
        let title = format!("seed {:#x}", self.seed);
        page_of(&title, &self.why, &self.plan(), told.collect())
            .expect("rendering into a String does not fail")
    }

    fn plan(&self) -> Vec<(u64, String, String)> {
        let mut lines: Vec<_> = self
            .small
            .faults
            .iter()
            .map(|fault| {
                let what = trouble_in_words(&fault.trouble);
                (fault.at_ms, "fault".to_owned(), what)
            })
            .collect();
        lines.extend(self.small.steps.iter().map(|step| {
            let patience = step.gives_up_after_ms;
            let patience = patience.map(|ms| format!(", gives up after {ms} ms"));
            let what = format!("{:?}{}", step.step, patience.unwrap_or_default());
            (step.at_ms, format!("client-{}", step.client), what)
        }));
        lines.sort_by_key(|(at_ms, ..)| *at_ms);
        lines
    }
}

impl<T: fmt::Debug> fmt::Display for Broken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, cases, why) = (self.seed, self.cases, &self.why);
        writeln!(f, "seed {seed:#x}: {why}")?;
        if self.small.about != *why {
            writeln!(f, "{}", self.small.about)?;
        }
        let (before, after) = (self.found.len(), self.small.len());
        writeln!(
            f,
            "found in case {cases}; what is needed, {after} of {before} steps and faults:"
        )?;
        for (at_ms, who, what) in self.plan() {
            writeln!(f, "{at_ms:>8} ms      {who:<9} {what}")?;
        }
        writeln!(f, "what happened then:")?;
        for line in &self.log {
            let (ms, us) = (line.at_us / 1000, line.at_us % 1000);
            writeln!(f, "{ms:>8}.{us:03} ms  {:<9} {}", line.who, line.what)?;
        }
        write!(f, "run it alone with ASYNCSERVER_SIM_SEED={seed:#x}")
    }
}

impl<T: fmt::Debug> fmt::Debug for Broken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

impl<T: fmt::Debug> std::error::Error for Broken<T> {}

//! The counted places: L5, L6, L16 and a registration's own limit.

use super::facts::{Facts, Run};
use super::rule::{Found, Rule};
use super::sent::Sent;
use crate::config::Neighbours;

/// Judges how many tasks ran beside each other.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    let limits = &facts.config.limits;
    for (index, run) in facts.runs.iter().enumerate() {
        let beside: Vec<_> = facts.runs[..index]
            .iter()
            .filter(|other| is_running(other, run))
            .collect();
        let moments = || {
            beside
                .iter()
                .map(|other| other.started)
                .chain([run.started])
        };
        let running = beside.len() + 1;
        // PROTOCOL L5: 0 counts as 1, for a connection that may do nothing is none.
        if running > limits.in_flight.max(1) {
            let what = format!("{running} run functions of the connection run");
            found.broken(
                Rule::L5,
                what,
                format!("at most {}", limits.in_flight),
                moments(),
            );
        } else if running > limits.tasks {
            let what = format!("{running} run functions of the server run");
            found.broken(
                Rule::L6,
                what,
                format!("at most {}", limits.tasks),
                moments(),
            );
        }
        // A thread may get to an earlier request later.
        let held: usize = beside
            .iter()
            .filter(|other| other.request < run.request)
            .filter_map(|other| Some(facts.requests[other.request?].message.len()))
            .sum();
        // The message that reaches the limit is taken; behind it reading pauses.
        if held >= limits.held_bytes.max(1) && running > 1 && held_whole(facts, &beside) {
            let what = format!("task {} starts while {held} message bytes are held", run.id);
            let allowed = format!(
                "no further request once {} bytes are held",
                limits.held_bytes
            );
            found.broken(Rule::L16, what, allowed, moments());
        }
    }
}

/// Whether `other` still runs when `run` starts; a stuck one does, too (T13).
fn is_running(other: &Run, run: &Run) -> bool {
    other.ended.is_none_or(|(ended, _)| ended > run.started)
}

/// L16 counts messages that were handed over whole, not those that task
/// functions read as they arrive.
fn held_whole(facts: &Facts<'_>, runs: &[&Run]) -> bool {
    use crate::tasks::Does::{Digest, First, Nothing, Reject};
    runs.iter().all(|run| {
        let streamed = facts.functions.iter().any(|f| f.request == run.request);
        let does = facts.config.task(run.code).map(|task| task.does);
        !streamed && !matches!(does, Some(Digest | First | Nothing | Reject) | None)
    })
}

/// Whether the server may have had no place for this request (L6, L16).
pub(crate) fn may_be_full(facts: &Facts<'_>, number: usize) -> bool {
    facts.config.neighbours == Neighbours::Some
        || Alive::before(facts, number)
            .full_for(facts, &facts.requests[number])
            .is_any()
}

/// The tasks that may have had their places when a header was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alive {
    tasks: usize,
    /// Their message bytes.
    held: usize,
    /// How many of them have the header's own code.
    alike: usize,
}

impl Alive {
    /// Those of the request's own connection.
    pub(crate) fn before(facts: &Facts<'_>, number: usize) -> Self {
        let request = &facts.requests[number];
        let mut alive = Self::default();
        for other in &facts.requests[..number] {
            if may_be_alive(facts, other, request) {
                alive.add(other.code == request.code, other.message.len());
            }
        }
        alive
    }

    pub(crate) const fn add(&mut self, is_alike: bool, message_bytes: usize) {
        self.tasks += 1;
        self.held += message_bytes;
        self.alike += is_alike as usize;
    }

    /// Which limits they may have reached for this request.
    pub(crate) fn full_for(self, facts: &Facts<'_>, request: &Sent) -> Full {
        let limits = &facts.config.limits;
        let own_limit = facts.task(request).and_then(|task| task.max_in_flight);
        Full {
            tasks: self.tasks >= limits.tasks,
            held: self.held + request.message.len() >= limits.server_held_bytes,
            alike: own_limit.is_some_and(|limit| self.alike >= limit),
        }
    }
}

/// Which limits of the whole server may have been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// L6.
    pub(crate) tasks: bool,
    /// L16.
    pub(crate) held: bool,
    /// A registration's own (N9).
    pub(crate) alike: bool,
}

impl Full {
    pub(crate) const fn is_any(self) -> bool {
        self.tasks || self.held || self.alike
    }
}

/// Whether `other` may have had its place when the header of `request` was read.
fn may_be_alive(facts: &Facts<'_>, other: &Sent, request: &Sent) -> bool {
    if facts.task(other).is_none() {
        return false;
    }
    let answered = facts
        .answer(other)
        .is_some_and(|answer| answer.last < request.header);
    let header_us = facts.us(request.header);
    let runs_on = facts.run_of(other).is_some_and(|run| {
        let runs_on =
            |(ended, _)| ended > request.header || facts.outlives(other, ended, header_us);
        run.ended.is_none_or(runs_on)
    });
    // A stuck function that nobody watched may run on (T13).
    let may_be_stuck = facts.task(other).is_some_and(|task| !task.runs.is_future());
    !answered || runs_on || (may_be_stuck && other.run.is_none())
}

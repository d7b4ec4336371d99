//! Runs a plan and judges it: the safety phase with its faults, then the
//! liveness phase, in which everything has to come to its end.

mod altered;
mod calls;
mod connections;
mod servers;
mod stage;
mod tap;
mod together;
mod told;
mod verdict;
mod wire;

use oracle::{History, Reached};

use crate::{Plan, Run, Trace, World};
use stage::Stage;

pub use verdict::{Verdict, VerdictKind};

/// What came of a plan.
///
/// ```
/// use asyncserver_sim::{Plan, Profile, Trace};
/// let played = asyncserver_sim::play(&Plan::generate(1, Profile::Calm), Trace::off());
/// assert_eq!(played.verdict, None);
/// ```
#[derive(Debug)]
pub struct Played {
    /// What was wrong, if anything was.
    pub verdict: Option<Verdict>,
    /// What was seen of each connection, in the order in which they began.
    pub connections: Vec<Recorded>,
    /// Every interesting state that a connection reached, or several of a server
    /// together, once for each.
    pub reached: Vec<Reached>,
    /// How much virtual time it took.
    pub elapsed: std::time::Duration,
    /// How often tasks were polled.
    pub polls: u64,
    /// Equal for equal orders of these polls.
    pub schedule: u64,
    /// What was recorded of it.
    pub trace: Trace,
}

/// What was seen of a connection.
///
/// ```
/// use asyncserver_sim::{Plan, Profile, Trace};
/// let played = asyncserver_sim::play(&Plan::generate(1, Profile::Calm), Trace::off());
/// assert!(played.connections.iter().all(|connection| connection.name.contains("->server-")));
/// ```
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its ends: `wire-0 1->server-0` is the first from one to the other.
    pub name: String,
    /// When its server took it, since the start of the run.
    pub opened_at: std::time::Duration,
    /// The events; their times count from when its server took it.
    pub history: History,
}

/// Runs a plan, and judges all that was seen.
///
/// # Panics
/// When no runtime can be had.
#[must_use]
pub fn play(plan: &Plan, trace: Trace) -> Played {
    let mut told = None;
    let place = &mut told;
    let run: Run<()> = World::builder(plan.seed)
        .interleaving(plan.interleaving)
        .trace(trace)
        .plan_links(stage::links(plan))
        .run(async move |world| {
            let mut stage = Stage::set(plan, &world);
            *place = Some(stage.witness());
            stage.safety().await;
            stage.liveness().await;
        });
    let witness = told.expect("a stage is set before anything can fail");
    let seen = witness.connections.seen();
    let verdict = verdict::judge(plan, &run, &witness, &seen);
    let mut reached = Vec::new();
    if verdict.is_none() {
        let judged = seen.iter().filter(|c| c.judged != connections::Judged::Not);
        reached.extend(judged.flat_map(|c| oracle::reached(&c.history)));
        let servers = together::servers(&seen);
        reached.extend(servers.iter().flat_map(oracle::reached_together));
    }
    Played {
        verdict,
        connections: seen.into_iter().map(Recorded::from).collect(),
        reached,
        elapsed: run.elapsed,
        polls: run.polls,
        schedule: run.schedule,
        trace: run.trace,
    }
}

impl From<connections::Seen> for Recorded {
    fn from(seen: connections::Seen) -> Self {
        Self {
            name: seen.name,
            opened_at: std::time::Duration::from_micros(seen.opened_us),
            history: seen.history,
        }
    }
}

//! Plays the oracle's [`Scenario`]s against the real server, in memory and under
//! paused time, and records what is seen.
//!
//! ```
//! let scenario = oracle::Scenario::from_json(r#"{"steps": [
//!     {"at_ms": 0, "op": "send", "request": {"id": 7, "ask": {"echo": 3}}}
//! ]}"#).unwrap();
//! let outcome = harness::run(&scenario);
//! assert_eq!(outcome.verdict(), Ok(()));
//! assert!(outcome.timeline().contains("echo 7"));
//! ```
//!
//! | module | what |
//! |---|---|
//! | `world` | what a played scenario shares: recorder, clock, the script of its tasks |
//! | `tasks`, `body` | the tasks of a scenario as registrations that report |
//! | `observer`, `report`, `routes` | the server's story, in the oracle's words, told to each connection's world |
//! | `transport` | a connection in memory that can be held, slowed down and broken |
//! | `executor`, `threads` | futures that are counted and watched; blocking functions as coroutines |
//! | `client`, `writes` | the scenario's client |
//! | `play` | the scenario, step by step, to its end: a program with a server, and a player for each connection |
//! | [`suite`] | cases, seeds, shrinking, kept scenarios |
//!
//! [`play`] takes the clock, the executor and the transport from its caller: a
//! simulator brings its own. [`run`] brings Tokio's paused time, a runtime of
//! one thread and [`memory`]. The same scenario always has the same history.

mod body;
mod client;
mod executor;
mod observer;
mod play;
mod report;
mod routes;
pub mod suite;
mod tasks;
mod threads;
mod transport;
mod world;
mod writes;

use std::sync::Arc;

use asyncserver::runtime::{TokioClock, TokioExecutor};
use oracle::{History, Scenario, ServerHistory, Violation, What, timeline};

pub use client::Splits;
pub use executor::WatchedExecutor;
pub use observer::RecordingObserver;
pub use play::{Stage, play};
pub use report::{report, settings};
pub use tasks::{FindWorld, register_for};
pub use transport::{ClientEnd, Link, Network, ServerEnd, memory};
pub use world::World;
pub use writes::{Write, writes};

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was seen of each connection, everything included.
    pub seen: ServerHistory,
    /// What must never be and is nothing of a history: panics, hangs, spins.
    pub faults: Vec<String>,
}

/// What was wrong with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The library panicked, hung, spun, or told two stories.
    #[error("{0}")]
    Fault(String),
    /// The oracle rejects the history.
    #[error(transparent)]
    Rejected(#[from] Violation),
}

impl Outcome {
    /// What was seen of the scenario's first connection.
    ///
    /// # Panics
    /// Never: every scenario has one.
    #[must_use]
    pub fn history(&self) -> &History {
        self.seen.connections.first().expect("a first connection")
    }

    /// The histories as text for people.
    #[must_use]
    pub fn timeline(&self) -> String {
        if let [only] = &self.seen.connections[..] {
            return timeline::render(only);
        }
        let connections = self.seen.connections.iter().enumerate();
        let one = |(number, history)| {
            let timeline = timeline::render(history);
            format!("connection {number}\n{timeline}")
        };
        connections.map(one).collect()
    }

    /// Whether everything was as PROTOCOL allows it, to the end.
    ///
    /// # Errors
    /// The first fault or violation.
    pub fn verdict(&self) -> Result<(), Failure> {
        if let Some(fault) = self.faults.first() {
            return Err(Failure::Fault(fault.clone()));
        }
        self.seen.finish()?;
        Ok(())
    }
}

/// Plays a scenario over memory, under paused time.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, Splits::AsSaid)
}

/// As [`run`], with the client's bytes cut otherwise.
///
/// # Panics
/// When no runtime can be had.
#[must_use]
pub fn run_with(scenario: &Scenario, splits: Splits) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    let stage = Stage {
        clock: Arc::new(TokioClock),
        executor: Arc::new(TokioExecutor),
        splits,
    };
    let capacity_bytes = scenario.config.transport_buffer_bytes;
    let (worlds, seen) = runtime.block_on(play(scenario, &stage, |world| {
        let told = world.clone();
        memory(capacity_bytes, move || told.record(What::ClientReset))
    }));
    drop(runtime);
    let mut faults = Vec::new();
    for world in worlds {
        faults.extend(world.faults());
        let owners = world.other_owners();
        if owners > 0 {
            faults.push(format!(
                "{owners} owners of the world are left: something leaks"
            ));
        }
    }
    Outcome { seen, faults }
}

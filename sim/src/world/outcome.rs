//! What a run came to.

use std::any::Any;
use std::time::Duration;

use crate::executor::TaskPanic;
use crate::time::Livelock;
use crate::trace::Trace;

/// What came of running a world.
///
/// ```
/// let run = asyncserver_sim::World::builder(1).run(async |_| 7);
/// assert_eq!(run.expect_clean(), 7);
/// ```
#[derive(Debug)]
pub struct Run<T> {
    /// The seed that it was.
    pub seed: u64,
    /// What the world's own code returned, if nothing stopped it.
    pub outcome: Result<T, Failure>,
    /// What was left over when all was done.
    pub residue: Residue,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// How often tasks of hosts were polled.
    pub polls: u64,
    /// Equal for equal orders of these polls.
    pub schedule: u64,
    /// What was recorded.
    pub trace: Trace,
}

/// Why a world did not come to its end.
///
/// ```
/// fn show(failure: &asyncserver_sim::Failure) { println!("{failure}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Things were polled again and again without time passing.
    #[error("livelock: {0}")]
    Livelock(#[from] Livelock),
    /// It took more virtual time than it may.
    #[error("not over after {0:?} of virtual time")]
    TimeLimit(Duration),
    /// The world's own code panicked.
    #[error("the world's code panicked: {0}")]
    Panicked(String),
    /// A panic reached the end of a host's task.
    #[error("{} panicked at {:?}: {}", .0.task, .0.at, .0.message)]
    TaskPanicked(TaskPanic),
}

/// What was left over at the end: nothing, where all is well.
///
/// ```
/// assert!(asyncserver_sim::Residue::default().is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Residue {
    /// Tasks that had not ended.
    pub tasks: Vec<String>,
    /// Connections of which an end was open.
    pub links: Vec<String>,
    /// Bytes that nobody had read.
    pub buffered_bytes: usize,
    /// Tasks that waited for a connection.
    pub wakers: usize,
    /// Connections that nobody had accepted.
    pub unaccepted: usize,
    /// Hosts that listened.
    pub listening: Vec<String>,
    /// Clients and live tasks that a server still counted.
    pub counted_by_servers: Vec<String>,
}

impl Residue {
    /// Whether nothing was left over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Nothing went on for too long.
///
/// ```
/// fn show(stalled: &asyncserver_sim::Stalled) { println!("{stalled}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no progress for {budget:?} at {at:?}; left: {residue:?}")]
pub struct Stalled {
    /// How long nothing may go on.
    pub budget: Duration,
    /// When, since the start.
    pub at: Duration,
    /// What was there still.
    pub residue: Residue,
}

impl<T> Run<T> {
    /// The outcome of a run in which nothing went wrong and nothing was left over.
    ///
    /// # Panics
    /// Otherwise, with the seed and what it was.
    #[track_caller]
    pub fn expect_clean(self) -> T {
        let seed = self.seed;
        let outcome = match self.outcome {
            Ok(outcome) => outcome,
            Err(failure) => panic!("seed {seed:#x}: {failure}"),
        };
        assert!(
            self.residue.is_empty(),
            "seed {seed:#x}: left over: {:#?}",
            self.residue
        );
        outcome
    }
}

pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

//! A task: its registration's policy, its state, its run function.

use crate::model::time::Nanos;

/// On what a run function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "T13 has both")]
pub enum Kind {
    Async,
    Blocking,
}

/// What a registration says (T10, T12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Policy {
    /// Cooperate, with this grace; otherwise Drop.
    pub grace: Option<Nanos>,
    /// On what the run function runs.
    pub kind: Kind,
    /// T12.
    pub run_limit: Option<Nanos>,
}

/// Why a task is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Cause {
    /// T10.
    Requested,
    /// T12.
    Limit,
}

impl Cause {
    /// T12: `DEADLINE` where T10 says `CANCELLED`.
    #[must_use]
    pub const fn error_code(self) -> u8 {
        match self {
            Self::Requested => 255,
            Self::Limit => 253,
        }
    }
}

/// Section 6's states, and what may be left behind by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "section 6 shows them")]
pub enum State {
    Receiving {
        cancelled: Option<Cause>,
    },
    Running,
    /// It was told, and has its grace.
    Cooperating(Cause),
    /// It is to be dropped; a function on a thread: told, for it cannot be.
    Dropping(Cause),
    Responding,
    /// T13: answered, and still there.
    Stuck,
    /// Its connection is over, and it is still there.
    Orphaned,
}

/// The run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// It waits for a thread.
    Queued,
    /// It runs, or will.
    Active,
    /// It has returned: at most its body is left.
    Ended,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number among all of the case: never used again.
    pub number: usize,
    /// The client's id.
    pub id: u32,
    /// Its code.
    pub code: u8,
    /// Its registration's policy.
    pub policy: Policy,
    /// Where it is.
    pub state: State,
    /// Its run function.
    pub function: Function,
    /// When its header was read.
    pub began: Nanos,
    /// Whether the end of its message has been looked at.
    pub accepted: bool,
    /// L16.
    pub held: usize,
    /// When its limit, its grace, or the second that it has to be dropped is over.
    pub alarm: Option<Nanos>,
    /// E5: since when its processing interval counts, and its turn among those.
    pub counted_from: Option<(Nanos, u64)>,
    /// *Choice*: of what is due at one instant, the lowest comes first.
    pub rank: u64,
}

impl Task {
    /// T11, T13: stuck and orphaned ones are gone.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self.state, State::Stuck | State::Orphaned)
    }

    /// The state as lists show it.
    #[must_use]
    pub const fn shown(&self) -> &'static str {
        match self.state {
            State::Receiving { .. } => "Receiving",
            State::Running => "Running",
            State::Cooperating(_) | State::Dropping(_) => "Cancelling",
            State::Responding => "Responding",
            State::Stuck | State::Orphaned => "gone",
        }
    }
}

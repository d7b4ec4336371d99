//! What is known of one task, and the words for it.

use std::time::{Duration, Instant};

use super::turns::Turn;
use crate::wire::{ErrorCode, TaskCode, TaskId};

/// What the tag of a task is that has been given none.
pub const NO_TAG: u32 = u32::MAX;

/// An entry's place, which no later entry shares: a late result finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// What a cancel does to a running task (PROTOCOL T10).
///
/// ```
/// use std::time::Duration;
/// use asyncserver::server::OnCancel;
/// let tidy = OnCancel::Cooperate { grace: Duration::from_secs(1) };
/// assert_ne!(tidy, OnCancel::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCancel {
    /// The run function's future is dropped; the answer is `Error CANCELLED`.
    #[default]
    Drop,
    /// The run function is told, and what it returns within the grace is the
    /// answer; after that it is dropped.
    Cooperate {
        /// How long it may take.
        grace: Duration,
    },
}

/// On what a run function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A future, which can be dropped.
    Async,
    /// A thread, which cannot.
    Blocking,
}

/// What a registration says about its tasks.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// On what the run function runs.
    pub(super) kind: FunctionKind,
    pub(super) grace: Grace,
}

impl Policy {
    /// What a cancel does, and on what the run function runs.
    #[must_use]
    pub const fn new(on_cancel: OnCancel, kind: FunctionKind) -> Self {
        let grace = Grace::of(on_cancel);
        Self { kind, grace }
    }
}

/// What a cancel does, in 8 bytes: the nanoseconds of its grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grace(u64);

impl Grace {
    /// No grace: [`OnCancel::Drop`].
    const DROP: Self = Self(u64::MAX);
    /// One of 584 years or more never ends.
    const ENDLESS: Self = Self(u64::MAX - 1);

    const fn of(on_cancel: OnCancel) -> Self {
        let OnCancel::Cooperate { grace } = on_cancel else {
            return Self::DROP;
        };
        let nanos = grace.as_nanos();
        if nanos < Self::ENDLESS.0 as u128 {
            Self(nanos as u64)
        } else {
            Self::ENDLESS
        }
    }

    pub(super) fn on_cancel(self) -> OnCancel {
        let grace = match self {
            Self::DROP => return OnCancel::Drop,
            Self::ENDLESS => Duration::MAX,
            Self(nanos) => Duration::from_nanos(nanos),
        };
        OnCancel::Cooperate { grace }
    }
}

/// Why a task is cancelled, which decides what it is answered.
///
/// ```
/// use asyncserver::{server::CancelCause, wire::ErrorCode};
/// assert_eq!(CancelCause::Requested.error_code(), ErrorCode::CANCELLED);
/// assert_eq!(CancelCause::Limit.error_code(), ErrorCode::DEADLINE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// Somebody asked for it (T10).
    Requested,
    /// It overran a limit (T12, L14, L15).
    Limit,
}

impl CancelCause {
    /// The error that the client is sent.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::Requested => ErrorCode::CANCELLED,
            Self::Limit => ErrorCode::DEADLINE,
        }
    }
}

/// What a live task is doing (PROTOCOL section 6).
///
/// ```
/// use asyncserver::server::TaskState;
/// assert_eq!(format!("{:?}", TaskState::Running), "Running");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Its message is being read.
    Receiving,
    /// Its run function runs, or what it returned waits for its turn.
    Running,
    /// It was told to end and has not ended yet.
    Cancelling,
    /// Its response is on its way.
    Responding,
}

/// What was an entry.
#[derive(Debug)]
pub struct Removed<T> {
    /// Its id.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
    /// What the server kept for it.
    pub task: T,
    /// The server's number for it.
    pub tag: u32,
}

/// One live task, as lists show it.
///
/// ```
/// use asyncserver::server::{ClientHandle, TaskState};
/// fn running(client: &ClientHandle) -> usize {
///     client.tasks().into_iter()
///         .filter_map(|id| client.metadata(id))
///         .filter(|task| task.state == TaskState::Running)
///         .count()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetadata {
    /// The id that the client chose.
    pub id: TaskId,
    /// Its task code.
    pub code: TaskCode,
    /// What it is doing.
    pub state: TaskState,
    /// When its header was read.
    pub began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Receiving { cancelled: Option<CancelCause> },
    Running,
    Cooperating { cause: CancelCause },
    Dropping { cause: CancelCause },
    Responding,
    Stuck,
    Orphaned,
}

/// What is known of the run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// It waits for a thread.
    Queued,
    Active,
    Ended,
}

impl Function {
    pub(super) const fn of(kind: FunctionKind) -> Self {
        match kind {
            FunctionKind::Async => Self::Active,
            FunctionKind::Blocking => Self::Queued,
        }
    }
}

/// There is one for each live task: bytes count.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) id: TaskId,
    pub(super) code: TaskCode,
    pub(super) stage: Stage,
    pub(super) function: Function,
    pub(super) kind: FunctionKind,
    pub(super) accepted: bool,
    pub(super) tag: u32,
    pub(super) grace: Grace,
    pub(super) began: Instant,
    /// The order in which tasks were assigned; its low half is the key's generation.
    pub(super) sequence: u64,
    /// Message bytes that were handed over whole (L16).
    pub(super) held_bytes: usize,
    /// This entry's place in `alarms`.
    pub(super) alarm: Option<Instant>,
    pub(super) turn: Turn,
    /// `None`: the slot is vacant.
    pub(super) task: Option<T>,
}

impl<T> Entry<T> {
    /// Of no task.
    pub(super) const fn vacant(now: Instant) -> Self {
        Self {
            id: TaskId(0),
            code: TaskCode(0),
            stage: Stage::Orphaned,
            function: Function::Ended,
            kind: FunctionKind::Async,
            accepted: false,
            tag: NO_TAG,
            grace: Grace::DROP,
            began: now,
            sequence: 0,
            held_bytes: 0,
            alarm: None,
            turn: Turn::none(now),
            task: None,
        }
    }

    pub(super) const fn generation(&self) -> u32 {
        self.sequence as u32
    }
}

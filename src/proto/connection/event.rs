//! What a connection is told, and what it tells: the words of its `handle_*`,
//! `poll_*` and `take_*`.

use std::time::Instant;

use bytes::Bytes;

use crate::proto::ledger::{CancelCause, FunctionKind, Removed, TaskKey};
use crate::proto::report::{EndReason, TaskEnding};
use crate::wire::{ErrorCode, RequestHeader, TaskCode, TaskId, WholeMessage};

/// What the driver has to act upon.
#[derive(Debug, Default)]
pub enum Input {
    /// Something that needs no action was dealt with.
    #[default]
    Handled,
    /// A message that lies whole in the buffer; its run function starts.
    Whole {
        /// The task.
        key: TaskKey,
        /// Its header.
        header: RequestHeader,
        /// Where the message lies.
        message: WholeMessage,
    },
    /// A message that came in parts; its run function starts.
    Message {
        /// The task.
        key: TaskKey,
        /// Its header.
        header: RequestHeader,
        /// The payload.
        payload: Bytes,
    },
    /// A task function starts reading.
    Begin {
        /// The task.
        key: TaskKey,
        /// Its header.
        header: RequestHeader,
    },
    /// Bytes for the task function.
    Payload {
        /// The bytes.
        payload: Bytes,
    },
    /// The end of the task function's message, and whether its run function starts.
    End {
        /// Whether what the task function returned is to be started now.
        start: bool,
    },
}

/// What a task function came to.
#[derive(Debug)]
pub enum ReadOutcome {
    /// A run function of this kind.
    Run(FunctionKind),
    /// No run function: `OK` with the empty message.
    Nothing,
    /// A connection error (T3).
    Error(EndReason),
    /// It panicked (T9).
    Panicked,
}

/// What a run function came to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A whole body.
    Whole(&'a [u8]),
    /// A body that is to be pulled.
    Body,
    /// An error with a code (T8).
    Error(ErrorCode),
    /// An error without one: a connection error.
    Fatal(EndReason),
    /// It panicked (T9).
    Panicked,
    /// It was dropped before it ended.
    Dropped,
}

/// What became of a task whose run function has ended.
#[derive(Debug)]
pub enum TaskFinished<T> {
    /// It is answered, or nobody waits for it.
    Removed(Retired<T>),
    /// Its body is to be pulled; a whole one has to wait for its turn.
    Pull,
    /// The key is stale.
    Unknown,
}

/// A task that is no longer kept.
#[derive(Debug)]
pub struct Retired<T> {
    /// Its id.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
    /// What became of it; `None` where that was said before: it was stuck, or
    /// its connection had ended, or it was never accepted.
    pub ending: Option<TaskEnding>,
    /// What the server kept for it.
    pub task: T,
    /// The server's number for it.
    pub tag: u32,
}

impl<T> Retired<T> {
    pub(super) fn new(removed: Removed<T>, ending: Option<TaskEnding>) -> Self {
        let Removed {
            id,
            code,
            task,
            tag,
        } = removed;
        Self {
            id,
            code,
            ending,
            task,
            tag,
        }
    }
}

/// A step of a body that is being pulled.
#[derive(Debug)]
pub enum BodyStep<'a> {
    /// More bytes; the response must have begun.
    Bytes(&'a [u8]),
    /// Its end; the response must have begun.
    End,
    /// It failed.
    Failed {
        /// What the application answers if the response has not begun.
        code: Option<ErrorCode>,
        /// The failure's own words.
        error: Box<str>,
    },
    /// Its code panicked.
    Panicked,
    /// Its next bytes did not come in time (L15).
    Late,
    /// It has no bytes yet, though they are wanted (L15).
    Waiting,
    /// It has bytes, or none are wanted.
    NotWaiting,
}

/// What somebody outside has to do, or might like to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the run function that it is cancelled.
    Tell(TaskKey),
    /// Drop the run function.
    Drop(TaskKey),
    /// The connection has ended for the run function: it is told, and dropped
    /// by itself at the instant, if there is one.
    Orphan(TaskKey, Option<Instant>),
    /// Drop the task function of this task, and what it returned.
    DropReading(TaskKey),
    /// Drop the body.
    DropBody(TaskKey),
    /// The task was cancelled, for this cause.
    Cancelled(TaskId, TaskCode, CancelCause),
    /// The task is stuck (T13), and was answered so.
    Stuck(TaskId, TaskCode),
    /// What became of a task: its connection ended before it was answered, or,
    /// while watched, it was answered otherwise than by its run function's end,
    /// which comes as [`Retired`].
    Finished(TaskId, TaskCode, TaskEnding),
    /// A request, of any code, was accepted (T3). Only while watched.
    Accepted(TaskId, TaskCode),
    /// A run function starts. Only while watched.
    Started(TaskId, TaskCode),
    /// A limit of section 7 was reached, by the name of its rule.
    LimitReached(&'static str),
}

/// What is told as actions, beyond what has to be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// Nothing.
    Nothing,
    /// The acceptance and start of every request.
    Requests,
}

/// Why nothing is read (L12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// L5 or L16: a header is held until a task has ended.
    Places,
    /// L7: too many bytes are unsent.
    Unsent,
    /// The task function has not taken what was read, or not returned.
    TaskFunction,
}

/// Whether the transport has passed on what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// It has.
    Done,
    /// It has not, as far as is known.
    Pending,
}

/// What the driver does with the transport's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Read it.
    Take,
    /// Read and discard it.
    Discard,
    /// Do not read it.
    Paused(PauseReason),
    /// There is no more.
    Ended,
}

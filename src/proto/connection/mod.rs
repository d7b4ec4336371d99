//! The server's side of one connection: what comes in, what goes out, and when
//! it ends. `handle_*` takes what happened, `poll_*` and `take_*` say what to do.

mod ending;
mod input;
mod output;
mod time;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::disconnect::{Disconnect, Phase};
use super::ledger::{FunctionKind, Ledger, Policy, Removed, TaskKey};
use super::outbox::Outbox;
use super::pace::Pace;
use super::report::{
    ConnectionReport, EndReason, InterruptedTask, RequestCounts, StuckTask, TaskEnding,
};
use super::{Limits, Timeouts};
use crate::wire::{
    ByteOrder, ErrorCode, Features, Negotiate, RequestDecoder, RequestHeader, TaskCode, TaskId,
    WholeMessage,
};

/// What an end of the client's stream between two requests means (PROTOCOL D7).
///
/// ```
/// use asyncserver::server::OnHalfClose;
/// assert_eq!(OnHalfClose::default(), OnHalfClose::ClientIsGone);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHalfClose {
    /// The client is gone: its live tasks are cancelled.
    #[default]
    ClientIsGone,
    /// The client only has nothing more to send: its live tasks are finished.
    Finish,
}

/// What a connection is told once, at its start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The order of bytes in integers.
    pub order: ByteOrder,
    /// How much the client may make the server hold.
    pub limits: Limits,
    /// How long it may make it wait.
    pub timeouts: Timeouts,
    /// What its end of stream means.
    pub on_half_close: OnHalfClose,
}

/// What the server's registry says of a task code; asked at each header.
pub trait Admission<T> {
    /// What is registered under `code`.
    fn find(&mut self, code: TaskCode) -> Option<Found<T>>;
    /// Takes the server's places for a task (L6, L16, the registration's own
    /// limit): `false` when there is none.
    fn take_places(&mut self, task: &mut T) -> bool;
    /// The longest message that any registration takes, in bytes (E3).
    fn largest_message(&self) -> usize;
}

/// A registration, as the connection needs it.
#[derive(Debug)]
pub struct Found<T> {
    /// What to keep for the task.
    pub task: T,
    /// How its run function ends.
    pub policy: Policy,
    /// L4 for its message.
    pub message_limit_bytes: usize,
    /// How its message is delivered.
    pub delivery: Delivery,
}

/// How a message reaches the server's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, once it has come.
    Whole,
    /// As it arrives, to a task function.
    Streamed,
}

/// What the driver has to act upon.
#[derive(Debug)]
pub enum Input {
    /// Something that needs no action was dealt with.
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
}

impl<T> Retired<T> {
    fn new(removed: Removed<T>, ending: Option<TaskEnding>) -> Self {
        let Removed { id, code, task } = removed;
        Self {
            id,
            code,
            ending,
            task,
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
        /// What to answer if the response has not begun.
        code: Option<ErrorCode>,
        /// The failure's own words.
        error: Box<str>,
    },
    /// Its code panicked.
    Panicked,
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
    /// Drop the task function, and what it returned.
    DropReading,
    /// Drop the body.
    DropBody(TaskKey),
    /// The task was cancelled, for this cause.
    Cancelled(TaskId, TaskCode, super::ledger::CancelCause),
    /// The task is stuck (T13), and was answered so.
    Stuck(TaskId, TaskCode),
    /// The task's connection ended before it was answered.
    Interrupted(TaskId, TaskCode),
    /// A limit of section 7 was reached.
    LimitReached(&'static str),
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

/// What a discarded message's end brings.
#[derive(Clone, Copy, Debug)]
enum After {
    KeepAlive,
    Cancel,
    Negotiate {
        prefix: [u8; Negotiate::LENGTH],
        length: usize,
    },
    Error(ErrorCode),
}

/// What the task function has come to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returned {
    NotYet,
    Run,
    Nothing,
    /// It was dropped, or panicked: what to answer.
    Failed(ErrorCode),
}

/// The request that is being read.
#[derive(Debug)]
enum Current<T> {
    /// None.
    Between,
    /// Its header waits for a place (L5, L16).
    Held(RequestHeader, Box<Found<T>>),
    /// Its message is discarded.
    Discarding(Discarding),
    /// Its message is read.
    Task(Receiving),
}

#[derive(Debug)]
struct Discarding {
    header: RequestHeader,
    after: After,
    payload_len: usize,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Receiving {
    header: RequestHeader,
    key: TaskKey,
    delivery: Delivery,
    payload_len: usize,
    limit_bytes: usize,
    /// Whether the end of the message has been looked at.
    ended: bool,
    returned: Returned,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Connection<T> {
    settings: Settings,
    pub(crate) ledger: Ledger<T>,
    pub(crate) outbox: Outbox,
    disconnect: Disconnect,
    pace: Pace,
    decoder: RequestDecoder,
    current: Current<T>,
    /// Payload that came in parts and is not delivered yet.
    chunk: BytesMut,
    /// Payload bytes that were delivered and that the task function has not taken.
    untaken: usize,
    /// By when the task function must ask for bytes or return (L14).
    reader_deadline: Option<Instant>,
    /// By when bodies must give bytes (L15).
    body_deadlines: BTreeMap<TaskKey, Instant>,
    granted: Features,
    /// A Goodbye has been queued: what it counted stays accepted.
    said_goodbye: bool,
    /// The server's L7 is reached.
    server_full: bool,
    counts: RequestCounts,
    interrupted: Vec<InterruptedTask>,
    actions: Vec<Action>,
    retired: Vec<Retired<T>>,
    began: Instant,
    ended: Option<Instant>,
    bytes_read: u64,
    /// Bytes that the decoder has looked at, for errors.
    offset: u64,
    bytes_written: u64,
    /// Bytes written since the write clock was last looked at.
    newly_written: usize,
    /// Message bytes read since the read clock was last looked at.
    newly_read: usize,
    /// The message, or reading at all, began since then.
    read_afresh: bool,
    /// Something was accepted since the idle clock was last looked at.
    active: bool,
}

impl<T> Connection<T> {
    /// A connection on which nothing has happened yet.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        let Timeouts {
            wait, read, write, ..
        } = settings.timeouts;
        let mut pace = Pace::new(wait, read, write);
        pace.set_idle(true, true, now);
        Self {
            settings,
            ledger: Ledger::new(),
            outbox: Outbox::new(settings.order),
            disconnect: Disconnect::new(),
            pace,
            decoder: RequestDecoder::new(settings.order),
            current: Current::Between,
            chunk: BytesMut::new(),
            untaken: 0,
            reader_deadline: None,
            body_deadlines: BTreeMap::new(),
            granted: Features::NONE,
            said_goodbye: false,
            server_full: false,
            counts: RequestCounts::default(),
            interrupted: Vec::new(),
            actions: Vec::new(),
            retired: Vec::new(),
            began: now,
            ended: None,
            bytes_read: 0,
            offset: 0,
            bytes_written: 0,
            newly_written: 0,
            newly_read: 0,
            read_afresh: true,
            active: false,
        }
    }

    /// Where in its life the connection is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.disconnect.phase()
    }

    /// Why it ended; `None` while it is open.
    #[must_use]
    pub const fn reason(&self) -> Option<&EndReason> {
        self.disconnect.reason()
    }

    /// What it was told at its start.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tasks.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger<T> {
        &self.ledger
    }

    /// What the server keeps for a task.
    pub fn task_mut(&mut self, key: TaskKey) -> Option<&mut T> {
        self.ledger.task_mut(key)
    }

    /// A thread got to a blocking function: whether it shall run.
    pub fn start_blocking(&mut self, key: TaskKey) -> bool {
        self.ledger.start_blocking(key)
    }

    /// Whether the task whose message is being read is this one.
    #[must_use]
    pub fn is_receiving(&self, key: TaskKey) -> bool {
        matches!(&self.current, Current::Task(task) if task.key == key)
    }

    /// What to do, or to know, since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is anything for the two `take_` methods to take.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty() || !self.retired.is_empty()
    }

    /// What was kept for tasks that ended otherwise than by `finished`.
    pub fn take_retired(&mut self) -> Vec<Retired<T>> {
        std::mem::take(&mut self.retired)
    }

    /// What the driver does with the transport's input.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self.phase() {
            Phase::Open => match self.pause_reason() {
                Some(reason) => Reading::Paused(reason),
                None => Reading::Take,
            },
            Phase::Closed => Reading::Ended,
            _ => Reading::Discard,
        }
    }

    /// How the connection ended and what became of its requests (D9).
    #[must_use]
    pub fn report(&self) -> ConnectionReport {
        let mut interrupted = self.interrupted.clone();
        interrupted.sort_unstable_by_key(|task| (task.id, task.code));
        let reason = self.reason().cloned().unwrap_or(EndReason::Aborted);
        ConnectionReport {
            reason,
            counts: RequestCounts {
                interrupted: interrupted.len() as u64,
                ..self.counts
            },
            interrupted,
            stuck: self.stuck(),
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written,
            deadline_reached: self.disconnect.deadline_reached(),
            lasted: self
                .ended
                .unwrap_or(self.began)
                .saturating_duration_since(self.began),
        }
    }

    fn stuck(&self) -> Vec<StuckTask> {
        let stuck = self.ledger.stuck().into_iter();
        stuck.map(|(id, code)| StuckTask { id, code }).collect()
    }

    /// Checks, in debug builds, what every step must leave true.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.ledger.check_invariants();
        assert!(self.actions.len() < 1 << 20, "somebody takes the actions");
        if self.phase() == Phase::Closed {
            assert_eq!(
                self.ledger.live(),
                0,
                "no live task outlives its connection"
            );
            assert!(self.outbox.is_empty());
            assert!(self.report().counts.add_up(), "{:?}", self.report());
        }
    }
}

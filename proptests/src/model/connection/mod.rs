//! The server's side of one connection (PROTOCOL sections 3–9).

mod ending;
mod input;
mod reader;
mod requests;
mod tasks;
mod time;

use std::collections::BTreeMap;

use asyncserver::wire::ByteOrder;

use crate::model::codec;
use crate::model::disconnect::{Disconnect, Phase, Reason};
use crate::model::ledger::{Cause, Kind, Ledger, OnAlarm, OnCancel, OnEnd, Policy, State};
use crate::model::outbox::{Answer, Outbox, Taken};
use crate::model::pace::{Pace, Reached};
use crate::model::time::{NEVER, Nanos, SECOND, earliest, has_come, later};

/// *Choice*: how much a task function may leave untaken (L12), and a whole
/// result that takes the wire at once.
pub const BUFFER: usize = 64 << 10;

/// What a task code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Registration {
    /// T10, T12.
    pub policy: Policy,
    /// L4.
    pub message_limit: usize,
    /// Whether a task function reads the message as it arrives.
    pub is_streamed: bool,
}

/// *Choice*: how much of the body that is under way waits for the transport.
pub const BODY_AHEAD: usize = 256 << 10;

/// *Choice*: a shorter processing interval counts as this.
pub const SHORTEST_INTERVAL: Nanos = SECOND / 1_000;

/// N9: what is sent for one of the library's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Instead {
    /// `Error` with this code.
    Code(u8),
    /// Nothing: the connection ends.
    Close,
}

/// What a connection is set to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// N2.
    pub is_little: bool,
    /// D7.
    pub finishes_after_half_close: bool,
    /// L1.
    pub wait: Nanos,
    /// L2.
    pub read: Nanos,
    /// L3.
    pub write: Nanos,
    /// L11.
    pub linger: Nanos,
    /// L14.
    pub task_function: Nanos,
    /// L15.
    pub body: Nanos,
    /// E5.
    pub interval: Nanos,
    /// L4.
    pub message_limit: usize,
    /// L5.
    pub in_flight: usize,
    /// L7.
    pub unsent: usize,
    /// L16.
    pub held: usize,
    /// What is registered: the code is the place in this list.
    pub registrations: Vec<Registration>,
    /// N9: the errors for which the application has another answer.
    #[serde(default)]
    pub answers: BTreeMap<u8, Instead>,
}

impl Settings {
    /// N2.
    #[must_use]
    pub const fn order(&self) -> ByteOrder {
        if self.is_little {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        }
    }

    /// E3: the largest message that any registration takes. *Choice*: without
    /// registrations, the server's own limit.
    #[must_use]
    pub fn largest_message(&self) -> usize {
        let limits = self.registrations.iter().map(|task| task.message_limit);
        limits.max().unwrap_or(self.message_limit)
    }
}

/// Why nothing is read (L12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// L5, L16.
    Places,
    /// L7.
    Unsent,
    /// T2, L12.
    TaskFunction,
}

/// What the server's program sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A task function starts.
    Begin(usize),
    /// It is given bytes.
    Payload(Vec<u8>),
    /// A run function starts, with a whole message.
    Starts(usize, Vec<u8>),
    /// The run function that a task function returned starts.
    StartsReturned(usize),
}

/// What is to be done, or known, outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Act {
    Tell(usize),
    Drop(usize),
    Orphan(usize, Option<Nanos>),
    DropReading(usize),
    Cancelled(u32, u8, Cause),
    Stuck(u32, u8),
    Finished(u32, u8, Ending),
    Accepted(u32, u8),
    Started(u32, u8),
    Limit(&'static str),
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Ending {
    Ok,
    Error(u8),
    Interrupted,
    /// It was said before, or it was never accepted.
    Silent,
}

/// What a run function comes to (T6–T9).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Outcome {
    Whole(usize),
    Body,
    Error(u8),
    Fatal,
    Panicked,
    Dropped,
}

/// What a task function comes to (T3, T9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Returned {
    Run(Kind),
    Nothing,
    Error,
    Panicked,
}

/// What becomes of a task whose run function has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is gone.
    Removed(Ending),
    /// Its body has to wait for its turn, or is to be produced.
    Pull,
    /// Nobody knows it.
    Unknown,
}

/// A step of a body (T7, T9, L15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum BodyStep {
    Bytes(usize),
    End,
    Failed(Option<u8>),
    Panicked,
    Waiting,
    NotWaiting,
    /// L15, as the connection finds it.
    Late,
}

/// D9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "D9 lists them")]
pub struct Counts {
    pub accepted: u64,
    pub ok: u64,
    pub errors: u64,
    pub cancelled: u64,
    pub cancels: u64,
}

/// What is done at the end of a message that is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    KeepAlive,
    Cancel,
    Negotiate,
    Error(u8),
}

/// What the task function has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    Run,
    Nothing,
    /// Dropped, or panicked: the answer.
    Failed(u8),
}

/// The request that is looked at.
#[derive(Clone, Debug)]
enum Current {
    Between,
    Held {
        code: u8,
        id: u32,
    },
    Discarding {
        code: u8,
        id: u32,
        then: Then,
        payload: Vec<u8>,
        limit: usize,
    },
    Task {
        number: usize,
        code: u8,
        id: u32,
        is_streamed: bool,
        limit: usize,
        length: usize,
        /// What is collected of a message that is handed over whole.
        payload: Vec<u8>,
        has_ended: bool,
        reader: Reader,
    },
}

/// The model.
#[derive(Clone, Debug)]
pub struct Connection {
    settings: Settings,
    /// Sections 6 and 8, L1–L3, and what is queued.
    pub ledger: Ledger,
    #[allow(missing_docs, reason = "as above")]
    pub disconnect: Disconnect,
    #[allow(missing_docs, reason = "as above")]
    pub outbox: Outbox,
    pace: Pace,
    /// Bytes that came and have not been looked at.
    pub buffer: Vec<u8>,
    /// Bytes of the request that have been looked at; up to five are its header.
    offset: u64,
    header: Vec<u8>,
    /// Bytes of the block that have not come.
    block: usize,
    /// Bytes of the stream that have been looked at.
    looked_at: u64,
    current: Current,
    /// Bytes that the task function has not taken (L12).
    untaken: usize,
    /// L14.
    reader_deadline: Option<Nanos>,
    /// L15, by task.
    body_deadlines: Vec<(usize, Nanos)>,
    /// The task whose response is under way.
    pub under_way: Option<usize>,
    /// E3.
    pub granted: u32,
    /// E4: what it counted stays accepted (T3).
    said_goodbye: bool,
    /// L7 of the server.
    pub server_full: bool,
    /// L7 was reached when the last turn ended: it is told of once.
    was_full: bool,
    /// Whether the transport has passed on what it took.
    pub flush_pends: bool,
    /// Whether every request's acceptance, start and end is told.
    pub is_watched: bool,
    /// D9.
    pub panics: u64,
    /// L6: places of the server that are free.
    pub free_places: usize,
    /// D9.
    pub counts: Counts,
    /// D9: each with its state.
    pub interrupted: Vec<(u32, u8, &'static str)>,
    /// D9.
    pub bytes_read: u64,
    #[allow(missing_docs, reason = "as above")]
    pub bytes_written: u64,
    /// When it was closed.
    pub ended: Option<Nanos>,
    /// What happened since the program last looked.
    pub events: Vec<Event>,
    #[allow(missing_docs, reason = "as above")]
    pub acts: Vec<Act>,
    #[allow(missing_docs, reason = "as above")]
    pub retired: Vec<(u32, u8, Ending)>,
    /// Interesting states that were reached, for suites that count them.
    pub reached: Vec<&'static str>,
    // What happened in this turn (L13).
    read_in_turn: usize,
    reads_afresh: bool,
    written_in_turn: usize,
    accepted_in_turn: bool,
}

/// Bytes of a result.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

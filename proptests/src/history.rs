//! What was seen of one connection from outside, in the order in which it
//! happened.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Config, Hex, Report};

/// One connection's events, as a harness recorded them: see the [crate's page](crate)
/// for what is to be recorded when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The server's settings.
    pub config: Config,
    /// Which events were recorded at all, besides the bytes.
    #[serde(default)]
    pub views: Views,
    /// The events, in their order.
    pub events: Vec<Event>,
    /// Until when the connection was watched, in microseconds from its start.
    pub end_us: u64,
}

impl History {
    /// An empty history, of which everything is recorded.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            views: Views::default(),
            events: Vec::new(),
            end_us: 0,
        }
    }

    /// Adds an event.
    pub fn record(&mut self, at_us: u64, what: What) {
        self.events.push(Event { at_us, what });
        self.end_us = self.end_us.max(at_us);
    }
}

/// Shares a history between the client, the tasks and the observer of a harness.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// Starts a history.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Mutex::new(History::new(config))))
    }

    /// Adds an event. The calls' order is the history's order.
    pub fn record(&self, at_us: u64, what: What) {
        self.lock().record(at_us, what);
    }

    /// The history so far, watched until `end_us`.
    #[must_use]
    pub fn history(&self, end_us: u64) -> History {
        let mut history = self.lock().clone();
        history.end_us = history.end_us.max(end_us);
        history
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        // A task that panics on purpose must not end the recording.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What besides the bytes was watched: of what was not watched, nothing is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Views {
    /// Events of task and run functions are complete.
    pub tasks: View,
    /// Observer events are complete.
    pub observer: View,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            tasks: View::Partial,
            observer: View::Partial,
        }
    }
}

/// Whether the absence of an event means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Every event was recorded.
    Complete,
    /// Some, or none, were.
    Partial,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds from the connection's start, by a monotonic clock.
    pub at_us: u64,
    /// What.
    pub what: What,
}

/// What can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The client gives these bytes to the transport; recorded *before* it does.
    Sent(Hex),
    /// The last so many bytes that were recorded as sent never reached the transport.
    Unsent(u64),
    /// The client took these bytes from the transport.
    Received(Hex),
    /// The client ends its stream; recorded before it does.
    ClientEnded,
    /// The client, or the network, resets the connection; recorded before.
    ClientReset,
    /// The client saw the end of the server's stream.
    ServerEnded,
    /// The client saw the connection fail.
    ServerReset,
    /// From now on this direction moves slowly or not at all: the client does
    /// not read, or the network holds.
    Stalled(Direction),
    /// This direction moves again as fast as it can.
    Flowing(Direction),
    /// The server's program begins a call; recorded before.
    Called {
        /// Names the call.
        call: u32,
        /// Which.
        what: Call,
    },
    /// The call has returned; recorded after.
    Returned {
        /// Names the call.
        call: u32,
        /// With what.
        what: Returned,
    },
    /// A task function begins: the first thing that it does itself.
    FunctionStarted {
        /// The request's id.
        id: u32,
        /// The request's code.
        code: u8,
    },
    /// A task function ends, or is dropped.
    FunctionEnded {
        /// The request's id.
        id: u32,
        /// How.
        how: FunctionEnd,
        /// What it has read of its message, where that is known.
        read: Option<Hex>,
    },
    /// A run function begins: the first thing that it does itself.
    RunStarted {
        /// Names the run: no two of a history have the same number.
        run: u32,
        /// The task's id.
        id: u32,
        /// The task's code.
        code: u8,
    },
    /// A run function ends or is dropped: the last thing that it does itself.
    RunEnded {
        /// Names the run.
        run: u32,
        /// How.
        how: RunEnd,
    },
    /// A streamed body ends or fails by itself (T7).
    BodyEnded {
        /// The run that returned it.
        run: u32,
        /// How.
        how: BodyEnd,
    },
    /// A streamed body's reader is dropped (T7).
    BodyDropped {
        /// The run that returned it.
        run: u32,
    },
    /// The observer was told.
    Observed(Observed),
    /// The connection is closed. Last of its events, but for functions that are
    /// left over and late calls; the report where there is one.
    Closed(Option<Report>),
    /// What the server still held when all was over.
    Left(Residue),
}

/// A direction of the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Responses.
    ToClient,
}

/// What the server's program can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// The ids of all live tasks.
    List,
    /// T10, one task.
    Cancel {
        /// Its id.
        id: u32,
    },
    /// T10, all of a client's.
    CancelAll,
    /// D1.
    Disconnect {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
    /// D6, of all present clients.
    ServerDisconnect {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
    /// D6: the end of the context given with the connection.
    EndContext,
    /// D5; also the dropping of the connection's own future.
    Close,
    /// D6.
    Shutdown {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returned {
    /// Nothing.
    Nothing,
    /// The ids of the live tasks.
    Tasks(Vec<u32>),
}

/// How a task function ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionEnd {
    /// It returned a run function.
    Task,
    /// It returned none (T6).
    Nothing,
    /// It failed: a connection error (T3).
    Failed,
    /// It panicked (T9).
    Panicked,
    /// It was dropped where it waited (T3).
    Dropped,
}

/// How a run function ended. Bodies are those of [`pattern`](crate::pattern).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// With a result whose bytes the task's kind determines ([`Does`](crate::Does)).
    Result,
    /// A scripted task: with a whole result of so many bytes.
    Whole {
        /// Its length.
        bytes: usize,
    },
    /// A scripted task: with a body that is streamed.
    Streamed {
        /// How many bytes it gives.
        bytes: usize,
        /// And what then.
        then: BodyEnd,
    },
    /// With an error that has a code.
    Coded {
        /// The code.
        code: u8,
    },
    /// With an error that has none (T8).
    Uncoded,
    /// With a panic (T9).
    Panicked,
    /// It did not end by itself: it was dropped.
    Dropped,
}

/// What a body does after its bytes (T7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyEnd {
    /// It is whole.
    Whole,
    /// It fails with a code.
    Coded {
        /// The code.
        code: u8,
    },
    /// It fails without a code: it tears.
    Torn,
    /// It panics.
    Panicked,
    /// It gives nothing more and does not end (L15).
    Stalls,
}

/// What the observer was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// The connection was taken.
    Opened,
    /// A request was accepted and its run function is about to start.
    Started {
        /// The task's id.
        id: u32,
        /// The task's code.
        code: u8,
    },
    /// A task was cancelled.
    Cancelled {
        /// The task's id.
        id: u32,
        /// By whom.
        cause: CancelCause,
    },
    /// A task was answered, or its connection ended first.
    Finished {
        /// The task's id.
        id: u32,
        /// How.
        ending: Ending,
    },
    /// T13.
    Stuck {
        /// The task's id.
        id: u32,
    },
    /// A limit of section 7 was reached.
    LimitReached {
        /// Its rule, `L5` for one.
        rule: String,
    },
}

/// Who cancelled a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// Somebody asked for it (T10).
    Requested,
    /// It overran a limit (T12, L14, L15).
    Limit,
}

/// What became of a task, as the observer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// `OK` was queued.
    Ok,
    /// `Error` with this code was queued.
    Error(u8),
    /// The connection ended first.
    Interrupted,
}

/// What a server still held when a history ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Residue {
    /// Clients in its list.
    pub clients: u64,
    /// Taken places of L6.
    pub tasks: u64,
    /// Bytes counted in L7.
    pub unsent_bytes: u64,
    /// Bytes counted in L16.
    pub held_bytes: u64,
    /// Timers, wakers or threads of its own that are left.
    pub others: u64,
}

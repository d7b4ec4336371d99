//! The closing report of a connection, as plain data (D9).

use serde::{Deserialize, Serialize};

/// How a connection ended (D9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why.
    pub reason: Reason,
    /// Requests of any code whose end was looked at (T3).
    pub accepted: u64,
    /// Answered `OK`.
    pub ok: u64,
    /// Answered `Error`, but not `CANCELLED`.
    pub errors: u64,
    /// Answered `Error CANCELLED`.
    pub cancelled: u64,
    /// Accepted and not answered.
    pub interrupted: u64,
    /// Cancel requests (E2).
    pub cancels: u64,
    /// Every interrupted request.
    pub interrupted_tasks: Vec<Interrupted>,
    /// Ids of the tasks that were stuck when the connection ended (T13).
    #[serde(default)]
    pub stuck: Vec<u32>,
    /// Bytes that came from the client.
    pub bytes_read: u64,
    /// Bytes that the transport took.
    pub bytes_written: u64,
    /// Whether a disconnect's deadline ended the connection (D4).
    pub deadline_reached: bool,
}

/// An accepted request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interrupted {
    /// Its id.
    pub id: u32,
    /// Its code.
    pub code: u8,
    /// What it was doing.
    pub state: State,
}

/// The states of a task (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its message is being read, or its task function has not returned.
    Receiving,
    /// Its run function runs, or its body waits for its turn.
    Running,
    /// It was told to end.
    Cancelling,
    /// Its response is queued or has begun.
    Responding,
}

/// Why a connection ended (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// D1, D6.
    GracefulDisconnect,
    /// D7.
    ClientClosed,
    /// L1.
    TimeoutWaitingForTask,
    /// L2.
    ReadTimeout,
    /// L2.
    ReadTooSlow,
    /// L3.
    WriteTimeout,
    /// L3.
    WriteTooSlow,
    /// L4.
    MessageTooLong {
        /// Of the request.
        id: u32,
    },
    /// L9.
    HandshakeTimeout,
    /// The application's handshake failed.
    HandshakeFailed,
    /// The stream ended inside a request (section 9).
    UnexpectedEnd {
        /// How many bytes of the request had come.
        offset: u64,
    },
    /// T11.
    DuplicateTaskId {
        /// The id.
        id: u32,
    },
    /// T3.
    TaskFunction {
        /// Of the request.
        id: u32,
    },
    /// T8.
    RunFunction {
        /// Of the request.
        id: u32,
    },
    /// T7, L15.
    Body {
        /// Of the request.
        id: u32,
    },
    /// The byte stream failed.
    Transport,
    /// L8.
    Refused,
    /// D5.
    Aborted,
}

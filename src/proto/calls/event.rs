//! What becomes of calls, and of their connection.

use std::time::Duration;

use bytes::Bytes;

use crate::wire::{ErrorCode, ResponseError, TaskId};

/// Whether the server may have run a call's task.
///
/// ```
/// use asyncserver::client::{CallError, Started};
/// use asyncserver::wire::ErrorCode;
/// let unavailable = CallError::Server { code: ErrorCode::UNAVAILABLE };
/// assert_eq!(unavailable.started(), Started::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It has not: the call can be sent again without harm.
    No,
    /// It may have, wholly or in part.
    Perhaps,
}

impl std::fmt::Display for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::No => "the task was not started",
            Self::Perhaps => "the task may have run",
        })
    }
}

/// A call that has ended, with what its caller left with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished<T> {
    /// What the request was sent as, or was to be.
    pub id: TaskId,
    /// What was given to [`Calls::start`](super::Calls::start).
    pub context: T,
    /// What became of the call.
    pub outcome: CallOutcome,
}

/// What became of a call while its connection went on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallOutcome {
    /// The result; of a streamed response, what had not been taken yet.
    Ok(Bytes),
    /// The server's error code.
    Error(ErrorCode),
    /// The server went away without having looked at the request (PROTOCOL C2).
    NotAccepted {
        /// How many requests of the connection it had taken.
        accepted: u32,
    },
    /// There was no sign of a response for this long (PROTOCOL C4).
    TimedOut {
        /// The response timeout.
        after: Duration,
        /// Whether the task may have run.
        started: Started,
    },
    /// The response is longer than the client takes whole (PROTOCOL C8).
    TooLong {
        /// Payload bytes that had come by then.
        length_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

/// A call whose connection was lost (PROTOCOL C3).
#[derive(Debug, PartialEq, Eq)]
pub struct LostCall<T> {
    /// What the request was sent as, or was to be.
    pub id: TaskId,
    /// What was given to [`Calls::start`](super::Calls::start).
    pub context: T,
    /// `No`: the transport had not taken the request's last byte.
    pub started: Started,
}

/// Why a call was not taken up; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The message is longer than the server takes (PROTOCOL C7).
    #[error("the message has {length_bytes} bytes, the server takes at most {limit_bytes}")]
    TooLong {
        /// The message's length.
        length_bytes: u64,
        /// The server's limit.
        limit_bytes: u64,
    },
    /// The id is that of a live task (PROTOCOL N7).
    #[error("the id {id} belongs to a live task")]
    IdInUse {
        /// The id that was asked for.
        id: TaskId,
    },
    /// The connection takes no call now: see [`Calls::places`](super::Calls::places).
    #[error("the connection takes no call now")]
    NoPlace,
}

/// Why a connection must be given up, or can be: a clock of PROTOCOL C4 ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Expired {
    /// The transport took nothing, and gave nothing.
    #[error("nothing could be written for {after:?}")]
    Write {
        /// The write timeout.
        after: Duration,
    },
    /// A KeepAlive was not answered.
    #[error("a keep-alive was not answered within {after:?}")]
    KeepAlive {
        /// The response timeout.
        after: Duration,
    },
    /// Negotiate was not answered.
    #[error("the negotiation was not answered within {after:?}")]
    Negotiate {
        /// The response timeout.
        after: Duration,
    },
    /// A streamed message stopped coming from its source, and cannot be ended early.
    #[error("the streamed message of task {id} did not go on for {after:?}")]
    Message {
        /// The task whose message it is.
        id: TaskId,
        /// The response timeout.
        after: Duration,
    },
    /// Nobody has called for so long.
    #[error("the connection was not used for {after:?}")]
    Unused {
        /// The time after which an unused connection is closed.
        after: Duration,
    },
}

/// What a server sent against the protocol (PROTOCOL C1). The connection is
/// closed, and all its calls fail with this.
///
/// ```
/// use asyncserver::client::ProtocolViolation;
/// use asyncserver::wire::TaskId;
/// let violation = ProtocolViolation::NotLive { id: TaskId(7), offset: 12 };
/// assert!(violation.to_string().contains("task 7"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// A byte that is no response code.
    #[error(transparent)]
    UnknownCode(#[from] ResponseError),
    /// A response for an id that is not live: a second terminal one, or one never asked for.
    #[error(
        "a response for task {id}, which is not live, ends its header at byte {offset} of the stream"
    )]
    NotLive {
        /// The id in the response.
        id: TaskId,
        /// Bytes of the stream up to the end of the response's header.
        offset: u64,
    },
    /// A response for a request whose end the server cannot have seen (PROTOCOL T5).
    #[error("a response for task {id}, whose request has not been sent whole")]
    TooEarly {
        /// The id in the response.
        id: TaskId,
    },
    /// An extension that was not granted.
    #[error("{extension} was sent, which was not granted")]
    NotGranted {
        /// The extension's name.
        extension: &'static str,
    },
    /// A Goodbye that counts more requests than were sent.
    #[error("the server says that it accepted {accepted} requests where {sent} were sent")]
    AcceptedTooMany {
        /// The Goodbye's count.
        accepted: u32,
        /// Requests sent on the connection.
        sent: u64,
    },
}

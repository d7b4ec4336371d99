//! What can become of a call other than its result.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::{Expired, ProtocolViolation, Started};
use crate::runtime::Address;
use crate::wire::{ErrorCode, TaskCode, TaskId};

/// Why a call has no result.
///
/// ```
/// use asyncserver::client::{CallError, Started};
/// fn may_be_sent_again(error: &CallError) -> bool {
///     error.started() == Started::No
/// }
/// assert!(may_be_sent_again(&CallError::Closed { started: Started::No }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server answered with an error code, the application's or one of the
    /// library's, `CANCELLED` aside. The call is over.
    #[error("the server answered with error {code}")]
    Server {
        /// The code.
        code: ErrorCode,
    },
    /// The task was cancelled, by this side or by the server.
    #[error("cancelled: {started}")]
    Cancelled {
        /// Whether the task may have run.
        started: Started,
    },
    /// The task was not started, on any connection: calling again is safe
    /// (PROTOCOL C2, C3).
    #[error("not started: {reason}")]
    NotStarted {
        /// Why it was not.
        reason: NotStarted,
    },
    /// The connection was lost once the request had been sent: the task may
    /// have run (PROTOCOL C3).
    #[error("interrupted, the task may have run: {loss}")]
    Interrupted {
        /// What became of the connection.
        loss: ConnectionLoss,
    },
    /// There was no sign of a response for the response timeout (PROTOCOL C4).
    #[error("timed out: no sign of a response for {after:?}, {started}")]
    TimedOut {
        /// The response timeout.
        after: Duration,
        /// Whether the task may have run.
        started: Started,
    },
    /// The server broke the protocol, and its connection was closed (PROTOCOL C1).
    /// The task may have run.
    #[error("the server broke the protocol: {violation}")]
    Protocol {
        /// What it sent.
        violation: ProtocolViolation,
    },
    /// The caller did not take its streamed response, which held up all others
    /// (PROTOCOL C8). The task has run, the rest of its response is discarded.
    #[error(
        "the response was not taken: {buffered_bytes} bytes waited, reading stopped for {waited:?}"
    )]
    NotTaken {
        /// Bytes that were waiting to be taken, and still can be.
        buffered_bytes: usize,
        /// For how long reading had stopped.
        waited: Duration,
    },
    /// A message was longer than its receiver takes (PROTOCOL C7, C8).
    #[error(
        "the {message} has {length_bytes} bytes or more, where at most {limit_bytes} are taken"
    )]
    TooLong {
        /// Which message.
        message: TooLongMessage,
        /// Its length in payload bytes, as far as it had come.
        length_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The client was closed before the call had ended.
    #[error("the client was closed: {started}")]
    Closed {
        /// Whether the task may have run.
        started: Started,
    },
}

impl CallError {
    /// Whether the server may have run the task: if not, calling again is safe.
    #[must_use]
    pub const fn started(&self) -> Started {
        match self {
            Self::Server { code } if code.never_started() => Started::No,
            Self::NotStarted { .. } => Started::No,
            Self::TooLong { message, .. } => match message {
                TooLongMessage::Request => Started::No,
                TooLongMessage::Response => Started::Perhaps,
            },
            Self::Cancelled { started }
            | Self::TimedOut { started, .. }
            | Self::Closed { started } => *started,
            Self::Server { .. }
            | Self::Interrupted { .. }
            | Self::Protocol { .. }
            | Self::NotTaken { .. } => Started::Perhaps,
        }
    }
}

/// Which message was too long.
///
/// ```
/// use asyncserver::client::TooLongMessage;
/// assert_eq!(TooLongMessage::Request.to_string(), "request");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLongMessage {
    /// The request's, against what the server says that it takes. It was not sent whole.
    Request,
    /// The response's, against the client's own limit.
    Response,
}

impl std::fmt::Display for TooLongMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

/// Why a call was not started.
///
/// ```
/// use asyncserver::client::NotStarted;
/// assert_eq!(
///     NotStarted::Goodbye { accepted: 3 }.to_string(),
///     "the server went away after 3 requests",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// No connection was to be had.
    #[error("no connection, {attempts} failed attempts in a row: {last}")]
    NoConnection {
        /// Attempts in a row that failed, at any address.
        attempts: u32,
        /// The last of them.
        last: ConnectError,
    },
    /// The connection was lost before the request had been sent.
    #[error("{loss}")]
    ConnectionLost {
        /// What became of the connection.
        loss: ConnectionLoss,
    },
    /// The server went away without having looked at the request (PROTOCOL C2).
    #[error("the server went away after {accepted} requests")]
    Goodbye {
        /// Requests of the connection that it had taken.
        accepted: u32,
    },
    /// The source of the streamed message failed.
    #[error("the message's source failed: {error}")]
    SourceFailed {
        /// How.
        error: IoFailure,
    },
    /// The id that was asked for belongs to a task that is still live (PROTOCOL N7).
    #[error("the id {id} belongs to a live task")]
    IdInUse {
        /// The id.
        id: TaskId,
    },
    /// Cancel and Negotiate are the client's own business.
    #[error("task code {code} is reserved for the client itself")]
    ReservedCode {
        /// The code.
        code: TaskCode,
    },
}

/// Why a connection ended with calls pending (PROTOCOL C3).
///
/// ```
/// use asyncserver::client::ConnectionLoss;
/// assert_eq!(ConnectionLoss::EndOfStream.to_string(), "the server closed the connection");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionLoss {
    /// The server ended its stream.
    #[error("the server closed the connection")]
    EndOfStream,
    /// The transport failed.
    #[error("the connection failed: {error}")]
    Transport {
        /// How.
        error: IoFailure,
    },
    /// A clock of the connection ran out (PROTOCOL C4).
    #[error(transparent)]
    Expired(#[from] Expired),
    /// A streamed message's source failed when the message had begun, and could
    /// not be ended without the server taking it as whole (PROTOCOL C5).
    #[error("the source of task {id}'s message failed: {error}")]
    SourceFailed {
        /// The task whose message it was.
        id: TaskId,
        /// How.
        error: IoFailure,
    },
    /// A streamed message turned out longer than the server takes (PROTOCOL C7).
    #[error("task {id}'s message became longer than the {limit_bytes} bytes that the server takes")]
    MessageTooLong {
        /// The task whose message it was.
        id: TaskId,
        /// The server's limit.
        limit_bytes: u64,
    },
}

/// An attempt to connect that failed.
///
/// ```
/// use asyncserver::{client::ConnectError, runtime::Address};
/// let error = ConnectError::TimedOut {
///     address: Address::named("host:1"),
///     after: std::time::Duration::from_secs(10),
/// };
/// assert_eq!(error.to_string(), "host:1: no connection within 10s");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connector said no.
    #[error("{address}: {error}")]
    Failed {
        /// Which address.
        address: Address,
        /// How.
        error: IoFailure,
    },
    /// It took too long.
    #[error("{address}: no connection within {after:?}")]
    TimedOut {
        /// Which address.
        address: Address,
        /// The time limit.
        after: Duration,
    },
    /// The connection was made, and lost before it was of use.
    #[error("{address}: {loss}")]
    LostAtOnce {
        /// Which address.
        address: Address,
        /// What became of it.
        loss: ConnectionLoss,
    },
    /// The server at it broke the protocol before it had answered a call.
    #[error("{address}: the server broke the protocol: {violation}")]
    BrokeProtocol {
        /// Where.
        address: Address,
        /// What it sent.
        violation: ProtocolViolation,
    },
}

/// An [`io::Error`], as far as several calls can share it.
///
/// ```
/// use std::io;
/// use asyncserver::client::IoFailure;
/// let failure = IoFailure::from(io::Error::from(io::ErrorKind::ConnectionReset));
/// assert_eq!(failure.kind, io::ErrorKind::ConnectionReset);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoFailure {
    /// Its kind.
    pub kind: io::ErrorKind,
    /// Its text.
    pub message: Arc<str>,
}

impl From<io::Error> for IoFailure {
    fn from(error: io::Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string().into(),
        }
    }
}

impl std::fmt::Display for IoFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

//! How a connection ended and what became of its requests (PROTOCOL D9).

use std::time::Duration;

use super::ledger::TaskState;
use crate::wire::{ErrorCode, TaskCode, TaskId, UnexpectedEnd};

/// What was wrong with the bytes that a client sent (PROTOCOL section 9).
///
/// The request that it names was not accepted; whatever was accepted before it
/// is answered or accounted for in the report.
///
/// ```
/// use asyncserver::server::ProtocolError;
/// let error = ProtocolError::DuplicateTaskId { id: 7.into(), code: 1.into(), offset: 20 };
/// assert_eq!(error.to_string(), "duplicate task id 7 (task code 1) in the request at byte 20");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The stream ended inside a request. The request was not accepted.
    #[error(transparent)]
    UnexpectedEnd(#[from] UnexpectedEnd),
    /// A request has the id of a live task (PROTOCOL T11). It was not accepted.
    #[error("duplicate task id {id} (task code {code}) in the request at byte {offset}")]
    DuplicateTaskId {
        /// The id.
        id: TaskId,
        /// The task code of the second request.
        code: TaskCode,
        /// Where the second request begins, in bytes from the connection's start.
        offset: u64,
    },
}

/// The one reason for which a connection ended (PROTOCOL D9).
///
/// ```
/// use asyncserver::server::EndReason;
/// assert!(EndReason::GracefulDisconnect.is_expected());
/// assert!(!EndReason::ReadTimeout.is_expected());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The server's program asked for it.
    #[error("graceful disconnection")]
    GracefulDisconnect,
    /// The client ended its stream between two requests (D7).
    #[error("client closed")]
    ClientClosed,
    /// Nothing happened for the wait limit (L1).
    #[error("timeout waiting for task")]
    TimeoutWaitingForTask,
    /// A request stopped coming (L2).
    #[error("read timeout")]
    ReadTimeout,
    /// A request came too slowly (L2).
    #[error("read too slow")]
    ReadTooSlow,
    /// The client stopped taking responses (L3).
    #[error("write timeout")]
    WriteTimeout,
    /// The client took responses too slowly (L3).
    #[error("write too slow")]
    WriteTooSlow,
    /// A message was longer than allowed (L4).
    #[error("message too long: task {id} (task code {code}) has more than {limit_bytes} bytes")]
    MessageTooLong {
        /// The task's id.
        id: TaskId,
        /// Its code.
        code: TaskCode,
        /// The longest payload allowed, in bytes.
        limit_bytes: usize,
    },
    /// The application's handshake took too long (L9).
    #[error("handshake timeout")]
    HandshakeTimeout,
    /// The application's handshake failed.
    #[error("handshake failure: {0}")]
    HandshakeFailed(Box<str>),
    /// What the client sent made no sense.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    /// A task function returned an error (T3).
    #[error("task function error: task {id} (task code {code}): {error}")]
    TaskFunction {
        /// The task's id.
        id: TaskId,
        /// Its code.
        code: TaskCode,
        /// The error's own words.
        error: Box<str>,
    },
    /// A request would have been answered with one of the library's errors, in
    /// the place of which the application wants the connection closed (N9).
    #[error(
        "run function error: task {id} (task code {code}) would be answered with error {error}, \
         for which the application closes the connection"
    )]
    Unanswered {
        /// The task's id.
        id: TaskId,
        /// Its code.
        code: TaskCode,
        /// The error.
        error: ErrorCode,
    },
    /// A run function returned an error without a code (T8).
    #[error("run function error: task {id} (task code {code}): {error}")]
    RunFunction {
        /// The task's id.
        id: TaskId,
        /// Its code.
        code: TaskCode,
        /// The error's own words.
        error: Box<str>,
    },
    /// A body failed when its response had begun, or without a code (T7).
    #[error("body error: task {id} (task code {code}): {error}")]
    Body {
        /// The task's id.
        id: TaskId,
        /// Its code.
        code: TaskCode,
        /// The error's own words.
        error: Box<str>,
    },
    /// The byte stream failed.
    #[error("transport error: {0}")]
    Transport(Box<str>),
    /// The server had as many connections as it takes (L8).
    #[error("refused: the server has its limit of {limit} connections")]
    Refused {
        /// The limit.
        limit: usize,
    },
    /// The server's program closed the connection at once (D5).
    #[error("aborted")]
    Aborted,
}

impl EndReason {
    /// The code of the task that it is about, if it is about one.
    #[must_use]
    pub const fn task_code(&self) -> Option<TaskCode> {
        match self {
            Self::MessageTooLong { code, .. }
            | Self::TaskFunction { code, .. }
            | Self::RunFunction { code, .. }
            | Self::Unanswered { code, .. }
            | Self::Body { code, .. }
            | Self::Protocol(ProtocolError::DuplicateTaskId { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// Whether the end was nobody's mistake: a graceful disconnection, the
    /// client's own leaving, or nothing left to do.
    #[must_use]
    pub const fn is_expected(&self) -> bool {
        matches!(
            self,
            Self::GracefulDisconnect | Self::ClientClosed | Self::TimeoutWaitingForTask
        )
    }
}

/// What became of a connection's requests (PROTOCOL D9): `accepted` is the sum of the others.
///
/// ```
/// use asyncserver::server::RequestCounts;
/// let mut counts = RequestCounts::default();
/// counts.accepted = 2;
/// counts.ok = 1;
/// counts.interrupted = 1;
/// assert!(counts.add_up());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Requests, of any code, whose end was looked at (T3).
    pub accepted: u64,
    /// Answered `OK`.
    pub ok: u64,
    /// Answered `Error` with any code but `CANCELLED`.
    pub errors: u64,
    /// Answered `Error CANCELLED`.
    pub cancelled: u64,
    /// Accepted, but not answered before the connection ended.
    pub interrupted: u64,
    /// Cancel requests, which have no answer of their own (E2).
    pub cancels: u64,
}

impl RequestCounts {
    /// Whether every accepted request is in exactly one other count.
    #[must_use]
    pub const fn add_up(&self) -> bool {
        self.accepted == self.ok + self.errors + self.cancelled + self.interrupted + self.cancels
    }
}

/// A request that was accepted and not answered.
///
/// ```
/// use asyncserver::server::ConnectionReport;
/// fn show(report: &ConnectionReport) {
///     for task in &report.interrupted {
///         println!("task {} was {:?}", task.id, task.state);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterruptedTask {
    /// Its id.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
    /// What it was doing; `Responding` while its response was queued.
    pub state: TaskState,
}

/// A task whose function did not end when it was told to (PROTOCOL T13).
///
/// ```
/// use asyncserver::server::ConnectionReport;
/// fn any_stuck(report: &ConnectionReport) -> bool { !report.stuck.is_empty() }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckTask {
    /// The id that it had while it was live.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
}

/// What became of one task.
///
/// ```
/// use asyncserver::server::TaskEnding;
/// use asyncserver::wire::ErrorCode;
/// assert_ne!(TaskEnding::Ok, TaskEnding::Error(ErrorCode::CANCELLED));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnding {
    /// Its result was queued.
    Ok,
    /// This error was queued.
    Error(ErrorCode),
    /// Its connection ended first.
    Interrupted,
}

/// How a connection ended (PROTOCOL D9).
///
/// ```
/// use asyncserver::server::ConnectionReport;
/// fn log(report: &ConnectionReport) {
///     println!("{}: {} of {} answered", report.reason,
///         report.counts.accepted - report.counts.interrupted, report.counts.accepted);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// The first cause that left Open, or the error that replaced it while draining.
    pub reason: EndReason,
    /// What became of the requests.
    pub counts: RequestCounts,
    /// Every interrupted request, by id.
    pub interrupted: Vec<InterruptedTask>,
    /// Tasks that were stuck when the connection ended.
    pub stuck: Vec<StuckTask>,
    /// Panics of the tasks' code (T9), those of tasks without an answer too.
    pub panics: u64,
    /// Bytes that came from the client.
    pub bytes_read: u64,
    /// Bytes that the transport took.
    pub bytes_written: u64,
    /// Whether a disconnect's deadline ended the connection (D4).
    pub deadline_reached: bool,
    /// How long the connection lasted.
    pub lasted: Duration,
}

impl ConnectionReport {
    /// The report of a connection that never took a request.
    #[must_use]
    pub fn of_unserved(reason: EndReason) -> Self {
        Self {
            reason,
            counts: RequestCounts::default(),
            interrupted: Vec::new(),
            stuck: Vec::new(),
            panics: 0,
            bytes_read: 0,
            bytes_written: 0,
            deadline_reached: false,
            lasted: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: TaskCode = TaskCode(9);

    fn reasons() -> Vec<(EndReason, Option<TaskCode>, bool)> {
        let (id, code, error) = (TaskId(7), CODE, Box::<str>::from("no"));
        let answered_by_closing = EndReason::Unanswered {
            id,
            code,
            error: ErrorCode::UNKNOWN_TASK,
        };
        vec![
            (EndReason::GracefulDisconnect, None, true),
            (EndReason::ClientClosed, None, true),
            (EndReason::TimeoutWaitingForTask, None, true),
            (EndReason::ReadTimeout, None, false),
            (EndReason::WriteTooSlow, None, false),
            (EndReason::Transport(error.clone()), None, false),
            (EndReason::Aborted, None, false),
            (EndReason::Body { id, code, error }, Some(CODE), false),
            (answered_by_closing, Some(CODE), false),
        ]
    }

    #[test]
    fn a_reason_names_its_task_and_whether_it_is_a_mistake() {
        for (reason, task_code, is_expected) in reasons() {
            assert_eq!(reason.task_code(), task_code, "{reason}");
            assert_eq!(reason.is_expected(), is_expected, "{reason}");
        }
    }

    /// D9: each accepted request is in exactly one of the other counts.
    #[test]
    fn counts_that_do_not_add_up_are_told_from_those_that_do() {
        let sums = RequestCounts {
            accepted: 10,
            ok: 1,
            errors: 2,
            cancelled: 3,
            interrupted: 3,
            cancels: 1,
        };
        assert!(sums.add_up());
        for count in 0..6 {
            let mut wrong = sums;
            *[
                &mut wrong.accepted,
                &mut wrong.ok,
                &mut wrong.errors,
                &mut wrong.cancelled,
                &mut wrong.interrupted,
                &mut wrong.cancels,
            ][count] += 1;
            assert!(!wrong.add_up(), "{wrong:?}");
        }
    }
}

//! What can be watched of a server: metrics, audit logs and histories are
//! observers.

use std::fmt;

use super::handle::ClientHandle;
use crate::proto::{CancelCause, ConnectionReport, TaskEnding};
use crate::runtime::Endpoints;
use crate::wire::{TaskCode, TaskId};

/// The task that an event is about.
///
/// ```
/// use asyncserver::server::ObservedTask;
/// fn show(task: ObservedTask) -> String { format!("{} ({})", task.id, task.code) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedTask {
    /// Its id.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
}

/// A watcher of a server, or of one of its clients.
///
/// Every method is called outside all locks, mostly on a connection's own
/// thread: it must not block. What panics in one is logged, once per connection
/// as an error, and otherwise ignored. What happens to one client is told in
/// the order in which it happened, `handshake_done` first and
/// `connection_closed` last, by one thread at a time.
///
/// ```
/// use asyncserver::server::{ClientHandle, ConnectionReport, Observer};
///
/// #[derive(Debug)]
/// struct Audit;
/// impl Observer for Audit {
///     fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
///         println!("{client}: {}", report.reason);
///     }
/// }
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Whether it is the library's own observer, which watches nothing.
    #[doc(hidden)]
    fn is_silent(&self) -> bool {
        false
    }
    /// Whether requests are to be told of one by one, from their acceptance to
    /// their end; asked once a turn of a connection. Cancels, stuck tasks,
    /// limits and interrupted tasks, of which there are few, are told in any case.
    fn wants_task_events(&self) -> bool {
        false
    }
    /// A connection was taken; its handshake comes next. Told to the server's observer.
    fn connection_opened(&self, _endpoints: &Endpoints) {}
    /// The handshake is done, and requests are read from now on. Every such
    /// connection is told of once more, by `connection_closed`; the others by
    /// `connection_refused`.
    fn handshake_done(&self, _client: &ClientHandle) {}
    /// A request, of any code, was accepted (PROTOCOL T3).
    fn request_accepted(&self, _client: &ClientHandle, _request: ObservedTask) {}
    /// A run function is about to start.
    fn task_started(&self, _client: &ClientHandle, _task: ObservedTask) {}
    /// A task was cancelled, or overran a limit.
    fn task_cancelled(&self, _client: &ClientHandle, _task: ObservedTask, _cause: CancelCause) {}
    /// A task was answered, or its connection ended first. One that was cancelled
    /// while its message was read, or has no run function, was not started before.
    fn task_finished(&self, _client: &ClientHandle, _task: ObservedTask, _ending: TaskEnding) {}
    /// A task did not end when it was told to (PROTOCOL T13), and is answered so.
    fn task_stuck(&self, _client: &ClientHandle, _task: ObservedTask) {}
    /// A limit was reached, by the name of its rule: one of PROTOCOL section 7
    /// that a client with a connection can reach, or N9 for a registration's own.
    fn limit_reached(&self, _client: &ClientHandle, _rule: &'static str) {}
    /// A connection was refused before it had a client (PROTOCOL L8, L9).
    fn connection_refused(&self, _endpoints: &Endpoints, _report: &ConnectionReport) {}
    /// A connection has ended.
    fn connection_closed(&self, _client: &ClientHandle, _report: &ConnectionReport) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    fn is_silent(&self) -> bool {
        true
    }
}

/// An event on its way out of a lock.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    HandshakeDone,
    Accepted(ObservedTask),
    Started(ObservedTask),
    Cancelled(ObservedTask, CancelCause),
    Finished(ObservedTask, TaskEnding),
    Stuck(ObservedTask),
    LimitReached(&'static str),
    Closed(Box<ConnectionReport>),
}

impl Event {
    pub(crate) fn tell(self, observer: &dyn Observer, client: &ClientHandle) {
        match self {
            Self::HandshakeDone => observer.handshake_done(client),
            Self::Accepted(task) => observer.request_accepted(client, task),
            Self::Started(task) => observer.task_started(client, task),
            Self::Cancelled(task, cause) => observer.task_cancelled(client, task, cause),
            Self::Finished(task, ending) => observer.task_finished(client, task, ending),
            Self::Stuck(task) => observer.task_stuck(client, task),
            Self::LimitReached(rule) => observer.limit_reached(client, rule),
            Self::Closed(report) => observer.connection_closed(client, &report),
        }
    }
}

//! What a program can see of a client and do to it, from any thread.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Server;
use super::observe::Observer;
use super::session::Session;
use crate::proto::TaskMetadata;
use crate::runtime::{Address, Endpoints};
use crate::wire::{ByteOrder, TaskCode, TaskId};

/// A client of a server.
///
/// Cheap to clone, usable from any thread; once its client is gone the lists
/// are empty and the commands do nothing. Displayed as `remote->local`.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::server::Server;
/// fn end_quiet_clients(server: &Server) {
///     for client in server.clients() {
///         if client.tasks().is_empty() {
///             client.disconnect(Duration::from_secs(10));
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct ClientHandle(Session);

impl ClientHandle {
    pub(crate) const fn new(session: Session) -> Self {
        Self(session)
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.0
    }

    fn now(&self) -> Instant {
        self.0.client().server.clock.now()
    }

    /// The order of bytes in integers on this connection.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.0.client().order
    }

    /// Cancels one task; does nothing if no live task has this id, or if it was
    /// cancelled before (PROTOCOL T10).
    pub fn cancel(&self, id: TaskId) {
        self.0.cancel(id, self.now());
    }

    /// Cancels every live task (PROTOCOL T10).
    pub fn cancel_all(&self) {
        self.0.cancel_all(self.now());
    }

    /// Closes the connection at once (PROTOCOL D5). Does not block.
    pub fn close(&self) {
        self.0.close(self.now());
    }

    /// Ends the connection gracefully (PROTOCOL D1–D4): no more requests are
    /// read; live tasks go on for at most `after`, and of several calls the
    /// shortest time counts. Cannot be called off. Does not block.
    pub fn disconnect(&self, after: Duration) {
        self.0.disconnect(after, self.now());
    }

    /// This side's address.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.0.client().endpoints.local
    }

    /// The client's address.
    #[must_use]
    pub fn remote_addr(&self) -> &Address {
        &self.0.client().endpoints.remote
    }

    /// Both addresses.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.0.client().endpoints
    }

    /// What is known of one live task; `None` if there is none with this id.
    #[must_use]
    pub fn metadata(&self, id: TaskId) -> Option<TaskMetadata> {
        self.0.metadata_by_id(id)
    }

    /// The age of one live task.
    #[must_use]
    pub fn task_age(&self, id: TaskId) -> Option<Duration> {
        let task = self.metadata(id)?;
        Some(self.now().saturating_duration_since(task.began))
    }

    /// The run data of one live task; `None` if it has none of this type, or
    /// its run function has ended (PROTOCOL T3).
    #[must_use]
    pub fn run_data<D: Any + Send + Sync>(&self, id: TaskId) -> Option<Arc<D>> {
        self.0.run_data(id)?.downcast().ok()
    }

    /// The arguments that came with the connection; `None` if they are not of this type.
    #[must_use]
    pub fn arguments<A: Any + Send + Sync>(&self) -> Option<Arc<A>> {
        self.0.client().arguments.clone()?.downcast().ok()
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> Server {
        Server(Arc::clone(&self.0.client().server))
    }

    /// The ids of all live tasks, ascending.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskId> {
        let mut ids: Vec<_> = self.0.list().into_iter().map(|task| task.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The ids of all live tasks with this code, ascending.
    #[must_use]
    pub fn tasks_with_code(&self, code: TaskCode) -> Vec<TaskId> {
        let tasks = self.0.list().into_iter();
        let mut ids: Vec<_> = tasks
            .filter(|task| task.code == code)
            .map(|task| task.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The codes of all live tasks, in the order in which they were assigned.
    #[must_use]
    pub fn task_codes(&self) -> Vec<TaskCode> {
        self.0.list().into_iter().map(|task| task.code).collect()
    }

    /// When the connection began, by the server's clock.
    #[must_use]
    pub fn connected_at(&self) -> Instant {
        self.0.client().connected_at
    }

    /// When the connection began, by the time of day, for display.
    #[must_use]
    pub fn connected_wall_time(&self) -> SystemTime {
        self.0.client().connected_wall
    }

    /// Whether requests are still read: `false` once an end has begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.phase() == crate::proto::Phase::Open
    }

    /// The tracing span of the connection.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        self.0.span()
    }

    /// Replaces the tracing span under which the connection and its tasks log.
    pub fn set_span(&self, span: tracing::Span) {
        self.0.set_span(span);
    }

    /// Replaces the observer of this client, which was the server's.
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        self.0.set_observer(observer);
    }
}

impl PartialEq for ClientHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}

impl Eq for ClientHandle {}

impl fmt::Display for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.client().endpoints.fmt(f)
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHandle({self})")
    }
}

//! The server: it reads requests, runs tasks, and answers them.
//!
//! Start with [`Server::builder`]; then either [`Server::serve`] a listener or
//! hand over single streams with [`Server::handle_connection`].

mod admission;
mod bodies;
mod builder;
mod client;
mod connect;
mod drain;
mod driver;
mod error;
mod handle;
mod handshake;
mod lent;
mod observe;
mod places;
mod reader;
mod reading;
mod registration;
mod registry;
mod response;
mod run;
mod serve;
mod session;
mod shared;
mod task;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::ServerBuilder;
use self::connect::Connected;
pub use self::drain::{ClosedConnection, DrainReport};
pub use self::error::{ErrorCoder, TaskError, TaskFunctionError};
pub use self::handle::ClientHandle;
pub use self::handshake::{ConnectionOptions, Handshake, HandshakeError, NoHandshake};
pub use self::observe::{ObservedTask, Observer};
pub use self::reader::MessageReader;
pub use self::registration::{Execution, RegisterError, Registration, RegistrationView};
pub use self::response::Response;
pub use self::serve::Serving;
use self::shared::ServerShared;
pub use self::task::{Request, Task, TaskContext, TaskFunction};
pub use crate::proto::{
    CancelCause, ConnectionReport, EndReason, ErrorAnswer, InterruptedTask, Limits, OnCancel,
    OnHalfClose, ProtocolError, RequestCounts, StuckTask, TaskEnding, TaskMetadata, TaskState,
    Timeouts,
};
use crate::runtime::{Listener, Transport};
use crate::wire::TaskCode;

/// A server: its registrations, limits and clients. Cheap to clone; all clones
/// are the same server.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use asyncserver::{runtime::tcp::TcpListener, server::Server, wire::TaskCode};
/// use std::time::Duration;
///
/// let server = Server::builder()
///     .task(TaskCode(1), "echo", async |_, message| Ok(message))
///     .build();
/// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let serving = server.serve(listener);
/// assert_eq!(server.client_count(), 0);
/// serving.shutdown(Duration::from_secs(1)).await;
/// # });
/// ```
#[derive(Clone)]
pub struct Server(pub(crate) Arc<ServerShared>);

impl Server {
    /// Starts to build a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// Registers a task, at any time, for all connections; requests whose
    /// header has been read keep the registration that it found. Returns what
    /// was registered under the code before.
    ///
    /// # Errors
    /// [`RegisterError::Reserved`]; nothing has changed then.
    pub fn register(
        &self,
        code: TaskCode,
        name: &str,
        registration: Registration,
    ) -> Result<Option<RegistrationView>, RegisterError> {
        let previous = self.0.registry.register(code, name, registration)?;
        Ok(previous.map(RegistrationView))
    }

    /// What is registered under a code.
    #[must_use]
    pub fn registration(&self, code: TaskCode) -> Option<RegistrationView> {
        self.0.registry.find(code).map(RegistrationView)
    }

    /// All registered codes, ascending.
    #[must_use]
    pub fn registered_task_codes(&self) -> Vec<TaskCode> {
        self.0.registry.codes()
    }

    /// All clients, oldest first.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientHandle> {
        let sessions = self.0.registry.clients().into_iter();
        sessions.map(ClientHandle::new).collect()
    }

    /// How many clients there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.0.registry.client_count()
    }

    /// Live tasks of all clients, stuck ones too (PROTOCOL L6).
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.0.places.tasks.taken()
    }

    /// Ends the connections of the present clients gracefully, as
    /// [`ClientHandle::disconnect`] does; new ones are still taken (PROTOCOL D6).
    /// Does not block.
    pub fn disconnect(&self, after: Duration) {
        for client in self.clients() {
            client.disconnect(after);
        }
    }

    /// Waits until there is no client. Cancel safe.
    pub async fn wait(&self) {
        self.0
            .wait_until(|server| server.registry.client_count() == 0)
            .await;
    }

    /// Accepts connections from `listener` until the server is shut down.
    ///
    /// # Panics
    /// When called outside a Tokio runtime, unless the server has an executor of its own.
    pub fn serve<L: Listener>(&self, listener: L) -> Serving {
        self.serve_with(listener, NoHandshake)
    }

    /// The same, with a handshake for each connection.
    ///
    /// # Panics
    /// When called outside a Tokio runtime, unless the server has an executor of its own.
    pub fn serve_with<L, H>(&self, listener: L, handshake: H) -> Serving
    where
        L: Listener,
        H: Handshake<L::Stream>,
    {
        Serving::start(self.clone(), listener, handshake)
    }

    /// Serves one connection to its end, and tells how it ended. Dropping the
    /// future closes the connection at once (PROTOCOL D5).
    ///
    /// # Panics
    /// When polled outside a Tokio runtime, unless the server has a clock and
    /// an executor of its own.
    pub async fn handle_connection<S: Transport>(
        &self,
        stream: S,
        options: ConnectionOptions,
    ) -> ConnectionReport {
        let endpoints = options.endpoints.clone().unwrap_or_default();
        let place = match self.take_place(&endpoints) {
            Ok(place) => place,
            Err(report) => return *report,
        };
        Connected::new(self, place, options).serve(stream).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.0.settings.limits)
            .field("timeouts", &self.0.settings.timeouts)
            .field("clients", &self.client_count())
            .finish_non_exhaustive()
    }
}

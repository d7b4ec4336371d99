//! Building a server, and what can be done with one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::client::ClientContext;
use super::driver::Driver;
use super::error::TaskError;
use super::handle::ClientHandle;
use super::handshake::{ConnectionOptions, Handshake, NoHandshake};
use super::observe::{Observer, Unobserved};
use super::places::ServerPlaces;
use super::registration::{RegisterError, Registration, RegistrationView};
use super::registry::Registry;
use super::response::Response;
use super::run::unless_panics;
use super::serve::Serving;
use super::session::Session;
use super::shared::ServerShared;
use super::task::{TaskContext, TaskFunction};
use crate::proto::{
    Connection, ConnectionReport, EndReason, Limits, OnHalfClose, Settings, Timeouts,
};
use crate::runtime::{Clock, Executor, Listener, TokioClock, TokioExecutor, Transport};
use crate::wire::{ByteOrder, TaskCode};

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

/// What a server is made of.
///
/// ```
/// use asyncserver::server::{Limits, Server, Timeouts};
/// let mut limits = Limits::default();
/// limits.in_flight_limit = 16;
/// let server = Server::builder().limits(limits).timeouts(Timeouts::default()).build();
/// ```
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder {
    registrations: Vec<(TaskCode, String, Registration)>,
    limits: Limits,
    timeouts: Timeouts,
    on_half_close: OnHalfClose,
    byte_order: ByteOrder,
    clock: Arc<dyn Clock>,
    executor: Arc<dyn Executor>,
    observer: Arc<dyn Observer>,
}

impl ServerBuilder {
    /// Registers a function of the whole message: short for
    /// [`register`](Self::register) with [`Registration::task`].
    ///
    /// # Panics
    /// When the code is reserved (PROTOCOL E7).
    pub fn task<F, Fut, R>(self, code: TaskCode, name: &str, function: F) -> Self
    where
        F: Fn(TaskContext, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Response> + 'static,
    {
        self.register(code, name, Registration::task(function))
    }

    /// Registers a task function: short for [`register`](Self::register) with
    /// [`Registration::task_function`].
    ///
    /// # Panics
    /// When the code is reserved (PROTOCOL E7).
    pub fn task_function(self, code: TaskCode, name: &str, function: impl TaskFunction) -> Self {
        self.register(code, name, Registration::task_function(function))
    }

    /// Registers a task; of several with the same code the last counts. The
    /// name is for logs and may be empty.
    ///
    /// # Panics
    /// When the code is reserved, which is an error of the program (PROTOCOL
    /// E7); [`Server::register`] returns it instead.
    pub fn register(mut self, code: TaskCode, name: &str, registration: Registration) -> Self {
        assert!(!code.is_reserved(), "{}", RegisterError::Reserved { code });
        self.registrations
            .push((code, name.to_owned(), registration));
        self
    }

    /// How much clients may make the server hold.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long clients, and tasks, may make it wait.
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// What a client's end of stream means (PROTOCOL D7). Default: the client is gone.
    pub const fn on_half_close(mut self, on_half_close: OnHalfClose) -> Self {
        self.on_half_close = on_half_close;
        self
    }

    /// The byte order of connections for which no other is chosen (PROTOCOL N2).
    /// Default: big endian.
    pub const fn byte_order(mut self, order: ByteOrder) -> Self {
        self.byte_order = order;
        self
    }

    /// Where time comes from. Default: Tokio.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where run functions run. Default: the Tokio runtime of their connection.
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Arc::new(executor);
        self
    }

    /// Who watches. Default: nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The server. It does nothing by itself until it is given connections.
    #[must_use]
    pub fn build(self) -> Server {
        let server = Server(Arc::new(ServerShared {
            registry: Registry::new(),
            places: ServerPlaces::new(&self.limits),
            limits: self.limits,
            timeouts: self.timeouts,
            on_half_close: self.on_half_close,
            byte_order: self.byte_order,
            clock: self.clock,
            executor: self.executor,
            observer: self.observer,
            client_left: Notify::new(),
        }));
        for (code, name, registration) in self.registrations {
            // A reserved code was refused when it was given.
            drop(server.register(code, &name, registration));
        }
        server
    }
}

impl Server {
    /// Starts to build a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            registrations: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            on_half_close: OnHalfClose::default(),
            byte_order: ByteOrder::default(),
            clock: Arc::new(TokioClock),
            executor: Arc::new(TokioExecutor),
            observer: Arc::new(Unobserved),
        }
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
        loop {
            let left = self.0.client_left.notified();
            let mut left = std::pin::pin!(left);
            // Registered before the count is looked at: no leaving is missed.
            left.as_mut().enable();
            if self.client_count() == 0 {
                return;
            }
            left.await;
        }
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
        let Some(place) = ConnectionPlace::take(&self.0) else {
            drop(stream);
            let limit = self.0.places.connections.limit();
            let report = ConnectionReport::of_unserved(EndReason::Refused { limit });
            self.tell_refused(options.endpoints.as_ref(), &report);
            return report;
        };
        self.handle_in_place(stream, options, place).await
    }

    /// A connection that never had a client has ended.
    pub(crate) fn tell_refused(
        &self,
        endpoints: Option<&crate::runtime::Endpoints>,
        report: &ConnectionReport,
    ) {
        let unknown = crate::runtime::Endpoints::default();
        let endpoints = endpoints.unwrap_or(&unknown);
        tracing::debug!(%endpoints, reason = %report.reason, "connection refused");
        unless_panics(|| self.0.observer.connection_refused(endpoints, report));
    }

    /// Serves one connection, whose place of L8 has been taken.
    pub(crate) async fn handle_in_place<S: Transport>(
        &self,
        stream: S,
        options: ConnectionOptions,
        place: ConnectionPlace,
    ) -> ConnectionReport {
        let client = self.connect(options.clone());
        let context = options.context;
        let _present = Present {
            client: client.clone(),
            place,
        };
        let session = client.session();
        unless_panics(|| session.observer().connection_opened(&client));
        let span = session.span();
        tracing::debug!(parent: &span, "connection opened");
        let report = Driver::new(Arc::clone(session), stream, context).await;
        log_end(&client, &report);
        self.0.registry.note_closed(client.endpoints(), &report);
        unless_panics(|| session.observer().connection_closed(&client, &report));
        report
    }

    fn connect(&self, options: ConnectionOptions) -> ClientHandle {
        let shared = &self.0;
        let now = shared.clock.now();
        let order = options.byte_order.unwrap_or(shared.byte_order);
        let settings = Settings {
            order,
            limits: shared.limits,
            timeouts: shared.timeouts,
            on_half_close: shared.on_half_close,
        };
        let endpoints = options.endpoints.unwrap_or_default();
        let span = options
            .span
            .unwrap_or_else(|| tracing::debug_span!("connection", client = %endpoints));
        let id = shared.registry.next_client_id();
        let context = ClientContext {
            id,
            server: Arc::clone(shared),
            endpoints,
            order,
            arguments: options.arguments,
            connected_at: now,
            connected_wall: shared.clock.wall(),
        };
        let observer = options
            .observer
            .unwrap_or_else(|| Arc::clone(&shared.observer));
        let connection = Connection::new(settings, now);
        let session = Arc::new(Session::new(connection, context, observer, span));
        shared.registry.add_client(id, Arc::clone(&session));
        ClientHandle::new(session)
    }
}

/// A warning for what the server did, a whisper for what a peer can cause at will.
fn log_end(client: &ClientHandle, report: &ConnectionReport) {
    let span = client.span();
    let reason = &report.reason;
    match reason {
        EndReason::TaskFunction { code, .. }
        | EndReason::RunFunction { code, .. }
        | EndReason::Body { code, .. } => {
            let registration = client.server().registration(*code);
            let name = registration.as_ref().map_or("", RegistrationView::name);
            tracing::warn!(parent: &span, %client, task = name, %reason, "connection ended");
        }
        reason if reason.is_expected() => {
            tracing::debug!(parent: &span, %client, %reason, "connection ended");
        }
        _ => tracing::warn!(parent: &span, %client, %reason, "connection ended"),
    }
    for task in &report.interrupted {
        tracing::debug!(parent: &span, %client, id = %task.id, code = %task.code,
            state = ?task.state, "task interrupted");
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.0.limits)
            .field("timeouts", &self.0.timeouts)
            .field("clients", &self.client_count())
            .finish_non_exhaustive()
    }
}

/// A place of L8, held from the accepting of a connection to its end.
pub(crate) struct ConnectionPlace(Arc<ServerShared>);

impl ConnectionPlace {
    pub(crate) fn take(server: &Arc<ServerShared>) -> Option<Self> {
        let has_place = server.places.connections.take();
        has_place.then(|| Self(Arc::clone(server)))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.places.connections.release(1);
    }
}

/// A client is in the list while this lives, however its connection ends.
struct Present {
    client: ClientHandle,
    place: ConnectionPlace,
}

impl Drop for Present {
    fn drop(&mut self) {
        let server = &self.place.0;
        server
            .registry
            .remove_client(self.client.session().client.id);
        server.client_left.notify_waiters();
    }
}

//! Building a server.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::error::TaskError;
use super::observe::{Observer, Unobserved};
use super::places::ServerPlaces;
use super::registration::{RegisterError, Registration};
use super::registry::Registry;
use super::response::Response;
use super::shared::ServerShared;
use super::task::{TaskContext, TaskFunction};
use crate::proto::{ErrorAnswer, ErrorAnswers, Limits, OnHalfClose, Settings, Timeouts};
use crate::runtime::{Clock, Executor, TokioClock, TokioExecutor};
use crate::wire::{ByteOrder, ErrorCode, TaskCode};

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
    error_answers: ErrorAnswers,
    clock: Arc<dyn Clock>,
    executor: Arc<dyn Executor>,
    observer: Arc<dyn Observer>,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            registrations: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            on_half_close: OnHalfClose::default(),
            byte_order: ByteOrder::default(),
            error_answers: ErrorAnswers::default(),
            clock: Arc::new(TokioClock),
            executor: Arc::new(TokioExecutor),
            observer: Arc::new(Unobserved),
        }
    }

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

    /// What a client is sent in the place of one of the library's own errors
    /// (PROTOCOL N9), for applications whose own codes reach that far. Errors
    /// that the application returns itself are sent as they are.
    ///
    /// # Panics
    /// When `error` is not one of the library's own, 250 to 255: an error of the program.
    pub fn answer_for(mut self, error: ErrorCode, answer: ErrorAnswer) -> Self {
        assert!(
            ErrorAnswers::covers(error),
            "error code {error} belongs to the application: only 250 to 255 are the library's",
        );
        self.error_answers.set(error, answer);
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
            settings: Arc::new(Settings {
                order: self.byte_order,
                limits: self.limits,
                timeouts: self.timeouts,
                on_half_close: self.on_half_close,
                error_answers: self.error_answers,
            }),
            clock: self.clock,
            executor: self.executor,
            observer: self.observer,
            client_left: Notify::new(),
            stop: CancellationToken::new(),
        }));
        for (code, name, registration) in self.registrations {
            // A reserved code was refused when it was given.
            drop(server.register(code, &name, registration));
        }
        server
    }
}

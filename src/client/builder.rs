//! Setting up a client.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::connector::{AnyConnector, Connector, TcpConnector};
use super::driver::Driver;
use super::reconnect::{Dialer, Pauses};
use super::{Client, ClientShared};
use crate::proto::{CallSettings, ClientTimeouts, Negotiation};
use crate::runtime::{Address, Clock, Executor, TokioClock, TokioExecutor};
use crate::wire::ByteOrder;

/// How a client is to be: from [`Client::builder`] to [`ClientBuilder::build`].
///
/// ```
/// use asyncserver::{client::{Client, ClientTimeouts}, runtime::Address, wire::ByteOrder};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::builder(Address::named("first.example.org:9000"))
///     .address(Address::named("second.example.org:9000"))
///     .byte_order(ByteOrder::Little)
///     .retries(3)
///     .build();
/// # drop(client);
/// # });
/// ```
#[must_use = "it does nothing until it is built"]
pub struct ClientBuilder {
    addresses: Vec<Address>,
    connector: Box<dyn AnyConnector>,
    clock: Arc<dyn Clock>,
    executor: Arc<dyn Executor>,
    rng: fastrand::Rng,
    settings: CallSettings,
    pauses: Pauses,
    retries: u32,
    queue_limit: usize,
}

impl ClientBuilder {
    pub(super) fn new(address: Address) -> Self {
        Self {
            addresses: vec![address],
            connector: Box::new(TcpConnector),
            clock: Arc::new(TokioClock),
            executor: Arc::new(TokioExecutor),
            rng: fastrand::Rng::new(),
            settings: CallSettings::default(),
            pauses: Pauses::default(),
            retries: 10,
            queue_limit: 1024,
        }
    }

    /// One more address, to be tried where those before it fail. After the last
    /// one the first has its turn again.
    pub fn address(mut self, further: impl Into<Address>) -> Self {
        self.addresses.push(further.into());
        self
    }

    /// The byte order that the server has (PROTOCOL N2). Default big endian.
    pub fn byte_order(mut self, order: ByteOrder) -> Self {
        self.settings.byte_order = order;
        self
    }

    /// How connections are made. Default [`TcpConnector`].
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Box::new(connector);
        self
    }

    /// The clock. Default [`TokioClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where the client's task runs. Default [`TokioExecutor`].
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = executor;
        self
    }

    /// The seed of the pauses' jitter, which makes them repeatable. Default random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = fastrand::Rng::with_seed(seed);
        self
    }

    /// Whether to ask for extensions (PROTOCOL C6). Default [`Negotiation::Ask`].
    pub fn negotiation(mut self, negotiation: Negotiation) -> Self {
        self.settings.negotiation = negotiation;
        self
    }

    /// How often a call that was not started (one marked idempotent: or was
    /// interrupted) is tried again, on a new connection, or after all addresses
    /// have failed once more. Default 10; at 0 nothing is ever sent a second time.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The pauses before trying again. Default 50 ms to 4 s.
    pub fn pauses(mut self, pauses: Pauses) -> Self {
        self.pauses = pauses;
        self
    }

    /// The time limits (PROTOCOL C4).
    pub fn timeouts(mut self, timeouts: ClientTimeouts) -> Self {
        self.settings.timeouts = timeouts;
        self
    }

    /// Payload bytes of the longest response that is taken whole (PROTOCOL C8).
    /// Default 64 MiB.
    pub fn response_limit_bytes(mut self, limit_bytes: usize) -> Self {
        self.settings.response_limit_bytes = limit_bytes;
        self
    }

    /// Calls that wait in the queue for a place on the connection; over it,
    /// callers wait (PROTOCOL C7). Default 1,024. 0 counts as 1.
    pub fn queue_limit(mut self, calls: usize) -> Self {
        self.queue_limit = calls;
        self
    }

    /// Starts the client's task on the executor. It connects when first called.
    ///
    /// # Panics
    /// With the default executor, when called outside a Tokio runtime.
    #[must_use]
    pub fn build(self) -> Client {
        let (commands, receiver) = mpsc::unbounded_channel();
        let queue_limit = self.queue_limit.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(ClientShared {
            commands,
            places: Arc::new(Semaphore::new(queue_limit)),
            response_timeout: self.settings.timeouts.response,
            ended: CancellationToken::new(),
        });
        let dialer = Dialer::new(
            self.connector,
            self.addresses,
            self.settings.timeouts.connect,
            self.pauses,
            self.rng,
        );
        let driver = Driver::new(
            receiver,
            (Arc::clone(&shared.places), shared.ended.clone()),
            dialer,
            self.clock,
            self.settings,
            self.retries,
        );
        self.executor.spawn(Box::pin(driver));
        Client { shared }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("addresses", &self.addresses)
            .field("settings", &self.settings)
            .field("pauses", &self.pauses)
            .field("retries", &self.retries)
            .field("queue_limit", &self.queue_limit)
            .finish_non_exhaustive()
    }
}

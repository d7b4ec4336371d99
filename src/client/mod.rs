//! The client: calls, each with a future of its result, over one connection at
//! a time that is made, kept and made again behind them.
//!
//! A [`Client`] is a cheap handle; its one task does all the I/O, gathers the
//! requests of a turn into one write, and hands results over as they come.
//!
//! - What was *not started* is sent again by itself; what was *interrupted*
//!   only where [`Request::idempotent`] says that it may be. [`CallError`]
//!   tells these apart, and everything else that can become of a call.
//! - Extensions are asked for with the first request (PROTOCOL C6); a server
//!   without them is spoken to in the base protocol.
//! - Dropping a call's future gives the call up (PROTOCOL C5).

mod builder;
mod call;
mod caught;
mod connection;
mod connector;
mod driver;
mod error;
mod pending;
mod queue;
mod reconnect;
mod request;
mod source;
mod stream;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use crate::proto::{ClientTimeouts, Expired, Negotiation, ProtocolViolation, Started};
use crate::runtime::Address;
use crate::wire::TaskCode;
pub use builder::ClientBuilder;
use call::Command;
pub use connector::{Connector, TcpConnector};
pub use error::{CallError, ConnectError, ConnectionLoss, IoFailure, NotStarted, TooLongMessage};
pub use pending::PendingTask;
pub use reconnect::Pauses;
pub use request::Request;
pub use stream::ResponseStream;

/// A client of one server, or of several that are as good as each other.
///
/// Clones share connection and queue. The client's task ends, and with it the
/// connection, when neither a clone nor a call's future is left.
///
/// ```
/// use asyncserver::client::Client;
/// use std::net::SocketAddr;
/// # async fn example(address: SocketAddr) -> Result<(), asyncserver::client::CallError> {
/// let client = Client::new(address);
/// let echoed = client.call(1, "hello").await?;
/// assert_eq!(echoed, "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientShared>,
}

/// What the client's handles share.
struct ClientShared {
    /// Bounded by `places`: a submission has one, and what else is told is
    /// told once or twice a call.
    commands: mpsc::UnboundedSender<Command>,
    /// The places of the queue (PROTOCOL C7); closed when the client is.
    places: Arc<Semaphore>,
    response_timeout: Duration,
    /// Cancelled when the client's task has ended.
    ended: CancellationToken,
}

impl ClientShared {
    fn tell(&self, command: Command) {
        // A task that has ended has told all callers so.
        drop(self.commands.send(command));
    }
}

impl Client {
    /// A client of the server at `address`, by TCP and with all defaults.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    #[must_use]
    pub fn new(address: impl Into<Address>) -> Self {
        Self::builder(address).build()
    }

    /// A client to be set up, of the server at `address`.
    pub fn builder(address: impl Into<Address>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    /// Runs task `code` on the server and returns its result.
    ///
    /// Dropping the future gives the call up (PROTOCOL C5).
    ///
    /// # Errors
    /// [`CallError`] says what became of the call.
    pub async fn call(
        &self,
        code: impl Into<TaskCode>,
        message: impl Into<Bytes>,
    ) -> Result<Bytes, CallError> {
        self.submit(code, message).await
    }

    /// Submits a call now; the future is its result. With the queue full, it
    /// waits for a place when polled.
    pub fn submit(&self, code: impl Into<TaskCode>, message: impl Into<Bytes>) -> PendingTask {
        self.request(code).message(message).submit()
    }

    /// A call with more to say than code and message.
    pub fn request(&self, code: impl Into<TaskCode>) -> Request {
        Request::new(&self.shared, code.into())
    }

    /// Asks the server for a sign of life (PROTOCOL E1), connecting if need be.
    /// By itself the client does so after [`ClientTimeouts::keep_alive`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn keep_alive(&self) -> Result<(), CallError> {
        self.request(TaskCode::KEEP_ALIVE).call().await.map(drop)
    }

    /// Closes the client, for all its clones: no call is taken any more, and
    /// what is pending has `within` to end before it ends as
    /// [`CallError::Closed`]. Acts when called; the future only waits until
    /// everything has ended. A later call can only bring the deadline nearer.
    pub fn close(&self, within: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.shared.places.close();
        self.shared.tell(Command::Close { within });
        self.shared.ended.clone().cancelled_owned()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("free_queue_places", &self.shared.places.available_permits())
            .field("closed", &self.shared.places.is_closed())
            .finish_non_exhaustive()
    }
}

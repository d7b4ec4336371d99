//! What an application does with a stream before requests are read: byte
//! order, arguments, authentication, TLS, refusal (PROTOCOL N2, L9).

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::client::Arguments;
use super::observe::Observer;
use crate::runtime::{Endpoints, Transport};
use crate::wire::ByteOrder;

/// What goes with one connection.
///
/// ```
/// use asyncserver::{server::ConnectionOptions, wire::ByteOrder};
/// struct User(&'static str);
/// let options = ConnectionOptions::default()
///     .byte_order(ByteOrder::Little)
///     .arguments(User("ada"));
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ConnectionOptions {
    pub(crate) byte_order: Option<ByteOrder>,
    pub(crate) arguments: Option<Arguments>,
    pub(crate) endpoints: Option<Endpoints>,
    pub(crate) context: Option<CancellationToken>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) span: Option<tracing::Span>,
}

impl ConnectionOptions {
    /// The order of bytes in integers. Default: the server's.
    #[must_use]
    pub const fn byte_order(mut self, order: ByteOrder) -> Self {
        self.byte_order = Some(order);
        self
    }

    /// What [`ClientHandle::arguments`](super::ClientHandle::arguments) finds. Default: nothing.
    #[must_use]
    pub fn arguments<A: Any + Send + Sync>(mut self, arguments: A) -> Self {
        self.arguments = Some(Arc::new(arguments));
        self
    }

    /// The addresses, for logs and lists. Default: those that the listener gave.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = Some(endpoints);
        self
    }

    /// A token whose cancellation ends this connection gracefully, within
    /// [`Timeouts::grace`](super::Timeouts::grace) (PROTOCOL D6). Default: none.
    #[must_use]
    pub fn context(mut self, context: CancellationToken) -> Self {
        self.context = Some(context);
        self
    }

    /// Who watches this client. Default: the server's observer.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The tracing span of the connection. Default: a new one, named by the addresses.
    #[must_use]
    pub fn span(mut self, span: tracing::Span) -> Self {
        self.span = Some(span);
        self
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("byte_order", &self.byte_order)
            .field("endpoints", &self.endpoints)
            .field("has_arguments", &self.arguments.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a handshake refused its connection, in the application's words.
///
/// ```
/// use asyncserver::server::HandshakeError;
/// let error = HandshakeError::new("wrong password");
/// assert_eq!(error.to_string(), "wrong password");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct HandshakeError {
    words: String,
}

impl HandshakeError {
    /// An error with these words.
    pub fn new(words: impl fmt::Display) -> Self {
        Self {
            words: words.to_string(),
        }
    }
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

/// An application's handshake. It runs off the accept loop, for at most
/// [`Timeouts::handshake`](super::Timeouts::handshake); a shutdown drops it.
///
/// ```
/// use asyncserver::runtime::{Endpoints, Transport};
/// use asyncserver::server::{ConnectionOptions, Handshake, HandshakeError};
/// use asyncserver::wire::ByteOrder;
/// use tokio::io::AsyncReadExt;
///
/// /// The client's first byte says which byte order it uses.
/// #[derive(Debug)]
/// struct ChooseByteOrder;
///
/// impl<S: Transport> Handshake<S> for ChooseByteOrder {
///     type Transport = S;
///     async fn perform(&self, mut stream: S, _: &Endpoints)
///         -> Result<(S, ConnectionOptions), HandshakeError> {
///         let order = match stream.read_u8().await? {
///             b'B' => ByteOrder::Big,
///             b'L' => ByteOrder::Little,
///             other => return Err(HandshakeError::new(format!("unknown byte order {other}"))),
///         };
///         Ok((stream, ConnectionOptions::default().byte_order(order)))
///     }
/// }
/// ```
pub trait Handshake<S: Transport>: Send + Sync + 'static {
    /// The stream over which requests are read.
    type Transport: Transport;

    /// Performs the handshake with one client.
    ///
    /// # Errors
    /// The connection is closed; its report says *handshake failure*.
    fn perform(
        &self,
        stream: S,
        endpoints: &Endpoints,
    ) -> impl Future<Output = Result<(Self::Transport, ConnectionOptions), HandshakeError>> + Send;
}

/// No handshake: the client's first byte is the first byte of a request (PROTOCOL N1).
///
/// ```
/// # use asyncserver::server::{NoHandshake, Server};
/// # fn serve(server: &Server, listener: impl asyncserver::runtime::Listener) {
/// let serving = server.serve_with(listener, NoHandshake);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHandshake;

impl<S: Transport> Handshake<S> for NoHandshake {
    type Transport = S;

    async fn perform(
        &self,
        stream: S,
        _: &Endpoints,
    ) -> Result<(S, ConnectionOptions), HandshakeError> {
        Ok((stream, ConnectionOptions::default()))
    }
}

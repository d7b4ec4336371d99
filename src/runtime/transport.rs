//! Byte streams and where they come from.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

/// A reliable, ordered, two-way byte stream (PROTOCOL N1).
///
/// Every Tokio stream that is `Send + Unpin + 'static` is one. `poll_shutdown`
/// must close the sending direction alone (PROTOCOL D3); dropping the stream
/// closes both.
///
/// ```
/// fn is_transport(_: impl asyncserver::runtime::Transport) {}
/// let (near, _far) = tokio::io::duplex(64);
/// is_transport(near);
/// ```
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// One end of a connection, as it is shown in logs and to applications.
///
/// ```
/// use asyncserver::runtime::Address;
/// let address = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
/// assert_eq!(address.to_string(), "127.0.0.1:80");
/// assert_eq!(Address::named("memory-1").to_string(), "memory-1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An internet address.
    Socket(SocketAddr),
    /// Any other kind of address, by name.
    Named(Arc<str>),
}

impl Address {
    /// An address that is no internet address.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Named(name.into())
    }

    /// The internet address, if it is one.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Named(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// Both ends of a connection, from this side's point of view; displayed as `remote->local`.
///
/// ```
/// use asyncserver::runtime::{Address, Endpoints};
/// let endpoints = Endpoints::new(Address::named("here"), Address::named("there"));
/// assert_eq!(endpoints.to_string(), "there->here");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// This side's address.
    pub local: Address,
    /// The other side's address.
    pub remote: Address,
}

impl Endpoints {
    /// Endpoints with these addresses.
    #[must_use]
    pub fn new(local: impl Into<Address>, remote: impl Into<Address>) -> Self {
        Self {
            local: local.into(),
            remote: remote.into(),
        }
    }
}

impl Default for Endpoints {
    fn default() -> Self {
        Self::new(Address::named("local"), Address::named("remote"))
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.remote, self.local)
    }
}

/// A source of connections.
///
/// ```
/// # use asyncserver::runtime::{Listener, memory};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (mut listener, connector) = memory::listener("server", 1024);
/// let _client = connector.connect("client").unwrap();
/// let (_stream, endpoints) = listener.accept().await.unwrap();
/// assert_eq!(endpoints.remote.to_string(), "client");
/// # });
/// ```
pub trait Listener: Send + 'static {
    /// What a connection is.
    type Stream: Transport;

    /// Waits for the next connection.
    ///
    /// Cancel safe: no connection is lost when the future is dropped.
    ///
    /// # Errors
    /// The listener's own, or one connection's that failed before it was
    /// accepted. Neither ends a server: it tries again after a pause.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Endpoints)>> + Send;

    /// The address at which connections are accepted, where it is known.
    fn local_address(&self) -> Option<Address> {
        None
    }
}

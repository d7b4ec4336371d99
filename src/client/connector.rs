//! How a client reaches a server: the seam for tests and simulators.

use std::future::Future;
use std::io;

use tokio::net::TcpStream;

use crate::runtime::memory::MemoryConnector;
use crate::runtime::{Address, BoxFuture, Transport};

/// Makes connections. Any function from an [`Address`] to a future of a
/// transport is one.
///
/// ```
/// use asyncserver::client::Client;
/// use asyncserver::runtime::Address;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::builder(Address::named("in memory"))
///     .connector(|_address| async {
///         let (near, _far) = tokio::io::duplex(1024);
///         Ok(near)
///     })
///     .build();
/// # drop(client);
/// # });
/// ```
pub trait Connector: Send + Sync + 'static {
    /// What a connection is.
    type Stream: Transport;

    /// Connects to `address`.
    ///
    /// The future may be dropped at any time: the client waits only for so long
    /// ([`ClientTimeouts::connect`](super::ClientTimeouts::connect)).
    ///
    /// # Errors
    /// Whatever is in the way; the client tries its next address, or again
    /// after a pause.
    fn connect(&self, address: Address) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl<F, Connecting, Stream> Connector for F
where
    F: Fn(Address) -> Connecting + Send + Sync + 'static,
    Connecting: Future<Output = io::Result<Stream>> + Send,
    Stream: Transport,
{
    type Stream = Stream;

    fn connect(&self, address: Address) -> impl Future<Output = io::Result<Stream>> + Send {
        self(address)
    }
}

/// Connects by TCP, without Nagle's delay. A named address is a host and a
/// port, `host:port`, and is resolved with each attempt.
///
/// ```
/// use asyncserver::client::{Client, TcpConnector};
/// use asyncserver::runtime::Address;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Client::builder(Address::named("localhost:9000")).connector(TcpConnector).build();
/// # drop(client);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    type Stream = TcpStream;

    async fn connect(&self, address: Address) -> io::Result<TcpStream> {
        let stream = match address {
            Address::Socket(address) => TcpStream::connect(address).await?,
            Address::Named(name) => TcpStream::connect(&*name).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Connector for MemoryConnector {
    type Stream = tokio::io::DuplexStream;

    async fn connect(&self, _address: Address) -> io::Result<Self::Stream> {
        Self::connect(self, "client")
    }
}

/// [`Connector`] for a client that does not know which one it has.
pub(super) trait AnyConnector: Send + Sync {
    fn connect_boxed(&self, address: Address) -> BoxFuture<'_, io::Result<Box<dyn Transport>>>;
}

impl<C: Connector> AnyConnector for C {
    fn connect_boxed(&self, address: Address) -> BoxFuture<'_, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let stream = self.connect(address).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

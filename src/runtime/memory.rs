//! An in-memory transport, for tests without a network.

use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::transport::{Address, Endpoints, Listener};

/// How many connections wait to be accepted before `connect` is refused.
const BACKLOG: usize = 128;

/// A listener, and the connector with which clients reach it. Each direction of
/// a connection holds up to `buffer_bytes` before a writer has to wait.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use asyncserver::{runtime::memory, server::Server, wire::TaskCode};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let server = Server::builder().task(TaskCode(1), "echo", async |_, m| Ok(m)).build();
/// let (listener, connector) = memory::listener("server", 1024);
/// let _serving = server.serve(listener);
/// let mut stream = connector.connect("client").unwrap();
/// stream.write_all(&[1, 0, 0, 0, 7, 1, b'!', 0]).await.unwrap();
/// let mut answer = [0; 8];
/// stream.read_exact(&mut answer).await.unwrap();
/// assert_eq!(answer, [0, 0, 0, 0, 7, 1, b'!', 0]);
/// # });
/// ```
#[must_use]
pub fn listener(name: &str, buffer_bytes: usize) -> (MemoryListener, MemoryConnector) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let address = Address::named(name);
    (
        MemoryListener {
            address: address.clone(),
            receiver,
        },
        MemoryConnector {
            address,
            buffer_bytes,
            sender,
        },
    )
}

/// The server's end: see [`listener`].
///
/// ```
/// use asyncserver::runtime::{Listener, memory};
/// let (listener, _connector) = memory::listener("server", 1024);
/// assert_eq!(listener.local_address().unwrap().to_string(), "server");
/// ```
#[derive(Debug)]
pub struct MemoryListener {
    address: Address,
    receiver: mpsc::Receiver<(DuplexStream, Endpoints)>,
}

impl Listener for MemoryListener {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Endpoints)> {
        match self.receiver.recv().await {
            Some(accepted) => Ok(accepted),
            // No connector is left, so none can ever come: wait as a socket would.
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> Option<Address> {
        Some(self.address.clone())
    }
}

/// The clients' end: see [`listener`].
///
/// ```
/// use asyncserver::runtime::memory;
/// let (listener, connector) = memory::listener("server", 1024);
/// assert!(connector.connect("client").is_ok());
/// drop(listener);
/// assert!(connector.connect("client").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    address: Address,
    buffer_bytes: usize,
    sender: mpsc::Sender<(DuplexStream, Endpoints)>,
}

impl MemoryConnector {
    /// Connects, under `name`, without waiting until the connection is accepted.
    ///
    /// # Errors
    /// `ConnectionRefused` when the listener is gone or has 128 connections waiting.
    pub fn connect(&self, name: &str) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(self.buffer_bytes);
        let endpoints = Endpoints::new(self.address.clone(), Address::named(name));
        match self.sender.try_send((far, endpoints)) {
            Ok(()) => Ok(near),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

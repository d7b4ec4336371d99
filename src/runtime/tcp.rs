//! Production TCP.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};

use super::transport::{Address, Endpoints, Listener};

/// A TCP listener.
#[derive(Debug)]
pub struct TcpListener {
    listener: tokio::net::TcpListener,
}

impl TcpListener {
    /// Binds.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self {
            listener: tokio::net::TcpListener::bind(address).await?,
        })
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    async fn accept(&mut self) -> io::Result<(TcpStream, Endpoints)> {
        let (stream, remote) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok((stream, Endpoints::new(local, remote)))
    }
    fn local_address(&self) -> Option<Address> {
        self.listener.local_addr().ok().map(Address::from)
    }
}

/// Backoff.
#[derive(Debug)]
pub struct AcceptBackoff {
    pause: Duration,
}

impl AcceptBackoff {
    /// New.
    pub fn new() -> Self {
        Self {
            pause: Duration::from_millis(10),
        }
    }
    /// Reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
    /// Next.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_secs(1));
        pause
    }
}

//! Production TCP.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, ToSocketAddrs};

use super::transport::{Address, Endpoints, Listener};

/// What is set on a TCP connection.
///
/// ```
/// use asyncserver::runtime::tcp::TcpOptions;
/// let mut options = TcpOptions::default();
/// options.user_timeout = None;
/// assert!(options.no_delay);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Whether small segments are sent at once. Default: yes.
    pub no_delay: bool,
    /// After how much silence the peer's existence is checked; `None`: never.
    /// Default: 60 s.
    pub keep_alive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged, where the platform can say
    /// so; `None`: the platform's default. Default: 30 s.
    pub user_timeout: Option<Duration>,
}

/// Between two checks of a silent peer's existence.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: Some(Duration::from_secs(60)),
            user_timeout: Some(Duration::from_secs(30)),
        }
    }
}

impl TcpOptions {
    /// Sets them on a connection.
    ///
    /// # Errors
    /// The operating system's; some options may have been set.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(self.no_delay)?;
        if let Some(time) = self.keep_alive {
            let keep_alive = TcpKeepalive::new()
                .with_time(time)
                .with_interval(KEEP_ALIVE_INTERVAL);
            socket.set_tcp_keepalive(&keep_alive)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        Ok(())
    }
}

/// A TCP listener whose connections have [`TcpOptions`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use asyncserver::runtime::{Listener, tcp::TcpListener};
/// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// assert!(listener.local_address().is_some());
/// # });
/// ```
#[derive(Debug)]
pub struct TcpListener {
    listener: tokio::net::TcpListener,
    options: TcpOptions,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// When polled outside a Tokio runtime that has its I/O driver enabled.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(tokio::net::TcpListener::bind(address).await?.into())
    }

    /// Sets other options on the connections that are accepted.
    #[must_use]
    pub const fn with_options(mut self, options: TcpOptions) -> Self {
        self.options = options;
        self
    }
}

impl From<tokio::net::TcpListener> for TcpListener {
    fn from(listener: tokio::net::TcpListener) -> Self {
        Self {
            listener,
            options: TcpOptions::default(),
        }
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    /// A peer that is gone before its options are set is an error like one of accepting.
    async fn accept(&mut self) -> io::Result<(TcpStream, Endpoints)> {
        let (stream, remote) = self.listener.accept().await?;
        self.options.apply(&stream)?;
        let local = stream.local_addr()?;
        Ok((stream, Endpoints::new(local, remote)))
    }

    fn local_address(&self) -> Option<Address> {
        self.listener.local_addr().ok().map(Address::from)
    }
}

/// The pauses after failures to accept: from 10 ms, doubled each time, to 1 s.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::runtime::tcp::AcceptBackoff;
/// let mut backoff = AcceptBackoff::default();
/// assert_eq!(backoff.next_pause(), Duration::from_millis(10));
/// assert_eq!(backoff.next_pause(), Duration::from_millis(20));
/// backoff.reset();
/// assert_eq!(backoff.next_pause(), Duration::from_millis(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptBackoff {
    next: Duration,
}

impl AcceptBackoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// How long to pause after this failure.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }

    /// A connection was accepted.
    pub const fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

impl Default for AcceptBackoff {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_have_the_options() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().unwrap().socket().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (server, endpoints) = listener.accept().await.unwrap();
        assert_eq!(endpoints.remote, client.local_addr().unwrap().into());
        let socket = SockRef::from(&server);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(60)
        );
        #[cfg(target_os = "linux")]
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(30))
        );
    }

    #[test]
    fn pauses_after_failures_grow_to_one_second_and_no_further() {
        let mut backoff = AcceptBackoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}

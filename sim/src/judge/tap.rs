//! The client's end of a connection, with all that passes it recorded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use asyncserver::client::Connector;
use asyncserver::runtime::Address;
use harness::World as Recording;
use oracle::{Direction, Hex, What};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Connections;
use crate::link::LinkEvent;
use crate::{End, LinkHandle, LinkPlan, LinkStream, SimConnector};

/// Connects a client, each time to a connection that is recorded.
#[derive(Clone)]
pub(crate) struct TapConnector {
    pub(crate) client: String,
    pub(crate) link: LinkPlan,
    pub(crate) connector: SimConnector,
    pub(crate) connections: Connections,
}

impl Connector for TapConnector {
    type Stream = Tap;

    fn connect(&self, address: Address) -> impl Future<Output = io::Result<Tap>> + Send {
        self.begin(&address.to_string()).1
    }
}

impl TapConnector {
    /// Begins a connection: its name and recording at once, its stream in time.
    pub(crate) fn begin(
        &self,
        server: &str,
    ) -> (
        (String, Recording),
        impl Future<Output = io::Result<Tap>> + Send + use<>,
    ) {
        let (name, recording) = self.connections.begin(&self.client, server, &self.link);
        let attempt = self.connector.attempt(&Address::named(server));
        let (tapped, connections) = (recording.clone(), self.connections.clone());
        let (tap, of) = (name.clone(), name.clone());
        let connected = async move {
            let stream = attempt.await?;
            let sending = Arc::new(Sending::default());
            let flowing = connections.clone();
            watch(&stream, &tapped, &sending, move |direction, since| {
                flowing.flows(&of, direction, since);
            });
            Ok(Tap {
                stream,
                name: tap,
                recording: tapped,
                connections,
                sending,
                received: 0,
            })
        };
        ((name, recording), connected)
    }
}

/// Records what neither end's bytes show: what happens to the connection, by a
/// fault or not, and when.
fn watch(
    stream: &LinkStream,
    recording: &Recording,
    sending: &Arc<Sending>,
    flows: impl Fn(Direction, Duration) + Send + Sync + 'static,
) {
    let (recording, sending) = (recording.clone(), Arc::clone(sending));
    stream.watch(move |event| match event {
        LinkEvent::Failed(End::Server) | LinkEvent::Reset => recording.record(What::ClientReset),
        LinkEvent::Failed(End::Client) => {}
        LinkEvent::Ended(End::Client) => sending.end(&recording),
        // The client sees it, when it has come.
        LinkEvent::Ended(End::Server) => {}
        LinkEvent::Late(writer) => recording.record(What::Stalled(direction(writer))),
        LinkEvent::InTime { writer, since } => flows(direction(writer), since),
    });
}

const fn direction(writer: End) -> Direction {
    match writer {
        End::Client => Direction::ToServer,
        End::Server => Direction::ToClient,
    }
}

/// Records what the client sends and takes.
pub(crate) struct Tap {
    stream: LinkStream,
    name: String,
    recording: Recording,
    connections: Connections,
    sending: Arc<Sending>,
    /// How many bytes have come.
    received: usize,
}

/// Whether the end of what the client sends has been recorded.
#[derive(Default)]
struct Sending {
    has_ended: AtomicBool,
}

impl Sending {
    fn end(&self, recording: &Recording) {
        if !self.has_ended.swap(true, Ordering::Relaxed) {
            recording.record(What::ClientEnded);
        }
    }
}

impl Tap {
    /// What acts on the connection from outside.
    pub(crate) fn handle(&self) -> LinkHandle {
        self.stream.handle()
    }

    /// The server is judged by what comes to it: what is swallowed was never sent,
    /// and nothing is behind an end that a fault has made.
    fn sent(&self, written: &[u8]) {
        if self.sending.has_ended.load(Ordering::Relaxed) {
            return;
        }
        let out = self.stream.set_out(written);
        if !out.is_empty() && out != written {
            self.connections.altered_request(&self.name);
        }
        if !out.is_empty() {
            self.recording.record(What::Sent(Hex(out)));
        }
    }

    /// And by what it wrote; the client alone by what has come of it.
    fn came(&mut self, bytes: &[u8]) {
        if self.stream.as_written(bytes) != bytes {
            let (at, bytes) = (self.received, bytes.to_vec());
            self.connections.altered_response(&self.name, at, bytes);
        }
        self.received += bytes.len();
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into));
        let bytes = &into.filled()[before..];
        self.came(bytes);
        self.recording.record(match &read {
            Ok(()) if bytes.is_empty() && self.stream.was_ended_by_peer() => What::ServerEnded,
            // The end of a stream that was cut off, or ended by a fault.
            Ok(()) if bytes.is_empty() => What::ServerReset,
            // The server is judged by what it wrote, whatever became of it.
            Ok(()) => What::Received(Hex(self.stream.as_written(bytes))),
            Err(_) => What::ServerReset,
        });
        Poll::Ready(read)
    }
}

impl AsyncWrite for Tap {
    /// Nothing else runs before the bytes that were taken are recorded.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.sending.end(&self.recording);
        // What was not read, or comes later, is answered with a reset.
        self.recording.record(What::ClientReset);
    }
}

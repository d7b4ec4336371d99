//! The client's end of a connection, with all that passes it recorded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use asyncserver::client::Connector;
use asyncserver::runtime::Address;
use harness::World as Recording;
use oracle::{Direction, Hex, What};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Connections;
use crate::link::LinkEvent;
use crate::{End, LinkPlan, LinkStream, SimConnector};

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
        let tapped = recording.clone();
        let delays = super::connections::on_the_way_ms(&self.link) > 0;
        let connected = async move {
            let stream = attempt.await?;
            watch(&stream, tapped.clone(), delays);
            Ok(Tap {
                stream,
                recording: tapped,
                sending: Sending::Open,
            })
        };
        ((name, recording), connected)
    }
}

/// Records what neither end's bytes show.
fn watch(stream: &LinkStream, recording: Recording, delays: bool) {
    let stalled = [AtomicBool::new(false), AtomicBool::new(false)];
    stream.watch(move |event| match event {
        LinkEvent::Failed(End::Server) => recording.record(What::ClientReset),
        LinkEvent::Failed(End::Client) => {}
        // From now on bytes take longer than the latency says.
        LinkEvent::BufferFull(writer) if delays => {
            let (direction, stalled) = match writer {
                End::Client => (Direction::ToServer, &stalled[0]),
                End::Server => (Direction::ToClient, &stalled[1]),
            };
            if !stalled.swap(true, Ordering::Relaxed) {
                recording.record(What::Stalled(direction));
            }
        }
        LinkEvent::BufferFull(_) => {}
    });
}

/// Records what the client sends and takes.
pub(crate) struct Tap {
    stream: LinkStream,
    recording: Recording,
    sending: Sending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    Ended,
}

impl Tap {
    fn end(&mut self) {
        if std::mem::replace(&mut self.sending, Sending::Ended) == Sending::Open {
            self.recording.record(What::ClientEnded);
        }
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
        self.recording.record(match &read {
            Ok(()) if bytes.is_empty() && self.stream.was_ended_by_peer() => What::ServerEnded,
            // The end of a stream that was cut off, or ended by a fault.
            Ok(()) if bytes.is_empty() => What::ServerReset,
            Ok(()) => What::Received(Hex(bytes.to_vec())),
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
        self.recording
            .record(What::Sent(Hex(bytes[..taken].to_vec())));
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end();
        // What was not read, or comes later, is answered with a reset.
        self.recording.record(What::ClientReset);
    }
}

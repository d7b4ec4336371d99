//! A connection lost: what was not sent whole is not started and goes again,
//! the rest may have run.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use asyncserver::client::{CallError, Client, ConnectionLoss, NotStarted, Started};
use asyncserver::runtime::{Address, memory};
use asyncserver::wire::ByteOrder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};

use super::scripted::*;

#[tokio::test(start_paused = true)]
async fn a_call_whose_last_byte_was_taken_is_interrupted() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "sent");
    let mut peer = server.negotiated().await;
    peer.expect_echo("sent").await;
    drop(peer);
    let loss = ConnectionLoss::EndOfStream;
    let error = failed(call, Started::Perhaps).await;
    assert_eq!(error, CallError::Interrupted { loss });
    server.expect_nobody(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_last_byte_was_not_taken_goes_again() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let message = vec![7; 10_000];
    let call = client.submit(ECHO, message.clone());
    let mut peer = server.negotiated().await;
    // All but the last byte of what the transport holds, and a byte more.
    peer.stream.read_exact(&mut [0; 9_000]).await.unwrap();
    drop(peer);
    server.negotiated().await.echo().await;
    assert_eq!(answered(call).await, message);
}

#[tokio::test(start_paused = true)]
async fn without_retries_it_is_told_that_it_was_not_started() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.retries(0).build();
    let call = client.submit(ECHO, vec![7; 10_000]);
    let mut peer = server.negotiated().await;
    peer.stream.read_exact(&mut [0; 9_000]).await.unwrap();
    drop(peer);
    assert_is!(
        failed(call, Started::No).await,
        CallError::NotStarted {
            reason: NotStarted::ConnectionLost { .. }
        }
    );
}

#[tokio::test(start_paused = true)]
async fn calls_go_again_in_their_order_before_those_that_waited() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let message = vec![7; 10_000];
    let _large = client.submit(ECHO, message.clone());
    let mut peer = server.negotiated().await;
    peer.stream.read_exact(&mut [0; 100]).await.unwrap();
    let _second = client.submit(ECHO, "second");
    let _third = client.submit(ECHO, "third");
    tokio::task::yield_now().await;
    drop(peer);
    let mut next = server.negotiated().await;
    next.expect_echo(&message).await;
    next.expect_echo("second").await;
    next.expect_echo("third").await;
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_goes_again_as_often_as_it_may() {
    let (mut server, client) = scripted();
    let client = client.retries(3).build();
    let call = client.request(ECHO).message("again").idempotent().submit();
    for _ in 0..4 {
        server.negotiated().await.expect_echo("again").await;
    }
    let error = failed(call, Started::Perhaps).await;
    assert_is!(error, CallError::Interrupted { .. });
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_stream_goes_again_until_something_of_it_was_delivered() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut response = client.request(ECHO).message("again").idempotent().stream();
    server.negotiated().await.expect_echo("again").await;
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("again").await;
    let bytes = peer.result(id, &[7; 100]);
    peer.send(&bytes[..50]).await;
    assert_eq!(response.chunk().await.unwrap().unwrap().len(), 44);
    drop(peer);
    let end = response.chunk().await.unwrap();
    assert_is!(
        end,
        Err(CallError::Interrupted {
            loss: ConnectionLoss::EndOfStream
        })
    );
    assert_eq!(response.chunk().await, None);
    server.expect_nobody(secs(60)).await;
}

// ── streamed messages ────────────────────────────────────────────────────

type Piece = io::Result<Bytes>;

fn pieces(pieces: Vec<Piece>) -> impl Stream<Item = Piece> + Send {
    stream::iter(pieces)
}

fn broken() -> Piece {
    Err(io::Error::other("the disk is on fire"))
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_has_begun_is_never_sent_again() {
    let (mut server, client) = scripted();
    let client = client.build();
    let endless = pieces(vec![Ok("begun".into())]).chain(stream::pending());
    let request = client.request(ECHO).message_stream(endless).idempotent();
    let call = request.submit();
    let mut peer = server.negotiated().await;
    peer.stream.read_exact(&mut [0; 5]).await.unwrap();
    drop(peer);
    assert_is!(
        failed(call, Started::No).await,
        CallError::NotStarted {
            reason: NotStarted::ConnectionLost { .. }
        }
    );
    server.expect_nobody(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_has_not_begun_goes_again() {
    let (mut server, client) = scripted();
    let client = client.build();
    let message = pieces(vec![Ok("not ".into()), Ok("begun".into())]);
    let call = client.request(ECHO).message_stream(message).submit();
    // A base server that closes on Negotiate, and one that goes away before.
    server.accept().await.expect_negotiate().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.echo().await.message, "not begun");
    assert_eq!(answered(call).await, "not begun");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_midway_closes_the_connection_without_an_end() {
    let (mut server, client) = scripted();
    let client = client.build();
    let other = client.submit(ECHO, "other");
    let mut peer = server.negotiated().await;
    peer.expect_echo("other").await;
    let failing = stream::once(async {
        tokio::time::sleep(secs(1)).await;
        broken()
    });
    let message = pieces(vec![Ok(vec![7; 300].into())]).chain(failing);
    let call = client.request(ECHO).message_stream(message).submit();
    peer.expect_cut().await;
    assert_is!(
        failed(call, Started::No).await,
        CallError::NotStarted {
            reason: NotStarted::SourceFailed { .. }
        }
    );
    assert_is!(
        failed(other, Started::Perhaps).await,
        CallError::Interrupted {
            loss: ConnectionLoss::SourceFailed { .. }
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_at_once_costs_no_connection() {
    let (mut server, client) = scripted();
    let client = client.build();
    let other = client.submit(ECHO, "other");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("other").await;
    let panicking = stream::poll_fn(|_| panic!("a bug of the caller's"));
    for source in [pieces(vec![broken()]).boxed(), panicking.boxed()] {
        let call = client.request(ECHO).message_stream(source).call();
        assert_is!(
            failed(call, Started::No).await,
            CallError::NotStarted {
                reason: NotStarted::SourceFailed { .. }
            }
        );
    }
    peer.expect_silence(secs(1)).await;
    peer.ok(id, "well").await;
    assert_eq!(answered(other).await, "well");
}

/// Code of the caller's whose destructor panics.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a bug of the caller's");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_when_dropped_harms_no_other_call() {
    let (mut server, client) = scripted();
    let client = client.build();
    let other = client.submit(ECHO, "other");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("other").await;
    let guard = PanicsWhenDropped;
    let source = pieces(vec![Ok("fine".into())]).inspect(move |_| {
        let _ = &guard;
    });
    let call = client.request(ECHO).message_stream(source).submit();
    assert_eq!(peer.echo().await.message, "fine");
    assert_eq!(answered(call).await, "fine");
    peer.ok(id, "well").await;
    assert_eq!(answered(other).await, "well");
}

#[tokio::test(start_paused = true)]
async fn a_source_of_nothing_but_empty_pieces_stops_nobody_else() {
    let (mut server, client) = scripted();
    let client = client.build();
    let nothing = stream::repeat_with(|| Ok(Bytes::new()));
    let call = client.request(ECHO).message_stream(nothing).submit();
    let other = client.submit(ECHO, "other");
    let mut peer = server.negotiated().await;
    peer.echo().await;
    assert_eq!(answered(other).await, "other");
    drop(call);
}

// ── transports that fail in their own way ────────────────────────────────

/// Takes nothing more once it is told to break, as a socket whose peer has
/// closed it does; what had come by then can still be read, but is seen only
/// once writing has failed.
struct Breaking {
    stream: DuplexStream,
    broken: Arc<AtomicBool>,
    has_failed: bool,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.broken.load(Ordering::SeqCst) && !self.has_failed {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.load(Ordering::SeqCst) {
            self.has_failed = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client whose transports break when told to, and its server.
fn breaking() -> (ScriptedServer, Client, Arc<AtomicBool>) {
    let (listener, connector) = memory::listener("server", 1 << 16);
    let broken = Arc::new(AtomicBool::new(false));
    let of_transport = Arc::clone(&broken);
    let client = Client::builder(Address::named("server"))
        .connector(move |_| {
            let (stream, broken) = (connector.connect("client"), Arc::clone(&of_transport));
            let has_failed = false;
            std::future::ready(stream.map(|stream| Breaking {
                stream,
                broken,
                has_failed,
            }))
        })
        .seed(1)
        .build();
    (ScriptedServer::of(listener, ByteOrder::Big), client, broken)
}

#[tokio::test(start_paused = true)]
async fn what_had_come_before_writing_failed_still_counts() {
    let (mut server, client, broken) = breaking();
    let first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("first").await;
    broken.store(true, Ordering::SeqCst);
    peer.ok(id, "in time").await;
    peer.goodbye(2).await;
    let second = client.submit(ECHO, "second");
    assert_eq!(answered(first).await, "in time");
    drop(peer);
    broken.store(false, Ordering::SeqCst);
    server.negotiated().await.echo().await;
    assert_eq!(answered(second).await, "second");
}

#[tokio::test(start_paused = true)]
async fn so_does_a_violation() {
    let (mut server, client, broken) = breaking();
    let first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    peer.expect_echo("first").await;
    broken.store(true, Ordering::SeqCst);
    peer.send(&[4]).await;
    let _second = client.submit(ECHO, "second");
    assert_is!(
        failed(first, Started::Perhaps).await,
        CallError::Protocol { .. }
    );
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_one_that_fails() {
    let client = Client::builder(Address::named("server"))
        .connector(|_| async { panic!("a bug of the caller's") as io::Result<DuplexStream> })
        .retries(0)
        .build();
    for _ in 0..2 {
        assert_is!(
            failed(client.call(ECHO, ""), Started::No).await,
            CallError::NotStarted {
                reason: NotStarted::NoConnection { .. }
            }
        );
    }
}

//! The client's end of stream, resets, and what a transport may do (PROTOCOL
//! D3, D7, D8, section 9).

mod wire_client;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{TaskCode, UnexpectedEnd};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};
use wire_client::*;

const SECOND: Duration = Duration::from_secs(1);

fn server(on_half_close: OnHalfClose) -> Server {
    with_echo_and_sleep(Server::builder().on_half_close(on_half_close)).build()
}

#[tokio::test(start_paused = true)]
async fn d7_by_default_a_client_that_ends_its_stream_is_gone() {
    let mut client = WireClient::connect(&server(OnHalfClose::default()));
    client.ask(SLEEP, 1, &[0; 100]).await;
    settle().await;
    let began = Instant::now();
    client.end_of_stream().await;
    let report = client.end().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(report.reason, EndReason::ClientClosed);
    assert_eq!(report.interrupted[0].state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn d7_what_is_finished_is_still_sent_to_a_client_that_is_gone() {
    let server = server(OnHalfClose::default());
    let mut client = WireClient::connect_with(&server, 100, ConnectionOptions::default());
    client.ask(ECHO, 1, &[7; 1000]).await;
    settle().await;
    client.end_of_stream().await;
    settle().await;
    client.expect(ok(1, vec![7; 1000])).await;
    assert_eq!(client.end().await.counts.ok, 1);
}

#[tokio::test(start_paused = true)]
async fn d7_a_server_may_be_set_to_finish_after_a_half_close() {
    let mut client = WireClient::connect(&server(OnHalfClose::Finish));
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(SLEEP, 2, &vec![0; 60_000]).await;
    settle().await;
    client.end_of_stream().await;
    client.expect(ok(1, "slept")).await;
    // It has no deadline of its own.
    client.expect(ok(2, "slept")).await;
    let began = Instant::now();
    let report = client.end().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "Lingering ends at once");
    assert_eq!(report.reason, EndReason::ClientClosed);
    assert!(report.interrupted.is_empty());
}

#[tokio::test(start_paused = true)]
async fn d7_a_disconnect_sets_a_deadline_to_a_half_closed_client() {
    let server = server(OnHalfClose::Finish);
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &vec![0; 60_000]).await;
    settle().await;
    client.end_of_stream().await;
    settle().await;
    server.disconnect(SECOND);
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::ClientClosed);
    assert!(report.deadline_reached);
}

#[tokio::test(start_paused = true)]
async fn d7_an_end_of_stream_at_any_byte_of_a_request_is_a_connection_error() {
    let missing = |at: usize| match at {
        1..=4 => "task id",
        5 | 9 => "length byte",
        _ => "block bytes",
    };
    // Of a task, of a task function, of a KeepAlive, of an unknown code.
    for code in [ECHO, 3, 250, 99] {
        for on_half_close in [OnHalfClose::ClientIsGone, OnHalfClose::Finish] {
            let bytes = request(code, 1, b"abc");
            for at in 1..bytes.len() {
                let server = server(on_half_close);
                let streamed = reading(|_, message| {
                    Box::pin(async move {
                        while message.chunk().await.is_some() {}
                        Ok(Task::nothing())
                    })
                });
                server.register(TaskCode(3), "streamed", streamed).unwrap();
                let mut client = WireClient::connect(&server);
                client.send(&bytes[..at]).await;
                client.end_of_stream().await;
                let report = client.end().await;
                let EndReason::Protocol(ProtocolError::UnexpectedEnd(end)) = report.reason else {
                    panic!("{report:?}, code {code}, {at} bytes");
                };
                let UnexpectedEnd {
                    offset,
                    missing: what,
                    ..
                } = end;
                assert_eq!((offset, what), (at as u64, missing(at)));
                assert_eq!(report.counts.accepted, 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d7_while_draining_an_end_of_stream_inside_a_request_changes_nothing() {
    let server = server(OnHalfClose::default());
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    settle().await;
    server.disconnect(SECOND * 10);
    client.send(&[SLEEP, 0, 0]).await;
    client.end_of_stream().await;
    client.expect(ok(1, "slept")).await;
    let began = Instant::now();
    let report = client.end().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "Lingering ends at once");
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
}

#[tokio::test(start_paused = true)]
async fn d3_the_half_close_comes_behind_every_response_and_the_end_of_stream_ends_it() {
    let server = server(OnHalfClose::default());
    let mut client = WireClient::connect(&server);
    client.ask(ECHO, 1, b"x").await;
    settle().await;
    server.disconnect(SECOND * 10);
    client.expect(ok(1, "x")).await;
    assert_eq!(client.answer().await, None);
    // What still comes is discarded, up to the end of stream.
    for _ in 0..5 {
        sleep(ms(100)).await;
        client.send(&[7; 1000]).await;
    }
    assert_eq!(server.client_count(), 1);
    client.end_of_stream().await;
    settle().await;
    assert_eq!(server.client_count(), 0);
}

/// A transport that can be told to fail.
struct Failing {
    stream: DuplexStream,
    read: Arc<AtomicBool>,
    write: Arc<AtomicBool>,
}

impl Failing {
    fn poll(fails: &AtomicBool) -> Poll<io::Error> {
        match fails.load(Ordering::Relaxed) {
            true => Poll::Ready(io::ErrorKind::ConnectionReset.into()),
            false => Poll::Pending,
        }
    }
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = Self::poll(&self.read) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Failing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = Self::poll(&self.write) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = Self::poll(&self.write) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client over a transport, with the switches that make it fail.
fn breakable(server: &Server) -> (WireClient, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (near, stream) = tokio::io::duplex(1000);
    let (read, write) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let far = Failing {
        stream,
        read: read.clone(),
        write: write.clone(),
    };
    let client = WireClient::connect_over(server, near, far, ConnectionOptions::default());
    (client, read, write)
}

fn is_reset(reason: &EndReason) -> bool {
    matches!(reason, EndReason::Transport(words) if words.contains("reset"))
}

#[tokio::test(start_paused = true)]
async fn d8_a_transport_error_closes_at_once() {
    for while_draining in [false, true] {
        for of_a_write in [false, true] {
            let server = server(OnHalfClose::default());
            let (mut client, read, write) = breakable(&server);
            client.ask(SLEEP, 1, &[0; 100]).await;
            client.ask(SLEEP, 2, &[0; 200]).await;
            settle().await;
            if while_draining {
                server.disconnect(SECOND);
            }
            settle().await;
            if of_a_write {
                write.store(true, Ordering::Relaxed);
            } else {
                read.store(true, Ordering::Relaxed);
                client.send(b"wakes the reader").await;
            }
            let report = client.connection.await.unwrap();
            assert!(is_reset(&report.reason), "{report:?}");
            assert!(report.counts.add_up());
            assert_eq!(report.interrupted.len(), 2);
            let expected = if of_a_write {
                TaskState::Responding
            } else {
                TaskState::Running
            };
            assert_eq!(report.interrupted[0].state, expected);
            assert!(report.lasted < SECOND);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d9_a_transport_error_while_lingering_does_not_replace_the_reason() {
    let server = server(OnHalfClose::default());
    let (client, read, _) = breakable(&server);
    settle().await;
    server.disconnect(SECOND * 10);
    settle().await;
    read.store(true, Ordering::Relaxed);
    drop(client.stream);
    let report = client.connection.await.unwrap();
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
}

#[tokio::test(start_paused = true)]
async fn l12_an_end_of_stream_behind_a_pause_is_not_seen() {
    let mut limits = Limits::default();
    limits.in_flight_limit = 1;
    let server = Server::builder()
        .limits(limits)
        .task(TaskCode(SLEEP), "sleep", async |_, message: Bytes| {
            sleep(ms(message.len() as u64)).await;
            Ok("slept")
        })
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    client.end_of_stream().await;
    client.expect(ok(1, "slept")).await;
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::ClientClosed);
    assert_eq!(report.interrupted[0].id, id(2));
}

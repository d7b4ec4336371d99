//! Found: a connection whose client ended its stream first is never half-closed,
//! so what its transport has buffered is lost.

mod wire_client;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, BufStream, DuplexStream, ReadBuf};
use tokio::time::sleep;
use wire_client::*;

fn server() -> Server {
    Server::builder()
        .on_half_close(OnHalfClose::Finish)
        .task(TaskCode(1), "slow echo", async |_, message: Bytes| {
            sleep(ms(10)).await;
            Ok(message)
        })
        .build()
}

#[tokio::test(start_paused = true)]
async fn d3_a_buffered_transport_delivers_all_to_a_client_that_ended_its_stream_first() {
    let (near, far) = tokio::io::duplex(64);
    let options = ConnectionOptions::default();
    let mut client = WireClient::connect_over(&server(), near, BufStream::new(far), options);
    client.ask(1, 1, &[7; 500]).await;
    client.end_of_stream().await;
    sleep(ms(100)).await;
    let rest = client.rest().await;
    let report = client.finish().await;
    assert_eq!(report.counts.ok, 1, "the transport has taken it all");
    assert_eq!(rest.len(), 5 + 500 + 2 + 1);
}

/// Notes when it is half-closed.
struct Noting(DuplexStream, Notes);

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.note("half-closed");
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Over TLS a missing half-close is a missing close_notify: the client takes
/// the end for a truncation.
#[tokio::test(start_paused = true)]
async fn d3_the_server_half_closes_a_connection_whose_client_ended_its_stream_first() {
    let notes = Notes::default();
    let (near, far) = tokio::io::duplex(1000);
    let far = Noting(far, notes.clone());
    let mut client = WireClient::connect_over(&server(), near, far, ConnectionOptions::default());
    client.ask(1, 1, b"x").await;
    client.end_of_stream().await;
    client.expect(ok(1, "x")).await;
    client.end().await;
    assert_eq!(notes.take(), ["half-closed"]);
}

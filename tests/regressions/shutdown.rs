//! Handshakes and shutdown (PROTOCOL D2, D4, D6, L9).

use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use asyncserver::runtime::{Endpoints, Transport, memory};
use asyncserver::server::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::wire_client::*;
use crate::world::*;

/// Shuts its own server down while it is being performed.
struct ShutsDown(Arc<OnceLock<Serving>>);

impl<S: Transport> Handshake<S> for ShutsDown {
    type Transport = S;

    async fn perform(
        &self,
        stream: S,
        _: &Endpoints,
    ) -> Result<(S, ConnectionOptions), HandshakeError> {
        let serving = self.0.get().expect("it is served");
        drop(serving.shutdown(Duration::from_secs(60)));
        Ok((stream, ConnectionOptions::default()))
    }
}

/// PROTOCOL D6: it was in no list when the shutdown looked, and was left behind.
#[tokio::test(start_paused = true)]
async fn a_shutdown_during_the_last_poll_of_a_handshake_ends_the_connection() {
    let (listener, connector) = memory::listener("server", 1024);
    let place = Arc::new(OnceLock::new());
    let handshake = ShutsDown(Arc::clone(&place));
    let serving = server().build().serve_with(listener, handshake);
    let server = serving.server().clone();
    drop(place.set(serving));
    let mut stream = connector.connect("client").expect("it listens");
    let began = Instant::now();
    drop(stream.write_all(&request(ECHO, 1, b"x")).await);
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
    server.wait().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// PROTOCOL D6: no new connection is accepted, by whomever.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_for_every_listener() {
    let server = server().build();
    let (first, _) = memory::listener("first", 1024);
    let (second, connector) = memory::listener("second", 1024);
    let first = server.serve(first);
    let _second = server.serve(second);
    let end = first.shutdown(ms(100));
    sleep(ms(10)).await;
    // To be refused is as good as an end.
    if let Ok(mut stream) = connector.connect("late") {
        drop(stream.write_all(&request(ECHO, 7, b"x")).await);
        let read = timeout(ms(1000), stream.read(&mut [0; 1])).await;
        assert_eq!(read.expect("an end").unwrap_or(0), 0);
    }
    let report = end.await;
    assert!(report.is_clean());
    assert_eq!(report.connections.len(), 0);
}

/// PROTOCOL D2, D6: the first one waited for its own time.
#[tokio::test(start_paused = true)]
async fn a_shorter_shutdown_brings_a_longer_one_forward() {
    let server = server().build();
    let (listener, _connector) = memory::listener("server", 1024);
    let serving = server.serve(listener);
    let (_near, far) = tokio::io::duplex(10);
    // Its thread is blocked: it is never polled again.
    let mut blocked = Box::pin(server.handle_connection(far, ConnectionOptions::default()));
    let polled = blocked
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let began = Instant::now();
    let first = serving.shutdown(Duration::from_secs(600));
    drop(serving.shutdown(Duration::ZERO));
    let report = first.await;
    assert!(began.elapsed() <= ms(1000), "{:?}", began.elapsed());
    assert_eq!(report.stuck.len(), 1);
}

struct Panics;

impl<S: Transport> Handshake<S> for Panics {
    type Transport = S;

    async fn perform(&self, _: S, _: &Endpoints) -> Result<(S, ConnectionOptions), HandshakeError> {
        panic!("in a handshake")
    }
}

#[derive(Debug, Default)]
struct Refusals(Mutex<Vec<EndReason>>);

impl Observer for Refusals {
    fn connection_refused(&self, _: &Endpoints, report: &ConnectionReport) {
        let reason = report.reason.clone();
        self.0.lock().expect("no panic").push(reason);
    }
}

/// PROTOCOL D9: nobody was told.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_panics_is_a_handshake_failure() {
    let refusals = Arc::new(Refusals::default());
    let server = server().observer(Arc::<Refusals>::clone(&refusals)).build();
    let (listener, connector) = memory::listener("server", 1024);
    let _serving = server.serve_with(listener, Panics);
    let mut stream = connector.connect("client").expect("it listens");
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
    sleep(ms(1)).await;
    let refusals = refusals.0.lock().expect("no panic");
    assert!(matches!(refusals[..], [EndReason::HandshakeFailed(_)]));
}

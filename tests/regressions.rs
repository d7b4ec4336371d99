//! Bugs that were found, each by a test that fails without its fix.

mod wire_client;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use asyncserver::runtime::{Endpoints, Transport, memory};
use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire_client::*;

fn echo() -> ServerBuilder {
    Server::builder().task(TaskCode(1), "echo", async |_, message| Ok(message))
}

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
    let serving = echo()
        .build()
        .serve_with(listener, ShutsDown(Arc::clone(&place)));
    let server = serving.server().clone();
    drop(place.set(serving));
    let mut stream = connector.connect("client").expect("it listens");
    let began = tokio::time::Instant::now();
    drop(stream.write_all(&request(1, 1, b"x")).await);
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
    server.wait().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[derive(Debug, Default)]
struct Reports(Mutex<Vec<ConnectionReport>>);

impl Observer for Reports {
    fn connection_closed(&self, _: &ClientHandle, report: &ConnectionReport) {
        self.0.lock().expect("no panic").push(report.clone());
    }
}

/// PROTOCOL D5, D9: nobody was told of its end.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_whose_future_is_dropped_is_told() {
    let reports = Arc::new(Reports::default());
    let server = Server::builder()
        .task(TaskCode(1), "never", async |_, _| {
            std::future::pending::<()>().await;
            Ok(())
        })
        .observer(Arc::<Reports>::clone(&reports))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(1, 7, b"").await;
    client.expect_silence(ms(1)).await;
    client.connection.abort();
    drop((&mut client.connection).await);
    server.wait().await;
    let reports = reports.0.lock().expect("no panic");
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(report.reason, EndReason::Aborted);
    assert_eq!(report.interrupted[0].id.0, 7);
    assert_eq!(server.task_count(), 0);
}

/// PROTOCOL E3: rounding up the longest of all durations overflowed.
#[tokio::test(start_paused = true)]
async fn negotiate_states_an_endless_idle_limit_as_none() {
    let mut timeouts = Timeouts::default();
    timeouts.wait = Duration::MAX;
    timeouts.processing_interval = Duration::from_millis(1500);
    let mut client = WireClient::connect(&echo().timeouts(timeouts).build());
    client.ask(252, 1, &[1, 0, 0, 0, 3]).await;
    let Some(Answer::Ok(1, answer)) = client.answer().await else {
        panic!("no answer")
    };
    assert_eq!(answer[13..21], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2]);
}

/// Which limits were reached.
#[derive(Debug, Default)]
struct Reached(Mutex<Vec<&'static str>>);

impl Observer for Reached {
    fn limit_reached(&self, _: &ClientHandle, rule: &'static str) {
        self.0.lock().expect("no panic").push(rule);
    }
}

/// L16 was told of as L5 or L6, and L7 not at all.
#[tokio::test(start_paused = true)]
async fn an_observer_is_told_which_limit_was_reached() {
    for (rule, limit) in [
        (
            "L16",
            (|limits: &mut Limits| limits.held_limit_bytes = 1) as fn(&mut Limits),
        ),
        ("L16", |limits| limits.server_held_limit_bytes = 1),
        ("L6", |limits| limits.task_limit = 1),
        ("L5", |limits| limits.in_flight_limit = 1),
        ("L7", |limits| limits.unsent_limit_bytes = 1),
    ] {
        let reached = Arc::new(Reached::default());
        let mut limits = Limits::default();
        limit(&mut limits);
        let server = echo()
            .task(TaskCode(2), "waits", async |_, _| {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok("done")
            })
            .limits(limits)
            .observer(Arc::<Reached>::clone(&reached))
            .build();
        // A pipe that a response fills: L7 is reached for more than a moment.
        let options = ConnectionOptions::default();
        let mut client = WireClient::connect_with(&server, 8, options);
        client.ask(2, 1, b"held").await;
        client.ask(2, 2, b"").await;
        tokio::time::sleep(ms(20)).await;
        client.answer().await;
        client.answer().await;
        let mut reached = reached.0.lock().expect("no panic");
        reached.dedup();
        assert_eq!(reached[..], [rule]);
    }
}

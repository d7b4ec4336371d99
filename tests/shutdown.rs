//! Ending a whole server (PROTOCOL D4, D6).

mod wire_client;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use asyncserver::runtime::memory::{self, MemoryConnector};
use asyncserver::runtime::{Endpoints, Transport};
use asyncserver::server::*;
use asyncserver::wire::{Features, TaskCode};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;
use wire_client::*;

/// Blocks its thread until the test lets it go on.
const BLOCK: u8 = 3;
const SECOND: Duration = Duration::from_secs(1);

fn builder() -> ServerBuilder {
    with_echo_and_sleep(Server::builder())
}

fn serving(server: &Server) -> (Serving, MemoryConnector) {
    let (listener, connector) = memory::listener("server", 1 << 16);
    (server.serve(listener), connector)
}

fn connect(connector: &MemoryConnector, name: &str) -> WireClient {
    let stream = connector.connect(name).unwrap();
    let nobody = tokio::spawn(std::future::pending());
    WireClient::over(stream, nobody)
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_disconnects_every_client_and_reports_each() {
    let server = builder().build();
    let (serving, connector) = serving(&server);
    let (mut one, mut other) = (connect(&connector, "one"), connect(&connector, "other"));
    one.ask(SLEEP, 1, &[0; 100]).await;
    other.ask(SLEEP, 1, &vec![0; 60_000]).await;
    settle().await;
    let done = tokio::spawn(serving.shutdown(SECOND));
    one.expect(ok(1, "slept")).await;
    assert_eq!(one.answer().await, None);
    drop(one.stream);
    let report = done.await.unwrap();
    assert!(!report.is_clean());
    assert_eq!((report.counts().ok, report.counts().interrupted), (1, 1));
    let ends: Vec<_> = report
        .connections
        .iter()
        .map(|closed| (closed.endpoints.to_string(), closed.report.deadline_reached))
        .collect();
    let expected = [
        ("one->server".to_owned(), false),
        ("other->server".to_owned(), true),
    ];
    assert_eq!(ends, expected);
    assert!(report.stuck.is_empty());
    drop(other.stream);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_acts_when_it_is_called() {
    let server = builder().build();
    let (serving, connector) = serving(&server);
    let mut client = connect(&connector, "client");
    client.negotiate(Features::GOODBYE).await;
    let never_awaited = serving.shutdown(SECOND);
    client.expect(Answer::Goodbye(1)).await;
    assert_eq!(client.answer().await, None);
    settle().await;
    assert!(
        connector.connect("late").is_err(),
        "nobody accepts any more"
    );
    drop((client.stream, never_awaited));
    server.wait().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_shutdowns_the_shortest_counts() {
    let server = builder().build();
    let (serving, connector) = serving(&server);
    let mut client = connect(&connector, "client");
    client.ask(SLEEP, 1, &vec![0; 60_000]).await;
    settle().await;
    let began = tokio::time::Instant::now();
    let long = serving.shutdown(Duration::MAX);
    let short = serving.shutdown(SECOND);
    let (long, short) = tokio::join!(long, short);
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((long.connections.len(), short.connections.len()), (1, 1));
    assert!(long.connections[0].report.deadline_reached);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_nobody_there_returns_at_once() {
    let (serving, _connector) = serving(&builder().build());
    let began = tokio::time::Instant::now();
    let report = serving.shutdown(Duration::MAX).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_of_the_server_touches_the_present_clients_only() {
    let server = builder().build();
    let (_serving, connector) = serving(&server);
    let mut present = connect(&connector, "present");
    settle().await;
    server.disconnect(SECOND);
    assert_eq!(present.answer().await, None);
    let mut later = connect(&connector, "later");
    later.ask(ECHO, 1, b"x").await;
    later.expect(ok(1, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn stop_accepting_leaves_the_present_clients_alone() {
    let server = builder().build();
    let (serving, connector) = serving(&server);
    let mut present = connect(&connector, "present");
    settle().await;
    serving.stop_accepting();
    settle().await;
    assert!(connector.connect("late").is_err());
    present.ask(ECHO, 1, b"x").await;
    present.expect(ok(1, "x")).await;
}

/// Never ends.
struct Endless;

impl<S: Transport> Handshake<S> for Endless {
    type Transport = S;

    async fn perform(&self, _: S, _: &Endpoints) -> Result<(S, ConnectionOptions), HandshakeError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drops_handshakes() {
    let server = builder().build();
    let (listener, connector) = memory::listener("server", 64);
    let serving = server.serve_with(listener, Endless);
    let mut stream = connector.connect("client").unwrap();
    settle().await;
    let began = tokio::time::Instant::now();
    assert!(serving.shutdown(SECOND).await.connections.is_empty());
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn wait_waits_until_there_is_no_client() {
    let server = builder().build();
    server.wait().await;
    let (one, other) = (WireClient::connect(&server), WireClient::connect(&server));
    settle().await;
    let waits = tokio::spawn({
        let server = server.clone();
        async move { server.wait().await }
    });
    one.finish().await;
    settle().await;
    assert!(!waits.is_finished());
    other.finish().await;
    waits.await.unwrap();
    assert_eq!(server.client_count(), 0);
}

/// Runs until the test lets it go: blocks a connection's own thread, or one for
/// blocking functions.
fn blocking(execution: Execution, may_go: mpsc::Receiver<()>) -> Registration {
    let may_go = Arc::new(Mutex::new(may_go));
    Registration::task(move |_, _| {
        let may_go = may_go.clone();
        async move {
            may_go.lock().unwrap().recv().unwrap();
            Ok(())
        }
    })
    .execution(execution)
}

// Real time: a thread that blocks cannot be part of a paused clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_thread_does_not_hold_a_shutdown_up() {
    for (execution, is_stuck) in [(Execution::Local, true), (Execution::Spawn, false)] {
        let (let_go, may_go) = mpsc::channel();
        let server = builder()
            .register(TaskCode(BLOCK), "block", blocking(execution, may_go))
            .build();
        let (serving, connector) = serving(&server);
        let mut client = connect(&connector, "blocked");
        client.ask(BLOCK, 1, b"").await;
        while server.task_count() == 0 {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let report = serving.shutdown(ms(200)).await;
        let took = began.elapsed();
        assert!(took >= ms(200) && took < ms(200) + SECOND, "{took:?}");
        let stuck: Vec<_> = report.stuck.iter().map(ToString::to_string).collect();
        let expected: &[&str] = if is_stuck { &["blocked->server"] } else { &[] };
        assert_eq!(stuck, expected);
        assert_eq!(report.connections.len(), usize::from(!is_stuck));
        let_go.send(()).unwrap();
        server.wait().await;
        while server.task_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_function_is_interrupted_by_a_shutdown_and_keeps_its_place() {
    let (let_go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let block = Registration::blocking(move |_, _| {
        may_go.lock().unwrap().recv().unwrap();
        Ok(())
    });
    let server = builder().register(TaskCode(BLOCK), "block", block).build();
    let (serving, connector) = serving(&server);
    let mut client = connect(&connector, "client");
    client.ask(BLOCK, 1, b"").await;
    while server.task_count() == 0 {
        tokio::task::yield_now().await;
    }
    // For a thread to get to it.
    sleep(ms(50)).await;
    let report = serving.shutdown(ms(100)).await;
    assert_eq!(report.counts().interrupted, 1);
    assert!(report.stuck.is_empty());
    assert_eq!(server.task_count(), 1);
    let_go.send(()).unwrap();
    while server.task_count() > 0 {
        tokio::task::yield_now().await;
    }
}

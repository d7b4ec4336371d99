//! Accepting connections, and the application's handshake (PROTOCOL N2, L8, L9, D5).

mod wire_client;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::runtime::{Address, Endpoints, Listener, Transport, memory};
use asyncserver::server::*;
use asyncserver::wire::{ByteOrder, TaskCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use wire_client::*;

const ECHO: u8 = 1;

fn builder() -> ServerBuilder {
    Server::builder().task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
}

/// Accepts what its script says, and notes when it is asked.
struct Scripted {
    script: VecDeque<io::Result<DuplexStream>>,
    began: Instant,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Listener for Scripted {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Endpoints)> {
        let at = self.began.elapsed().as_millis() as u64;
        self.asked.lock().unwrap().push(at);
        match self.script.pop_front() {
            Some(accepted) => accepted.map(|stream| (stream, Endpoints::default())),
            None => std::future::pending().await,
        }
    }
}

fn scripted(
    script: impl IntoIterator<Item = io::Result<DuplexStream>>,
) -> (Scripted, Arc<Mutex<Vec<u64>>>) {
    let asked = Arc::default();
    let listener = Scripted {
        script: script.into_iter().collect(),
        began: Instant::now(),
        asked: Arc::clone(&asked),
    };
    (listener, asked)
}

fn failure() -> io::Result<DuplexStream> {
    Err(io::Error::other("too many open files"))
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_are_waited_out_longer_and_longer_and_never_end_serving() {
    let (near, far) = tokio::io::duplex(1000);
    let script = (0..9).map(|_| failure()).chain([Ok(far), failure()]);
    let (listener, asked) = scripted(script);
    let _serving = builder().build().serve(listener);
    let mut client = WireClient::over(near, tokio::spawn(std::future::pending()));
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    sleep(Duration::from_secs(10)).await;
    let asked = asked.lock().unwrap().clone();
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // One that succeeds begins them anew.
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_such_a_pause() {
    let (listener, _) = scripted((0..100).map(|_| failure()));
    let serving = builder().build().serve(listener);
    sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    serving.shutdown(Duration::MAX).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn dropping_serving_changes_nothing() {
    let (listener, connector) = memory::listener("server", 1000);
    drop(builder().build().serve(listener));
    let stream = connector.connect("client").unwrap();
    let mut client = WireClient::over(stream, tokio::spawn(std::future::pending()));
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn serving_knows_its_address_and_its_server() {
    let (listener, _connector) = memory::listener("here", 1000);
    let server = builder().build();
    let serving = server.serve(listener);
    assert_eq!(serving.local_address(), Some(&Address::named("here")));
    assert_eq!(serving.server().registered_task_codes(), [TaskCode(ECHO)]);
    let (unnamed, _) = scripted([]);
    assert_eq!(server.serve(unnamed).local_address(), None);
}

/// The first byte chooses: an order of bytes, a refusal, or to wait for ever.
struct Greeting;

impl<S: Transport> Handshake<S> for Greeting {
    type Transport = S;

    async fn perform(
        &self,
        mut stream: S,
        endpoints: &Endpoints,
    ) -> Result<(S, ConnectionOptions), HandshakeError> {
        let order = match stream.read_u8().await? {
            b'B' => ByteOrder::Big,
            b'L' => ByteOrder::Little,
            b'?' => std::future::pending().await,
            other => return Err(HandshakeError::new(format!("what is {other}?"))),
        };
        let user = format!("user of {endpoints}");
        let options = ConnectionOptions::default().byte_order(order);
        Ok((stream, options.arguments(user)))
    }
}

/// Notes every end of a connection.
#[derive(Debug)]
struct Ends(Notes);

impl Observer for Ends {
    fn connection_refused(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        self.0
            .note(format!("{endpoints} refused: {}", report.reason));
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.0.note(format!("{client} closed: {}", report.reason));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_chooses_the_byte_order_and_the_arguments() {
    let server = builder().build();
    let (listener, connector) = memory::listener("server", 1000);
    let _serving = server.serve_with(listener, Greeting);
    for (greeting, id) in [(b'B', [0, 0, 0, 7]), (b'L', [7, 0, 0, 0])] {
        let mut stream = connector.connect("ada").unwrap();
        stream.write_all(&[greeting, ECHO]).await.unwrap();
        stream.write_all(&id).await.unwrap();
        stream.write_all(&[1, b'x', 0]).await.unwrap();
        let mut answer = [9; 8];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[1..5], id);
        let handle = only_client(&server).await;
        let user = handle.arguments::<String>().unwrap();
        assert_eq!(*user, "user of ada->server");
        drop(stream);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_refuse_fail_or_take_too_long_are_told() {
    let notes = Notes::default();
    let server = builder().observer(Arc::new(Ends(notes.clone()))).build();
    let (listener, connector) = memory::listener("server", 1000);
    let serving = server.serve_with(listener, Greeting);
    for (name, greeting) in [
        ("one", &b"x"[..]),
        ("two", b""),
        ("three", b"?"),
        ("four", b"?"),
    ] {
        let mut stream = connector.connect(name).unwrap();
        stream.write_all(greeting).await.unwrap();
        match name {
            "two" => stream.shutdown().await.unwrap(),
            "four" => {
                settle().await;
                serving.stop_accepting();
            }
            _ => {}
        }
        // The server closes it.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
    settle().await;
    let expected = [
        "one->server refused: handshake failure: what is 120?",
        "two->server refused: handshake failure: unexpected end of file",
        "three->server refused: handshake timeout",
        "four->server refused: graceful disconnection",
    ];
    assert_eq!(notes.take(), expected);
    assert_eq!(server.client_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_holds_up_nobody_but_has_a_place() {
    let mut limits = Limits::default();
    limits.connection_limit = 2;
    let notes = Notes::default();
    let server = builder()
        .limits(limits)
        .observer(Arc::new(Ends(notes.clone())))
        .build();
    let (listener, connector) = memory::listener("server", 1000);
    let _serving = server.serve_with(listener, Greeting);
    let mut slow = connector.connect("slow").unwrap();
    slow.write_all(b"?").await.unwrap();
    let mut quick = connector.connect("quick").unwrap();
    quick.write_all(&[b'B', ECHO, 0, 0, 0, 1, 0]).await.unwrap();
    quick.read_exact(&mut [0; 6]).await.unwrap();
    let mut third = connector.connect("third").unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap(), 0);
    let refused = "third->server refused: refused: the server has its limit of 2 connections";
    assert_eq!(notes.take(), [refused]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connections_future_closes_it_at_once() {
    let server = builder().build();
    let slow = Registration::task(async |context: TaskContext, _| {
        context.cancelled().await;
        sleep(ms(500)).await;
        Ok(())
    });
    let slow = slow.on_cancel(OnCancel::Cooperate {
        grace: Duration::from_secs(1),
    });
    server.register(TaskCode(2), "slow", slow).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(2, 1, b"").await;
    let handle = only_client(&server).await;
    client.connection.abort();
    assert_eq!(client.answer().await, None);
    assert!(!handle.is_open());
    assert_eq!(server.client_count(), 0);
    // It keeps its grace (T10).
    assert_eq!(server.task_count(), 1);
    sleep(ms(501)).await;
    assert_eq!(server.task_count(), 0);
    server.wait().await;
}

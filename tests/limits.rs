//! Every limit of PROTOCOL section 7 is reached, under paused time.

mod wire_client;

use std::time::Duration;

use asyncserver::runtime::{Endpoints, Transport, memory};
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use wire_client::*;

const ECHO: u8 = 1;
/// Sleeps for as many milliseconds as its message has bytes.
const SLEEP: u8 = 2;
/// A body of 100,000 bytes.
const LARGE: u8 = 3;
/// Reads its message in chunks, and answers nothing.
const READ: u8 = 4;

fn server(limits: Limits, timeouts: Timeouts) -> Server {
    with_tasks(Server::builder().limits(limits).timeouts(timeouts)).build()
}

fn with_tasks(builder: ServerBuilder) -> ServerBuilder {
    let read = reading(|_, message| {
        Box::pin(async move {
            while message.chunk().await.is_some() {}
            Ok(Task::run(async move |_| Ok(())))
        })
    });
    builder
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(SLEEP), "sleep", async |_, message: Bytes| {
            sleep(ms(message.len() as u64)).await;
            Ok("slept")
        })
        .task(TaskCode(LARGE), "large", async |_, _| Ok(vec![7; 100_000]))
        .register(TaskCode(READ), "read", read)
}

fn near(actual: Duration, expected: Duration) {
    let late = actual.saturating_sub(expected);
    assert!(
        actual >= expected && late <= ms(20),
        "{actual:?}, not {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn l1_ends_a_connection_with_nothing_to_do() {
    let server = server(Limits::default(), timeouts(|t| t.wait = ms(500)));
    let mut client = WireClient::connect(&server);
    sleep(ms(400)).await;
    client.ask(250, 1, b"").await;
    client.expect(ok(1, "")).await;
    let began = Instant::now();
    let report = client.end().await;
    near(began.elapsed(), ms(500));
    assert_eq!(report.reason, EndReason::TimeoutWaitingForTask);
}

#[tokio::test(start_paused = true)]
async fn l1_does_not_run_while_a_task_lives_or_a_request_is_read() {
    let server = server(Limits::default(), timeouts(|t| t.wait = ms(100)));
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 300]).await;
    client.expect(ok(1, "slept")).await;
    client.send(&[ECHO]).await;
    sleep(ms(300)).await;
    client.send(&request(ECHO, 2, b"x")[1..]).await;
    client.expect(ok(2, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn l2_a_header_has_its_time_in_all() {
    let server = server(Limits::default(), timeouts(|t| t.read = ms(400)));
    let mut client = WireClient::connect(&server);
    sleep(ms(1000)).await;
    let began = Instant::now();
    for byte in &request(ECHO, 1, b"")[..4] {
        client.send(&[*byte]).await;
        sleep(ms(90)).await;
    }
    let report = client.end().await;
    near(began.elapsed(), ms(400));
    assert_eq!(report.reason, EndReason::ReadTimeout);
}

#[tokio::test(start_paused = true)]
async fn l2_a_message_that_stops_is_a_timeout_and_one_that_drips_is_too_slow() {
    for (drips, expected) in [(0, EndReason::ReadTimeout), (9, EndReason::ReadTooSlow)] {
        let server = server(Limits::default(), timeouts(|t| t.read = ms(400)));
        let mut client = WireClient::connect(&server);
        client.send(&request(ECHO, 1, &[0; 200])[..10]).await;
        let began = Instant::now();
        for _ in 0..drips {
            sleep(ms(40)).await;
            client.send(&[0]).await;
        }
        let report = client.end().await;
        // A byte adds 1/240 s, up to the limit.
        near(
            began.elapsed(),
            ms(400) + Duration::from_secs(1) * drips / 240,
        );
        assert_eq!(report.reason, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn l2_a_slow_but_honest_message_is_taken() {
    let server = server(Limits::default(), timeouts(|t| t.read = ms(200)));
    let mut client = WireClient::connect(&server);
    for piece in request(ECHO, 1, &[7; 2000]).chunks(30) {
        client.send(piece).await;
        sleep(ms(110)).await;
    }
    client.expect(ok(1, vec![7; 2000])).await;
}

#[tokio::test(start_paused = true)]
async fn l3_a_client_that_takes_nothing_is_a_timeout() {
    let server = server(Limits::default(), timeouts(|t| t.write = ms(300)));
    let options = ConnectionOptions::default();
    let mut client = WireClient::connect_with(&server, 1000, options);
    client.ask(LARGE, 1, b"").await;
    let began = Instant::now();
    let connection = client.connection;
    let report = connection.await.unwrap();
    // The bytes that were taken at once have saved up at most six limits.
    near(began.elapsed() - Timeouts::default().linger, ms(1800));
    assert_eq!(report.reason, EndReason::WriteTimeout);
    assert_eq!(report.interrupted.len(), 1);
    assert_eq!(report.interrupted[0].state, TaskState::Responding);
    drop(client.stream);
}

#[tokio::test(start_paused = true)]
async fn l3_a_client_that_drips_is_too_slow() {
    let server = server(Limits::default(), timeouts(|t| t.write = ms(300)));
    let mut client = WireClient::connect_with(&server, 100, ConnectionOptions::default());
    client.ask(LARGE, 1, b"").await;
    let connection = client.connection;
    let drip = tokio::spawn(async move {
        let mut byte = [0; 1];
        while client
            .stream
            .read(&mut byte)
            .await
            .is_ok_and(|read| read > 0)
        {
            sleep(ms(50)).await;
        }
    });
    assert_eq!(connection.await.unwrap().reason, EndReason::WriteTooSlow);
    drip.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l4_a_message_may_be_as_long_as_the_limit_and_no_longer() {
    // Up to more than is read, or may be left untaken, at once.
    for limit_bytes in [300, 510, 100_000, 102_000] {
        for code in [ECHO, READ, 99, 250] {
            let limits = limits(|l| l.message_limit_bytes = limit_bytes);
            let mut client = WireClient::connect(&server(limits, Timeouts::default()));
            client.ask(code, 1, &vec![1; limit_bytes]).await;
            assert!(client.answer().await.is_some());
            client.ask(code, 2, &vec![1; limit_bytes + 1]).await;
            let report = client.end().await;
            let (id, code) = (2.into(), code.into());
            let expected = EndReason::MessageTooLong {
                id,
                code,
                limit_bytes,
            };
            assert_eq!(report.reason, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l5_pauses_reading_until_a_place_is_free() {
    let server = server(limits(|l| l.in_flight_limit = 2), Timeouts::default());
    let mut client = WireClient::connect(&server);
    let began = Instant::now();
    for id in 1..=3 {
        client.ask(SLEEP, id, &[0; 100]).await;
    }
    client.ask(ECHO, 4, b"behind").await;
    client.expect(ok(1, "slept")).await;
    client.expect(ok(2, "slept")).await;
    client.expect(ok(4, "behind")).await;
    near(began.elapsed(), ms(100));
    client.expect(ok(3, "slept")).await;
    near(began.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn l6_refuses_tasks_and_goes_on_reading() {
    let server = server(limits(|l| l.task_limit = 1), Timeouts::default());
    let (mut one, mut other) = (WireClient::connect(&server), WireClient::connect(&server));
    one.ask(SLEEP, 1, &[0; 100]).await;
    sleep(ms(1)).await;
    other.ask(ECHO, 1, b"refused").await;
    other.expect(Answer::Error(1, ErrorCode::UNAVAILABLE)).await;
    one.expect(ok(1, "slept")).await;
    other.ask(ECHO, 1, b"taken").await;
    other.expect(ok(1, "taken")).await;
    assert_eq!(server.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_registration_refuses_what_is_over_its_own_limit() {
    let limited = Registration::task(async |_, _| {
        sleep(ms(100)).await;
        Ok(())
    });
    let server = with_tasks(Server::builder())
        .register(TaskCode(9), "limited", limited.max_in_flight(1))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(9, 1, b"").await;
    client.ask(9, 2, b"").await;
    client
        .expect(Answer::Error(2, ErrorCode::UNAVAILABLE))
        .await;
    assert_eq!(
        server.registration(TaskCode(9)).unwrap().in_flight(),
        Some(1)
    );
    client.expect(ok(1, "")).await;
    client.ask(9, 3, b"").await;
    client.expect(ok(3, "")).await;
}

#[tokio::test(start_paused = true)]
async fn l7_unsent_bytes_pause_reading_until_they_are_taken() {
    let server = server(limits(|l| l.unsent_limit_bytes = 500), Timeouts::default());
    let mut client = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    let handle = loop {
        tokio::task::yield_now().await;
        if let Some(handle) = server.clients().pop() {
            break handle;
        }
    };
    client.ask(ECHO, 1, &[1; 600]).await;
    sleep(ms(10)).await;
    // It does not fit the pipe to the server unless somebody reads there.
    let more = request(SLEEP, 2, &[0; 200]);
    let sent = tokio::time::timeout(ms(50), client.stream.write_all(&more)).await;
    assert!(sent.is_err(), "reading goes on");
    assert!(handle.tasks().is_empty());
    client.expect(ok(1, vec![1; 600])).await;
}

#[tokio::test(start_paused = true)]
async fn l7_of_the_server_pauses_all_and_wakes_them() {
    let server = server(
        limits(|l| l.server_unsent_limit_bytes = 500),
        Timeouts::default(),
    );
    let mut full = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    let mut other = WireClient::connect(&server);
    full.ask(ECHO, 1, &[1; 600]).await;
    sleep(ms(10)).await;
    other.ask(ECHO, 1, b"later").await;
    other.expect_silence(ms(100)).await;
    full.expect(ok(1, vec![1; 600])).await;
    other.expect(ok(1, "later")).await;
}

#[tokio::test(start_paused = true)]
async fn l8_closes_the_newest_connection_at_once() {
    let server = server(limits(|l| l.connection_limit = 1), Timeouts::default());
    let mut first = WireClient::connect(&server);
    first.ask(ECHO, 1, b"x").await;
    first.expect(ok(1, "x")).await;
    let second = WireClient::connect(&server).end().await;
    assert_eq!(second.reason, EndReason::Refused { limit: 1 });
    drop(first.stream);
    first.connection.await.unwrap();
    let mut third = WireClient::connect(&server);
    third.ask(ECHO, 1, b"x").await;
    third.expect(ok(1, "x")).await;
}

/// Never ends.
struct Endless;

impl<S: Transport> Handshake<S> for Endless {
    type Transport = S;

    async fn perform(
        &self,
        _stream: S,
        _: &Endpoints,
    ) -> Result<(S, ConnectionOptions), HandshakeError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn l9_ends_a_handshake_that_takes_too_long() {
    let server = server(Limits::default(), timeouts(|t| t.handshake = ms(700)));
    let (listener, connector) = memory::listener("server", 64);
    let _serving = server.serve_with(listener, Endless);
    let began = Instant::now();
    let mut stream = connector.connect("client").unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    near(began.elapsed(), ms(700));
}

#[tokio::test(start_paused = true)]
async fn l10_is_the_grace_of_a_connection_whose_context_ends() {
    let server = server(Limits::default(), timeouts(|t| t.grace = ms(300)));
    let context = tokio_util::sync::CancellationToken::new();
    let options = ConnectionOptions::default().context(context.clone());
    let mut client = WireClient::connect_with(&server, 1000, options);
    client.ask(SLEEP, 1, &[0; 900]).await;
    sleep(ms(10)).await;
    context.cancel();
    let began = Instant::now();
    let report = client.end().await;
    near(began.elapsed(), ms(300));
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert!(report.deadline_reached);
    assert_eq!(report.interrupted[0].state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn l11_is_how_long_the_end_waits_for_the_clients_own() {
    let server = server(Limits::default(), timeouts(|t| t.linger = ms(250)));
    let mut client = WireClient::connect(&server);
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    let began = Instant::now();
    server.disconnect(Duration::from_secs(10));
    assert_eq!(client.answer().await, None);
    let report = client.connection.await.unwrap();
    near(began.elapsed(), ms(250));
    assert!(!report.deadline_reached);
}

/// Reads one byte, then neither reads nor returns.
struct Stuck;

impl TaskFunction for Stuck {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        message.read_u8().await?;
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn l14_drops_a_task_function_that_neither_reads_nor_returns() {
    let server = with_tasks(Server::builder())
        .timeouts(timeouts(|t| t.task_function = ms(300)))
        .task_function(TaskCode(9), "stuck", Stuck)
        .build();
    let mut client = WireClient::connect(&server);
    // While the client is late, nobody blames the task function.
    client.send(&request(9, 1, b"abc")[..5]).await;
    client.expect_silence(ms(1000)).await;
    let began = Instant::now();
    client.send(&request(9, 1, b"abc")[5..]).await;
    client.expect(Answer::Error(1, ErrorCode::DEADLINE)).await;
    near(began.elapsed(), ms(300));
    client.ask(ECHO, 1, b"goes on").await;
    client.expect(ok(1, "goes on")).await;
}

/// A body that gives some bytes and then no more.
fn stalling(bytes: usize) -> Response {
    let some = std::io::Cursor::new(vec![7; bytes]);
    let (reader, writer) = tokio::io::duplex(1);
    std::mem::forget(writer);
    Response::reader(some.chain(reader))
}

#[tokio::test(start_paused = true)]
async fn l15_answers_a_body_that_stalls_before_its_response_has_begun() {
    let server = with_tasks(Server::builder())
        .timeouts(timeouts(|t| t.body = ms(300)))
        .task(TaskCode(9), "stalls", async |_, _| Ok(stalling(1000)))
        .build();
    let mut client = WireClient::connect(&server);
    let began = Instant::now();
    client.ask(9, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode::DEADLINE)).await;
    near(began.elapsed(), ms(300));
    client.ask(ECHO, 1, b"goes on").await;
    client.expect(ok(1, "goes on")).await;
}

#[tokio::test(start_paused = true)]
async fn l15_ends_the_connection_of_a_body_that_stalls_later() {
    let server = with_tasks(Server::builder())
        .timeouts(timeouts(|t| t.body = ms(300)))
        .task(TaskCode(9), "stalls", async |_, _| Ok(stalling(70_000)))
        .build();
    let mut client = WireClient::connect(&server);
    let began = Instant::now();
    client.ask(9, 1, b"").await;
    let mut begun = Vec::new();
    client.stream.read_to_end(&mut begun).await.unwrap();
    near(began.elapsed(), ms(300));
    assert!(
        begun.starts_with(&[0, 0, 0, 0, 1, 255, 7]),
        "{:?}",
        &begun[..7]
    );
    drop(client.stream);
    let report = client.connection.await.unwrap();
    assert!(
        matches!(report.reason, EndReason::Body { .. }),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn l16_held_messages_pause_their_connection() {
    let server = server(limits(|l| l.held_limit_bytes = 150), Timeouts::default());
    let mut client = WireClient::connect(&server);
    let began = Instant::now();
    client.ask(SLEEP, 1, &[0; 200]).await;
    client.ask(ECHO, 2, b"behind").await;
    client.expect(ok(1, "slept")).await;
    client.expect(ok(2, "behind")).await;
    near(began.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn l16_held_messages_of_all_refuse_tasks() {
    let server = server(
        limits(|l| l.server_held_limit_bytes = 150),
        Timeouts::default(),
    );
    let (mut one, mut other) = (WireClient::connect(&server), WireClient::connect(&server));
    one.ask(SLEEP, 1, &[0; 200]).await;
    sleep(ms(1)).await;
    other.ask(ECHO, 1, b"refused").await;
    other.expect(Answer::Error(1, ErrorCode::UNAVAILABLE)).await;
    one.expect(ok(1, "slept")).await;
    other.ask(ECHO, 2, b"taken").await;
    other.expect(ok(2, "taken")).await;
}

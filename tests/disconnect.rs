//! Every transition of PROTOCOL section 8, and its deadlines (D1–D5).

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, Features, TaskCode};
use tokio::time::{Instant, sleep, timeout};
use wire_client::*;

/// Told to cancel, it ends when its grace of 2 s is over.
const COOPERATES: u8 = 3;
/// A body that has begun and never ends.
const ENDLESS: u8 = 4;
/// What is sent of it: the rest does not fill a block (N4).
const BEGUN: usize = 5 + 70_000 / 255 * 256;
/// Fails without a code.
const BREAK: u8 = 5;
const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    let grace = SECOND * 2;
    let cooperates = Registration::task(async |_, _| {
        sleep(SECOND * 1000).await;
        Ok(())
    });
    with_echo_and_sleep(Server::builder())
        .register(
            TaskCode(COOPERATES),
            "cooperates",
            cooperates.on_cancel(OnCancel::Cooperate { grace }),
        )
        .task(TaskCode(ENDLESS), "endless", async |_, _| {
            let (reader, writer) = tokio::io::duplex(1 << 17);
            let mut writer = writer;
            tokio::io::AsyncWriteExt::write_all(&mut writer, &[7; 70_000])
                .await
                .unwrap();
            std::mem::forget(writer);
            Ok(Response::reader(reader))
        })
        .task(TaskCode(BREAK), "break", async |_, _| {
            Err::<(), _>(TaskError::fatal("broken"))
        })
        .build()
}

/// A client, and its handle.
async fn connected(server: &Server) -> (WireClient, ClientHandle) {
    let client = WireClient::connect(server);
    let handle = only_client(server).await;
    (client, handle)
}

#[tokio::test(start_paused = true)]
async fn open_drains_lingers_and_closes() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(SLEEP, 1, &[0; 100]).await;
    settle().await;
    assert!(handle.is_open());
    handle.disconnect(SECOND * 10);
    assert!(!handle.is_open());
    client.expect(ok(1, "slept")).await;
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert!(!report.deadline_reached);
    assert_eq!(report.counts.ok, 1);
    assert!(
        report.lasted < SECOND,
        "the client's end of stream ends Lingering"
    );
}

#[tokio::test(start_paused = true)]
async fn d1_what_comes_after_the_call_is_discarded() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(SLEEP, 1, &[0; 100]).await;
    settle().await;
    handle.disconnect(SECOND * 10);
    client.ask(ECHO, 2, b"too late").await;
    client
        .send(b"no request at all, but a duplicate and unfinished one")
        .await;
    client.expect(ok(1, "slept")).await;
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert_eq!(report.counts.accepted, 1);
    assert_eq!(report.bytes_read, 107 + 15 + 53);
}

#[tokio::test(start_paused = true)]
async fn d1_an_end_of_stream_that_came_before_the_call_is_discarded_too() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(SLEEP, 1, &[0; 100]).await;
    settle().await;
    client.end_of_stream().await;
    // Nobody has looked at it yet.
    handle.disconnect(SECOND * 10);
    client.expect(ok(1, "slept")).await;
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
}

#[tokio::test(start_paused = true)]
async fn d1_a_request_that_is_not_wholly_read_is_not_accepted() {
    for sent in [1, 5, 6, 8] {
        let server = server();
        let (mut client, handle) = connected(&server).await;
        client.send(&request(ECHO, 1, b"abc")[..sent]).await;
        settle().await;
        handle.disconnect(SECOND);
        assert!(handle.tasks().is_empty());
        client.send(&request(ECHO, 1, b"abc")[sent..]).await;
        let report = client.end().await;
        assert_eq!(report.counts, RequestCounts::default());
        assert_eq!(report.reason, EndReason::GracefulDisconnect);
    }
}

#[tokio::test(start_paused = true)]
async fn d2_the_shortest_counted_from_its_own_call_wins() {
    let cases = [
        // (first, second half a second later, the end)
        (SECOND * 3, SECOND * 5, SECOND * 3),
        (SECOND * 3, SECOND, ms(1500)),
        (Duration::MAX, SECOND, ms(1500)),
        (SECOND * 3, Duration::MAX, SECOND * 3),
        (SECOND * 3, Duration::ZERO, ms(500)),
    ];
    for (first, second, end) in cases {
        let server = server();
        let (mut client, handle) = connected(&server).await;
        client.ask(SLEEP, 1, &vec![0; 60_000]).await;
        settle().await;
        let began = Instant::now();
        handle.disconnect(first);
        sleep(ms(500)).await;
        handle.disconnect(second);
        let report = client.end().await;
        assert_eq!(began.elapsed(), end, "{first:?}, {second:?}");
        assert!(report.deadline_reached);
        assert_eq!(report.interrupted[0].state, TaskState::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn d2_a_duration_that_the_clock_cannot_add_is_no_deadline() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(SLEEP, 1, &vec![0; 60_000]).await;
    settle().await;
    handle.disconnect(Duration::MAX);
    client.expect(ok(1, "slept")).await;
    assert!(!client.end().await.deadline_reached);
}

#[tokio::test(start_paused = true)]
async fn d3_an_idle_connection_ends_at_once() {
    let server = server();
    let (client, handle) = connected(&server).await;
    let began = Instant::now();
    handle.disconnect(SECOND * 10);
    client.end().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn d3_lingering_never_lasts_past_the_deadline() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    handle.disconnect(SECOND);
    let began = Instant::now();
    assert_eq!(client.answer().await, None);
    let report = client.connection.await.unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert!(!report.deadline_reached, "nothing was cut short");
    drop(client.stream);
}

#[tokio::test(start_paused = true)]
async fn d4_at_the_deadline_whatever_still_runs_is_named() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(ENDLESS, 4, b"").await;
    settle().await;
    client.ask(SLEEP, 3, &vec![0; 60_000]).await;
    client.ask(COOPERATES, 2, b"").await;
    client.ask(COOPERATES, 1, b"").await;
    settle().await;
    handle.cancel(id(1));
    handle.disconnect(ms(1500));
    let rest = client.rest().await;
    assert_eq!(rest.len(), BEGUN);
    let report = client.finish().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert!(report.deadline_reached);
    let named: Vec<_> = report
        .interrupted
        .iter()
        .map(|task| (task.id.0, task.state))
        .collect();
    let expected = [
        (1, TaskState::Cancelling),
        (2, TaskState::Running),
        (3, TaskState::Running),
        (4, TaskState::Responding),
    ];
    assert_eq!(named, expected);
    // Those that cooperate keep their grace, one from its own cancel.
    assert_eq!(server.task_count(), 2);
    sleep(ms(501)).await;
    assert_eq!(server.task_count(), 1);
    sleep(ms(1500)).await;
    assert_eq!(server.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn d5_close_closes_at_once_in_every_state() {
    // What leads to the state, and the reason that stays.
    type Prepare = fn(&mut WireClient, &ClientHandle);
    let states: [(&str, Prepare, EndReason); 4] = [
        ("open", |_, _| (), EndReason::Aborted),
        (
            "draining",
            |client, handle| {
                assert!(client.try_send(&request(COOPERATES, 1, b"")));
                handle.cancel(id(1));
                handle.disconnect(SECOND * 100);
            },
            EndReason::GracefulDisconnect,
        ),
        (
            "lingering",
            |_, handle| handle.disconnect(SECOND),
            EndReason::GracefulDisconnect,
        ),
        (
            "failing",
            |client, _| {
                let broken = [request(ECHO, 2, &[7; 60_000]), request(BREAK, 1, b"")].concat();
                assert!(client.try_send(&broken));
            },
            EndReason::RunFunction {
                id: id(1),
                code: TaskCode(BREAK),
                error: "broken".into(),
            },
        ),
    ];
    for (name, prepare, reason) in states {
        let server = server();
        let small = ConnectionOptions::default();
        let mut client = WireClient::connect_with(&server, 62_000, small);
        let handle = only_client(&server).await;
        prepare(&mut client, &handle);
        settle().await;
        let began = Instant::now();
        handle.close();
        // The client neither reads nor ends its stream.
        let report = timeout(ms(1), client.connection)
            .await
            .expect(name)
            .unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(report.reason, reason, "{name}");
        assert!(!report.deadline_reached);
        assert_eq!(server.client_count(), 0);
        drop(client.stream);
    }
}

#[tokio::test(start_paused = true)]
async fn d5_close_sends_no_goodbye_and_nothing_that_is_queued() {
    let server = server();
    let mut client = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    client.negotiate(Features::GOODBYE).await;
    client.ask(ECHO, 1, &[7; 500]).await;
    let handle = only_client(&server).await;
    handle.close();
    settle().await;
    let rest = client.rest().await;
    assert_eq!(rest.len(), 64, "what the transport had taken");
    let report = client.finish().await;
    assert_eq!(report.reason, EndReason::Aborted);
    assert_eq!(report.interrupted[0].state, TaskState::Responding);
}

#[tokio::test(start_paused = true)]
async fn d5_disconnect_zero_still_writes_what_one_turn_can() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.negotiate(Features::GOODBYE).await;
    client.ask(COOPERATES, 1, b"").await;
    settle().await;
    handle.disconnect(Duration::ZERO);
    client.expect(Answer::Goodbye(2)).await;
    let report = client.end().await;
    assert!(report.deadline_reached);
    assert_eq!(report.interrupted.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn d8_a_connection_error_still_writes_what_is_finished() {
    let server = server();
    let (mut client, _) = connected(&server).await;
    client.ask(SLEEP, 1, &[0; 1000]).await;
    let broken = [request(ECHO, 2, &[7; 60_000]), request(BREAK, 3, b"")].concat();
    client.send(&broken).await;
    client.expect(ok(2, vec![7; 60_000])).await;
    let report = client.end().await;
    assert!(matches!(report.reason, EndReason::RunFunction { .. }));
    assert_eq!((report.counts.ok, report.counts.interrupted), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn d8_nothing_behind_a_response_that_is_never_whole_is_written() {
    let server = server();
    let (mut client, _) = connected(&server).await;
    client.negotiate(Features::GOODBYE).await;
    client.ask(ENDLESS, 1, b"").await;
    settle().await;
    client.ask(250, 2, b"").await;
    client.ask(BREAK, 3, b"").await;
    let rest = client.rest().await;
    assert_eq!(rest.len(), BEGUN);
    let report = client.finish().await;
    let states: Vec<_> = report
        .interrupted
        .iter()
        .map(|task| (task.id.0, task.state))
        .collect();
    let expected = [
        (1, TaskState::Responding),
        (2, TaskState::Responding),
        (3, TaskState::Running),
    ];
    assert_eq!(states, expected);
    assert_eq!(report.bytes_written as usize, rest.len() + 27 + 1);
}

#[tokio::test(start_paused = true)]
async fn d8_failing_keeps_to_a_deadline_and_to_the_write_limit() {
    for (deadline, end) in [(Duration::MAX, SECOND * 32), (SECOND, SECOND)] {
        let server = server();
        let mut client = WireClient::connect_with(&server, 20_000, ConnectionOptions::default());
        let handle = only_client(&server).await;
        client.ask(ECHO, 1, &[7; 60_000]).await;
        client.send(&[ECHO]).await;
        settle().await;
        let began = Instant::now();
        client.end_of_stream().await;
        settle().await;
        handle.disconnect(deadline);
        let report = client.connection.await.unwrap();
        assert!(
            matches!(report.reason, EndReason::Protocol(_)),
            "{report:?}"
        );
        assert!(began.elapsed() <= end + ms(100), "{:?}", began.elapsed());
        assert_eq!(report.deadline_reached, deadline == SECOND);
        assert_eq!(report.counts.interrupted, 1);
        drop(client.stream);
    }
}

#[tokio::test(start_paused = true)]
async fn d9_an_error_while_draining_replaces_the_reason_and_one_while_lingering_does_not() {
    let server = server();
    let breaks = Registration::task(async |_, _| {
        sleep(ms(50)).await;
        Err::<(), _>(TaskError::fatal("broken"))
    });
    server.register(TaskCode(6), "breaks", breaks).unwrap();
    let (mut client, handle) = connected(&server).await;
    client.ask(6, 1, b"").await;
    settle().await;
    handle.disconnect(SECOND);
    let report = client.end().await;
    assert!(
        matches!(report.reason, EndReason::RunFunction { .. }),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_while_draining_is_answered() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(SLEEP, 1, &vec![0; 60_000]).await;
    settle().await;
    handle.disconnect(SECOND * 10);
    handle.cancel_all();
    client.expect(Answer::Error(1, ErrorCode::CANCELLED)).await;
    assert!(!client.end().await.deadline_reached);
}

#[tokio::test(start_paused = true)]
async fn d8_a_connection_error_lingers_as_a_graceful_end_does() {
    let server = server();
    let (mut client, handle) = connected(&server).await;
    client.ask(BREAK, 1, b"").await;
    let began = Instant::now();
    assert_eq!(client.answer().await, None);
    // What the client still sends is discarded meanwhile.
    client.send(&[7; 1000]).await;
    let report = client.connection.await.unwrap();
    assert_eq!(began.elapsed(), Timeouts::default().linger);
    assert!(matches!(report.reason, EndReason::RunFunction { .. }));
    assert_eq!(report.bytes_read, 1006);
    assert!(handle.tasks().is_empty());
    drop(client.stream);
}

#[tokio::test(start_paused = true)]
async fn d1_a_request_that_waits_for_its_place_is_not_accepted() {
    let mut limits = Limits::default();
    limits.in_flight_limit = 1;
    let server = with_echo_and_sleep(Server::builder().limits(limits)).build();
    let (mut client, handle) = connected(&server).await;
    client.negotiate(Features::GOODBYE).await;
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    settle().await;
    handle.disconnect(SECOND * 10);
    client.expect(Answer::Goodbye(2)).await;
    client.expect(ok(1, "slept")).await;
    assert_eq!(client.end().await.counts.accepted, 2);
    assert_eq!(server.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn d9_a_write_timeout_while_draining_replaces_the_reason() {
    let server = server();
    let mut client = WireClient::connect_with(&server, 1000, ConnectionOptions::default());
    let handle = only_client(&server).await;
    client.ask(ECHO, 1, &[7; 60_000]).await;
    settle().await;
    handle.disconnect(Duration::MAX);
    let report = client.connection.await.unwrap();
    assert_eq!(report.reason, EndReason::WriteTimeout);
    assert_eq!(report.interrupted[0].state, TaskState::Responding);
    drop(client.stream);
}

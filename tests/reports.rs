//! Every reason for which a connection ends, and its report (PROTOCOL D9).

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// Never ends by itself.
const ENDLESS: u8 = 2;
/// Fails in a way that its message's first byte chooses.
const FAIL: u8 = 3;
const REJECT: u8 = 4;
/// Takes 10 bytes.
const LIMITED: u8 = 5;
/// What the client has, in a pipe, before it has to read.
const PIPE: usize = 4000;

fn server() -> Server {
    let mut timeouts = Timeouts::default();
    timeouts.wait = ms(300);
    timeouts.read = ms(300);
    timeouts.write = ms(300);
    Server::builder()
        .timeouts(timeouts)
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(ENDLESS), "endless", async |_, _| {
            std::future::pending::<Result<(), _>>().await
        })
        .task(
            TaskCode(FAIL),
            "fail",
            async |_, message: Bytes| match message[0] {
                0 => Err(TaskError::fatal("broken")),
                _ => {
                    let error = Err::<Bytes, _>(TaskError::fatal("torn"));
                    Ok(Response::stream(futures_util::stream::iter([error])))
                }
            },
        )
        .register(
            TaskCode(REJECT),
            "reject",
            reading(|_, _| Box::pin(async { Err("rejected".into()) })),
        )
        .register(
            TaskCode(LIMITED),
            "limited",
            Registration::task(async |_, message| Ok(message)).message_limit_bytes(10),
        )
        .build()
}

/// Two `OK`, one `Error`, one cancelled, one Cancel, and one task that is still running.
async fn traffic(client: &mut WireClient) {
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    client.ask(250, 1, b"").await;
    client.expect(ok(1, "")).await;
    client.ask(99, 1, b"").await;
    client
        .expect(Answer::Error(1, ErrorCode::UNKNOWN_TASK))
        .await;
    client.ask(ENDLESS, 1, b"").await;
    settle().await;
    client.ask(251, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode::CANCELLED)).await;
    client.ask(ENDLESS, 77, b"").await;
    settle().await;
}

/// Ends a connection, and says for which reason.
type Cause = fn(&mut WireClient, &ClientHandle) -> &'static str;

fn send(client: &mut WireClient, code: u8, message: &[u8]) {
    assert!(client.try_send(&request(code, 5, message)));
}

const CAUSES: [Cause; 11] = [
    |_, handle| {
        handle.disconnect(ms(100));
        "graceful disconnection"
    },
    |client, _| {
        assert!(client.try_end_of_stream());
        "client closed"
    },
    |client, _| {
        assert!(client.try_send(&[ECHO, 0]));
        "read timeout"
    },
    |client, _| {
        send(client, ECHO, &[]);
        send(client, ECHO, &[]);
        assert!(client.try_send(&[ECHO, 0]));
        assert!(client.try_end_of_stream());
        "protocol error: "
    },
    |client, _| {
        assert!(client.try_send(&request(ECHO, 77, &[])));
        "protocol error: duplicate task id 77"
    },
    |client, _| {
        // A block that does not come.
        assert!(client.try_send(&[ECHO, 0, 0, 0, 9, 255]));
        "read "
    },
    |client, _| {
        send(client, LIMITED, &[0; 11]);
        "message too long: task 5 (task code 5) has more than 10 bytes"
    },
    |client, _| {
        send(client, REJECT, &[]);
        "task function error: task 5 (task code 4): rejected"
    },
    |client, _| {
        send(client, FAIL, &[0]);
        "run function error: task 5 (task code 3): broken"
    },
    |client, _| {
        send(client, FAIL, &[1]);
        "body error: task 5 (task code 3): torn"
    },
    |_, handle| {
        handle.close();
        "aborted"
    },
];

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_connection_its_counts_add_up() {
    for cause in CAUSES {
        let server = server();
        let mut client = WireClient::connect_with(&server, PIPE, ConnectionOptions::default());
        let handle = only_client(&server).await;
        traffic(&mut client).await;
        let reason = cause(&mut client, &handle);
        while client.answer().await.is_some() {}
        let report = client.finish().await;
        let words = report.reason.to_string();
        assert!(words.starts_with(reason), "{words}, not {reason}");
        let counts = report.counts;
        assert!(counts.ok >= 2 && counts.errors == 1, "{words}: {counts:?}");
        assert_eq!((counts.cancelled, counts.cancels), (1, 1), "{words}");
        assert!(report.interrupted.iter().any(|task| task.id == id(77)));
        assert_eq!(counts.interrupted, report.interrupted.len() as u64);
        assert_eq!(report.deadline_reached, reason == "graceful disconnection");
        assert!(report.stuck.is_empty() && report.lasted > ms(0));
        assert_eq!(
            report.reason.is_expected(),
            reason.starts_with("graceful") || reason == "client closed"
        );
        settle().await;
        assert_eq!((server.task_count(), server.client_count()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_nothing_to_do_ends_with_its_own_reason() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::TimeoutWaitingForTask);
    assert!(report.reason.is_expected() && !report.deadline_reached);
    assert_eq!((report.counts.accepted, report.counts.ok), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_in_both_directions() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.ask(ECHO, 1, &[7; 300]).await;
    client.expect(ok(1, vec![7; 300])).await;
    client.send(&request(ENDLESS, 2, b"abc")[..7]).await;
    settle().await;
    server.disconnect(ms(100));
    // Discarded bytes came, too.
    client.send(&[0; 10]).await;
    let report = client.end().await;
    assert_eq!(report.bytes_written, 5 + 300 + 3);
    assert_eq!(report.bytes_read, 5 + 300 + 3 + 7 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_response_counts_once_the_transport_has_taken_its_last_byte() {
    // What the pipe takes of two responses of 15 bytes, and how many are then answered.
    for (taken, answered) in [(14, 0), (15, 1), (29, 1), (30, 2)] {
        let server = server();
        let mut client = WireClient::connect_with(&server, taken, ConnectionOptions::default());
        for task in 1..=2 {
            client.ask(ECHO, task, &[7; 8]).await;
            settle().await;
        }
        only_client(&server).await.close();
        settle().await;
        let report = client.finish().await;
        assert_eq!(report.counts.ok, answered, "{taken} bytes");
        assert_eq!(report.counts.interrupted, 2 - answered);
        let states = report.interrupted.iter().map(|task| task.state);
        assert!(
            states
                .into_iter()
                .all(|state| state == TaskState::Responding)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_requests_are_named_by_id() {
    let server = server();
    let mut client = WireClient::connect_with(&server, 50, ConnectionOptions::default());
    for id in [9, 3, 200, 1] {
        client.ask(ENDLESS, id, b"").await;
    }
    client.ask(ECHO, 5, &[7; 100]).await;
    settle().await;
    client.ask(250, 4, b"").await;
    client.send(&request(ECHO, 6, b"never whole")[..9]).await;
    settle().await;
    only_client(&server).await.close();
    sleep(Duration::from_secs(1)).await;
    let mut some = vec![0; 1000];
    let read = client.stream.read(&mut some).await.unwrap();
    assert_eq!(read, 50);
    let report = client.finish().await;
    let named: Vec<_> = report
        .interrupted
        .iter()
        .map(|task| (task.id.0, task.code.0))
        .collect();
    let expected = [
        (1, ENDLESS),
        (3, ENDLESS),
        (4, 250),
        (5, ECHO),
        (9, ENDLESS),
        (200, ENDLESS),
    ];
    assert_eq!(named, expected);
}

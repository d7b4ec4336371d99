//! What a connection's turn finds waiting, and in which order it takes it
//! (PROTOCOL L7, L13, D6).

mod wire_client;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use asyncserver::runtime::Transport;
use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::time::advance;
use tokio_util::io::{InspectReader, InspectWriter};
use tokio_util::sync::CancellationToken;
use wire_client::*;

const MINUTE: Duration = Duration::from_secs(60);

fn server(set: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    set(&mut limits);
    with_echo_and_sleep(Server::builder().limits(limits)).build()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_held_up_does_not_blame_its_client_for_reading_late() {
    for cut in [3, 9] {
        let mut client = WireClient::connect(&server(|_| ()));
        let bytes = request(ECHO, 1, b"message");
        client.send(&bytes[..cut]).await;
        settle().await;
        // The bytes are there before the time is over, and nobody looks at them until then.
        assert!(client.try_send(&bytes[cut..]));
        advance(MINUTE).await;
        client.expect(ok(1, "message")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_held_up_does_not_blame_its_client_for_writing_late() {
    let server = server(|_| ());
    let mut client = WireClient::connect_with(&server, 600, ConnectionOptions::default());
    client.ask(ECHO, 1, &[7; 1000]).await;
    settle().await;
    let mut some = [0; 600];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut some)
        .await
        .unwrap();
    // There is room for all of it before the time is over.
    advance(MINUTE).await;
    let rest = client.rest().await;
    assert_eq!(some.len() + rest.len(), 5 + 1000 + 4 + 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_finished_when_the_deadline_comes_is_still_sent() {
    let may_end = Arc::new(Notify::new());
    let waits = may_end.clone();
    let server = server(|_| ());
    let tested = Registration::task(move |_, _| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok("just in time")
        }
    });
    server.register(TaskCode(3), "waits", tested).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(3, 1, b"").await;
    settle().await;
    server.disconnect(MINUTE);
    settle().await;
    may_end.notify_one();
    // It ends, and is in the ledger, in the turn in which the deadline has come.
    tokio::task::yield_now().await;
    advance(MINUTE).await;
    client.expect(ok(1, "just in time")).await;
    assert_eq!(client.end().await.counts.ok, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keep_alives_is_bounded_by_what_the_client_takes() {
    let server = server(|limits| limits.unsent_limit_bytes = 1000);
    let mut client = WireClient::connect_with(&server, 1000, ConnectionOptions::default());
    let mut sent = 0;
    let flood = async {
        loop {
            client.send(&request(250, sent, b"")).await;
            sent += 1;
        }
    };
    let _ = tokio::time::timeout(ms(4000), flood).await;
    // Two pipes, what is unsent, and one buffer of the server's.
    assert!(sent < 15_000, "{sent} were taken");
    for _ in 0..sent - 1 {
        assert!(client.answer().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_cancels_is_taken() {
    let server = server(|limits| limits.unsent_limit_bytes = 100);
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    let cancels: Vec<_> = (2..2000)
        .map(|id| request(251, id, b"no such task"))
        .collect();
    client.send(&cancels.concat()).await;
    client.expect(ok(1, "slept")).await;
    let report = client.finish().await;
    assert_eq!(
        (report.counts.accepted, report.counts.cancels),
        (1999, 1998)
    );
}

#[tokio::test(start_paused = true)]
async fn l7_of_the_server_forgets_what_a_closed_connection_had_unsent() {
    let server = server(|limits| limits.server_unsent_limit_bytes = 500);
    let mut full = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    let mut other = WireClient::connect(&server);
    full.ask(ECHO, 1, &[1; 600]).await;
    settle().await;
    other.ask(ECHO, 1, b"later").await;
    other.expect_silence(ms(100)).await;
    server.clients()[0].close();
    other.expect(ok(1, "later")).await;
}

#[tokio::test(start_paused = true)]
async fn d6_a_context_that_has_ended_before_is_a_disconnect_at_once() {
    let context = CancellationToken::new();
    context.cancel();
    let options = ConnectionOptions::default().context(context);
    let client = WireClient::connect_with(&server(|_| ()), 100, options);
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert_eq!(report.lasted, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn d6_a_context_ends_its_own_connection_only() {
    let server = server(|_| ());
    let context = CancellationToken::new();
    let options = ConnectionOptions::default().context(context.clone());
    let one = WireClient::connect_with(&server, 100, options);
    let mut other = WireClient::connect(&server);
    settle().await;
    context.cancel();
    one.end().await;
    other.ask(ECHO, 1, b"x").await;
    other.expect(ok(1, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_at_once_are_each_answered_once() {
    let server = server(|_| ());
    let mut client = WireClient::connect(&server);
    let requests: Vec<_> = (0..1024)
        .map(|id| request(SLEEP, id, &vec![0; (id as usize * 7) % 50]))
        .collect();
    client.send(&requests.concat()).await;
    let mut answered: Vec<_> = Vec::new();
    for _ in 0..1024 {
        match client.answer().await {
            Some(Answer::Ok(id, _)) => answered.push(id),
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..1024));
    client.expect_silence(ms(1000)).await;
    assert_eq!(server.task_count(), 0);
}

/// How many bytes a transport has moved, and in how many writes.
#[derive(Clone, Default)]
struct Moved {
    read: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Moved {
    /// A transport that brings these at once, does not end, and takes all that is written.
    fn busy(&self, requests: impl Into<Vec<u8>>) -> impl Transport {
        let counts = self.clone();
        let (never, open) = tokio::io::duplex(1);
        let requests = io::Cursor::new(requests.into()).chain(never);
        let reader = InspectReader::new(requests, move |bytes| {
            counts.read.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        let counts = self.clone();
        let writer = InspectWriter::new(tokio::io::sink(), move |bytes| {
            let _ = &open;
            counts.writes.fetch_add(1, Ordering::Relaxed);
            counts.written.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        tokio::io::join(reader, writer)
    }
}

fn poll_once(connection: Pin<&mut impl Future>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connection.poll(&mut cx).is_pending());
}

/// L13: others get their turn, however much there is.
#[tokio::test(start_paused = true)]
async fn one_poll_of_a_connection_takes_a_bounded_part_of_what_waits() {
    const CALLS: [(Execution, usize, std::ops::RangeInclusive<usize>); 4] = [
        (Execution::Auto, 16, 512..=512),
        (Execution::Local, 16, 512..=512),
        // What goes to the executor has its turn first.
        (Execution::Spawn, 16, 256..=256),
        // Of each turn one read.
        (Execution::Auto, 1024, 240..=256),
    ];
    for (execution, length, expected) in CALLS {
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&calls);
        let counted = Registration::task(move |_, _| {
            counts.fetch_add(1, Ordering::Relaxed);
            async { Ok("") }
        });
        let server = Server::builder()
            .register(TaskCode(1), "counted", counted.execution(execution))
            .build();
        let requests = (0..1000).flat_map(|id| request(1, id, &vec![7; length]));
        let moved = Moved::default();
        let transport = moved.busy(requests.collect::<Vec<_>>());
        let connection = server.handle_connection(transport, ConnectionOptions::default());
        let mut connection = pin!(connection);
        poll_once(connection.as_mut());
        let called = calls.load(Ordering::Relaxed);
        assert!(
            expected.contains(&called),
            "{called} of {length} bytes, {execution:?}"
        );
        assert!(moved.read.load(Ordering::Relaxed) <= 4 * (64 << 10));
        // It has asked to be polled again: all are answered in the end.
        let end = tokio::time::timeout(MINUTE, connection);
        assert!(end.await.is_err(), "the transport has not ended");
        assert_eq!(calls.load(Ordering::Relaxed), 1000);
    }
}

/// The read buffer of 64 KiB ends where nobody meant a batch to end; what is behind two
/// of them waits for the write, or a client that never stops would not hear of any.
#[tokio::test(start_paused = true)]
async fn what_the_read_buffer_cut_is_answered_by_one_write() {
    for (requests, writes) in [(63, 1), (64, 1), (126, 1), (128, 2), (1000, 8)] {
        let moved = Moved::default();
        let all = (0..requests).flat_map(|id| request(ECHO, id, &[7; 1024]));
        let transport = moved.busy(all.collect::<Vec<_>>());
        let server = server(|_| ());
        let connection = server.handle_connection(transport, ConnectionOptions::default());
        let end = tokio::time::timeout(ms(100), connection);
        assert!(end.await.is_err(), "the transport has not ended");
        let answers = moved.written.load(Ordering::Relaxed);
        // An answer differs from its request in the first byte alone.
        let expected = requests as usize * request(ECHO, 1, &[7; 1024]).len();
        assert_eq!(answers, expected);
        assert_eq!(moved.writes.load(Ordering::Relaxed), writes, "{requests}");
    }
}

/// Of code 1: answers with 4 MiB, piece by piece.
fn server_of_long_bodies() -> Server {
    let long = Registration::task(async |_, _| {
        let pieces = futures_util::stream::repeat_with(|| Ok(vec![7; 32 << 10])).take(128);
        Ok(Response::stream(pieces))
    });
    Server::builder()
        .register(TaskCode(1), "long", long)
        .build()
}

/// What a turn leaves to a larger write does not let it take more requests.
#[tokio::test(start_paused = true)]
async fn one_poll_takes_no_more_requests_beside_a_body() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&calls);
    let server = server_of_long_bodies();
    let counted = Registration::task(move |_, _| {
        counts.fetch_add(1, Ordering::Relaxed);
        async { Ok("") }
    });
    server.register(TaskCode(2), "counted", counted).unwrap();
    let body = request(1, 1000, b"");
    let requests = (0..900).flat_map(|id| request(2, id, &[7; 16]));
    let requests: Vec<_> = body.into_iter().chain(requests).collect();
    let transport = Moved::default().busy(requests);
    let connection = server.handle_connection(transport, ConnectionOptions::default());
    let mut connection = pin!(connection);
    poll_once(connection.as_mut());
    assert_eq!(calls.load(Ordering::Relaxed), 511);
    let end = tokio::time::timeout(MINUTE, connection);
    assert!(end.await.is_err(), "the transport has not ended");
    assert_eq!(calls.load(Ordering::Relaxed), 900);
}

/// D5: it waits for no larger part.
#[tokio::test(start_paused = true)]
async fn a_disconnect_at_once_writes_what_has_come_of_a_body() {
    let server = server_of_long_bodies();
    let moved = Moved::default();
    let transport = moved.busy(request(1, 1, b""));
    let connection = server.handle_connection(transport, ConnectionOptions::default());
    let mut connection = pin!(connection);
    poll_once(connection.as_mut());
    let before = moved.written.load(Ordering::Relaxed);
    server.clients()[0].disconnect(Duration::ZERO);
    connection.await;
    let in_the_last_turn = moved.written.load(Ordering::Relaxed) - before;
    assert!(in_the_last_turn >= 64 << 10, "{in_the_last_turn}");
}

/// D5: one turn more may be one too many. The function of the last request ends the
/// connection, in the turn in which all were answered: of a batch that came whole, of more
/// of them than a turn takes, and of more bytes.
#[tokio::test(start_paused = true)]
async fn what_ends_its_connection_at_once_does_not_leave_its_answers_to_the_next_turn() {
    let leave = || {
        Registration::task(async |context: TaskContext, _| {
            context.client().disconnect(Duration::ZERO);
            Ok("")
        })
    };
    // How many calls, of how many bytes, and the last one that the first turn takes.
    for (calls, length, last) in [(63, 16, 62), (300, 16, 255), (64, 1024, 62)] {
        let server = server(|_| ());
        server.register(TaskCode(9), "leave", leave()).unwrap();
        let requests = (0..calls).flat_map(|id| {
            let code = if id == last { 9 } else { ECHO };
            request(code, id, &vec![7; length])
        });
        let moved = Moved::default();
        let transport = moved.busy(requests.collect::<Vec<_>>());
        let connection = server.handle_connection(transport, ConnectionOptions::default());
        connection.await;
        let written = moved.written.load(Ordering::Relaxed);
        let answers = last as usize * request(ECHO, 0, &vec![7; length]).len();
        assert!(
            written >= answers,
            "{written} of {answers} bytes, {calls} calls"
        );
    }
}

/// Each write wakes the client, and takes the kernel's work for it.
#[tokio::test(start_paused = true)]
async fn a_body_that_goes_on_is_written_in_large_parts() {
    let server = server_of_long_bodies();
    let moved = Moved::default();
    let transport = moved.busy(request(1, 1, b""));
    let connection = server.handle_connection(transport, ConnectionOptions::default());
    let mut connection = pin!(connection);
    poll_once(connection.as_mut());
    let in_one_poll = moved.written.load(Ordering::Relaxed);
    assert!(
        (512 << 10..=1100 << 10).contains(&in_one_poll),
        "{in_one_poll}"
    );
    let end = tokio::time::timeout(MINUTE, connection);
    assert!(end.await.is_err(), "the transport has not ended");
    let written = moved.written.load(Ordering::Relaxed);
    let body = 128 * (32 << 10);
    assert!((body..body + body / 200).contains(&written), "{written}");
    let writes = moved.writes.load(Ordering::Relaxed);
    assert!(written / writes > 200 << 10, "{writes} writes");
}

/// L13: a connection that always has more keeps nobody from what the runtime is told of.
#[test]
fn a_connection_that_always_has_more_lets_the_runtime_look_at_its_sockets() {
    // Nothing but the end of all that is ready has this runtime look at its sockets.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .event_interval(u32::MAX)
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = with_echo_and_sleep(Server::builder()).build();
        let requests = (0..100_000).flat_map(|id| request(ECHO, id, b""));
        let requests: Vec<_> = requests.collect();
        let all = requests.len();
        let moved = Moved::default();
        let transport = moved.busy(requests);
        let options = ConnectionOptions::default();
        let busy = tokio::spawn(async move { server.handle_connection(transport, options).await });
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"news", address).unwrap();
        socket.readable().await.unwrap();
        let read = moved.read.load(Ordering::Relaxed);
        assert!((1..all).contains(&read), "{read} of {all} bytes");
        busy.abort();
    });
}

//! What a burst leaves behind: a connection that is idle again holds next to
//! nothing, whatever it held before.

mod bare_connection;
mod manual_executor;
mod wire_client;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use asyncserver::proto::{
    CallSettings, Calls, ClientTimeouts, Connection, Input, Ledger, Negotiation, NewCall, Outbox,
    Outcome, RequestMessage, ResponseMode, TaskFinished,
};
use asyncserver::server::{ConnectionOptions, Registration, Server};
use asyncserver::wire::{
    ByteOrder, Response, TaskCode, TaskId, encode_message, encode_request_header,
};
use bare_connection::{Anything, POLICY, connection, deliver, message, request};
use bytes::{Buf, Bytes, BytesMut};
use manual_executor::ManualExecutor;
use tokio::io::AsyncReadExt;
use tokio_util::io::InspectWriter;

/// What `made` still holds on the heap, in bytes.
fn held<T>(make: impl FnOnce() -> T) -> i64 {
    let mut made = None;
    measure(|| made = Some(make())).bytes_current
}

/// More tasks at once than the tables keep room for.
#[test]
fn a_ledger_gives_back_what_a_burst_of_tasks_took() {
    let now = Instant::now();
    let burst = |tasks: u32| {
        let mut ledger = Ledger::new();
        let keys: Vec<_> = (0..tasks)
            .map(|id| ledger.begin(TaskId(id), TaskCode(1), POLICY, (), now))
            .collect();
        for key in keys {
            ledger.remove(key);
        }
        ledger
    };
    let (few, many) = (held(|| burst(64)), held(|| burst(10_000)));
    assert!(many <= 2 * few, "{many} bytes after 10,000, {few} after 64");
}

/// What one message of `length` bytes that comes in parts allocates, in bytes. It is
/// dropped at once.
fn allocated(connection: &mut Connection<()>, id: u32, length: usize, now: Instant) -> u64 {
    let request = request(id, length);
    let allocated = measure(|| {
        let payload = message(deliver(connection, &request, 60_000, now));
        assert!(payload.len() == length && payload.iter().all(|byte| *byte == b'x'));
    });
    allocated.bytes_total
}

/// What it would need for their results, and for more of them, it has only once it needs it.
#[tokio::test(start_paused = true)]
async fn a_group_that_waits_holds_its_members_and_a_waker_for_each() {
    // The list in which they come has room for twice as many by then.
    const MEMBERS: u32 = 33;
    let executor = ManualExecutor::default();
    let waits = Registration::task(async |_, message: Bytes| {
        std::future::pending::<()>().await;
        Ok(message)
    });
    let server = Server::builder()
        .executor(executor.clone())
        .register(TaskCode(1), "waits", waits)
        .build();
    let mut client = wire_client::WireClient::connect(&server);
    let requests: Vec<u8> = (0..MEMBERS)
        .flat_map(|id| wire_client::request(1, id, b""))
        .collect();
    client.send(&requests).await;
    wire_client::settle().await;
    let mut groups = executor.take_futures();
    assert_eq!(groups.len(), 1);
    let mut cx = Context::from_waker(Waker::noop());
    let held = held(|| groups[0].as_mut().poll(&mut cx).is_pending());
    assert!(held < 1000, "{held} bytes more than when they came");
}

/// However many of them are busy, none holds memory for its output.
#[test]
fn connections_of_a_thread_write_from_the_same_memory() {
    static LONG: [u8; 50_000] = [7; 50_000];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let long = Registration::task(async |_, _| Ok(Bytes::from_static(&LONG)));
    let server = Server::builder()
        .register(TaskCode(1), "long", long)
        .build();
    let written = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    let mut answer_on_another = || {
        let (never, open) = tokio::io::duplex(1);
        let input = AsyncReadExt::chain(io::Cursor::new(request(1, 0)), never);
        let count = Arc::clone(&written);
        let output = InspectWriter::new(tokio::io::sink(), move |bytes| {
            count.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        let transport = tokio::io::join(input, output);
        let connection = server.handle_connection(transport, ConnectionOptions::default());
        let mut connection = Box::pin(connection);
        let mut cx = Context::from_waker(Waker::noop());
        let answering = measure(|| assert!(connection.as_mut().poll(&mut cx).is_pending()));
        connections.push((connection, open));
        answering.bytes_total
    };
    let first = answer_on_another();
    assert!(first > LONG.len() as u64, "{first} bytes");
    for _ in 0..3 {
        let another = answer_on_another();
        assert!(another < 10_000, "{another} bytes");
    }
    assert!(written.load(Ordering::Relaxed) > 4 * LONG.len());
}

#[test]
fn the_memory_of_a_long_message_is_used_again_once_nobody_has_it() {
    let now = Instant::now();
    let mut connection = connection(now);
    let first = allocated(&mut connection, 0, 900_000, now);
    assert!(first > 900_000, "{first}");
    for id in 1..4 {
        let again = allocated(&mut connection, id, 900_000, now);
        assert!(again < 300_000, "{again}");
    }
    connection.shrink();
    let behind = allocated(&mut connection, 4, 900_000, now);
    assert!(behind > 900_000, "it has been given back: {behind}");
}

/// Many connections have one task at a time, and one answer.
#[test]
fn one_task_and_its_answer_take_less_than_half_of_what_two_take() {
    let now = Instant::now();
    let tasks = |tasks: u32| {
        let mut ledger = Ledger::new();
        for id in 0..tasks {
            ledger.begin(TaskId(id), TaskCode(1), POLICY, (), now);
        }
        ledger
    };
    let answers = |answers: u32| {
        let mut outbox = Outbox::new(ByteOrder::Big);
        for id in 0..answers {
            outbox.push_ok(TaskId(id), TaskCode(1), b"");
        }
        outbox
    };
    let (one, two) = (held(|| tasks(1)), held(|| tasks(2)));
    assert!(2 * one < two, "{one} bytes for one task, {two} for two");
    let (one, two) = (held(|| answers(1)), held(|| answers(2)));
    assert!(2 * one < two, "{one} bytes for one answer, {two} for two");
}

/// A connection on which so many tasks were live at once, and their responses
/// waited together; all is answered and taken.
fn after_burst(tasks: u32, now: Instant) -> Connection<()> {
    let mut connection = connection(now);
    let mut requests = BytesMut::new();
    for id in 0..tasks {
        encode_request_header(TaskCode(1), TaskId(id), ByteOrder::Big, &mut requests);
        encode_message(b"ping", &mut requests);
    }
    connection.handle_read(requests.len());
    let (mut at, mut keys) = (0, Vec::new());
    while let Some(input) = connection.handle_input(&requests, &mut at, &mut Anything, now) {
        let Input::Whole { key, .. } = input else {
            panic!("they came whole: {input:?}");
        };
        keys.push(key);
    }
    assert_eq!(keys.len(), tasks as usize, "L5 has room for them");
    let mut output = BytesMut::new();
    for (at, key) in keys.into_iter().enumerate() {
        let finished = connection.finished(key, Outcome::Whole(b"pong"), now);
        assert!(matches!(finished, TaskFinished::Removed(_)));
        if at == 0 {
            // The transport is slow: the others are fetched behind this one.
            connection.poll_output(&mut output);
        }
    }
    while connection.has_output() {
        connection.poll_output(&mut output);
        connection.handle_written(output.len());
        output.advance(output.len());
    }
    connection.take_actions();
    connection.shrink();
    connection
}

#[test]
fn an_idle_connection_keeps_nothing_of_a_burst() {
    let now = Instant::now();
    let fresh = held(|| after_burst(0, now));
    let used = held(|| after_burst(1_000, now));
    let most = fresh + 2_048;
    assert!(used <= most, "{used} bytes after a burst, {fresh} before");
}

/// What is in use is not taken away.
#[test]
fn a_connection_that_is_not_idle_keeps_its_tables() {
    let now = Instant::now();
    let mut ledger = Ledger::new();
    let keys: Vec<_> = (0..5_000)
        .map(|id| ledger.begin(TaskId(id), TaskCode(1), POLICY, id, now))
        .collect();
    for key in &keys[1..] {
        ledger.remove(*key);
    }
    ledger.shrink_to_fit();
    assert_eq!(ledger.find(TaskId(0)), Some(keys[0]));
    assert_eq!(ledger.task(keys[0]), Some(&0));
    assert_eq!(ledger.find(TaskId(1)), None);
}

/// A client that has sent one request, which may be Negotiate, and its id.
fn calls(negotiation: Negotiation, now: Instant) -> (Calls<()>, TaskId) {
    let settings = CallSettings {
        byte_order: ByteOrder::Big,
        negotiation,
        response_limit_bytes: 10 << 20,
        timeouts: ClientTimeouts::default(),
    };
    let mut calls = Calls::new(settings, now);
    if !calls.is_negotiating() {
        let call = NewCall {
            code: TaskCode(1),
            id: None,
            message: RequestMessage::Whole(Bytes::new()),
            response: ResponseMode::Whole,
            response_timeout: Duration::from_secs(1),
            context: (),
        };
        calls.start(call, now).expect("a place");
    }
    let mut output = BytesMut::new();
    calls.poll_output(&mut output, 1_000, now);
    calls.handle_written(output.len(), now);
    (calls, TaskId((&output[1..5]).get_u32()))
}

/// A response of 5 MB, in the parts in which it comes.
fn long_response(id: TaskId) -> BytesMut {
    let mut response = BytesMut::new();
    Response::Ok(id).encode(ByteOrder::Big, &mut response);
    encode_message(&vec![b'x'; 5_000_000], &mut response);
    response
}

/// The most that taking the response holds at any time, in bytes.
fn most_held(calls: &mut Calls<()>, response: &[u8], now: Instant) -> u64 {
    let taking = measure(|| {
        for part in response.chunks(10_000) {
            calls.handle_input(part, now).expect("no violation");
        }
    });
    taking.bytes_max
}

/// PROTOCOL C4, C8: nobody wants it.
#[test]
fn what_is_discarded_is_not_kept() {
    let now = Instant::now();
    let (mut calls, id) = calls(Negotiation::Skip, now);
    let response = long_response(id);
    let (begin, rest) = response.split_at(1_000);
    calls.handle_input(begin, now).expect("no violation");
    calls.give_up(id, now);
    let most = most_held(&mut calls, rest, now);
    assert!(most < 10_000, "{most} bytes");
}

/// PROTOCOL E3: what follows the fields is ignored.
#[test]
fn of_a_long_answer_to_negotiate_its_fields_are_kept() {
    let now = Instant::now();
    let (mut calls, id) = calls(Negotiation::Ask, now);
    let response = long_response(id);
    let most = most_held(&mut calls, &response[..4_000_000], now);
    assert!(most < 10_000, "{most} bytes");
}

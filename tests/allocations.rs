//! What a burst leaves behind: a connection that is idle again holds next to
//! nothing, whatever it held before.

use std::time::Instant;

use allocation_counter::measure;
use asyncserver::proto::{
    Admission, Connection, Delivery, Found, FunctionKind, Input, Ledger, OnCancel, Outcome, Policy,
    Settings, TaskFinished,
};
use asyncserver::proto::{Limits, Timeouts};
use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bytes::{Buf, BytesMut};

const POLICY: Policy = Policy {
    on_cancel: OnCancel::Drop,
    kind: FunctionKind::Async,
    run_limit: None,
};

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

/// Takes any task; its message is handed over whole.
struct Anything;

impl Admission<()> for Anything {
    fn find(&mut self, _: TaskCode) -> Option<Found<()>> {
        Some(Found {
            task: (),
            policy: POLICY,
            message_limit_bytes: 1 << 20,
            delivery: Delivery::Whole,
        })
    }

    fn take_places(&mut self, (): &mut ()) -> Result<(), &'static str> {
        Ok(())
    }

    fn largest_message(&self) -> usize {
        1 << 20
    }
}

/// A connection on which so many tasks were live at once, and their responses
/// waited together; all is answered and taken.
fn after_burst(tasks: u32, now: Instant) -> Connection<()> {
    let settings = Settings {
        order: ByteOrder::Big,
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        on_half_close: asyncserver::proto::OnHalfClose::default(),
        error_answers: asyncserver::proto::ErrorAnswers::default(),
    };
    let mut connection = Connection::new(settings, now);
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
        let finished = connection.finished(key, Outcome::Whole(b"pong"), || now);
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

//! What no sequence of messages shows of the protocol's core.

mod bare_connection;

use std::time::{Duration, Instant};

use asyncserver::proto::{Admission, BodyStep, Connection, Delivery, Found, Input, Outcome};
use asyncserver::wire::TaskCode;
use bare_connection::{Anything, connection, deliver, message, request};
use bytes::Bytes;

/// L16 counts payloads: their memory is at most a quarter more.
#[test]
fn a_message_collected_in_parts_keeps_little_spare_room() {
    let now = Instant::now();
    for length in [1, 3, 100, 255, 256, 1_100, 5_000, 70_000, 600_000] {
        let step = 1_000.min(length);
        let input = deliver(&mut connection(now), &request(7, length), step, now);
        let Input::Message { payload, .. } = input else {
            panic!("{length} bytes in parts: {input:?}");
        };
        assert_eq!(payload.len(), length);
        let room = payload.try_into_mut().expect("nobody shares it").capacity();
        assert!(room <= length + length / 4, "{room} for {length} bytes");
    }
}

/// The message of request `id`, read `step` bytes at a time.
fn message_of(
    connection: &mut Connection<()>,
    id: u32,
    length: usize,
    step: usize,
    now: Instant,
) -> Bytes {
    message(deliver(connection, &request(id, length), step, now))
}

#[test]
fn a_long_message_stays_as_it_is_for_whoever_has_it_while_others_come() {
    let now = Instant::now();
    let mut connection = connection(now);
    let mut kept = Vec::new();
    for id in 0..4 {
        let length = 200_000 + id as usize;
        let payload = message_of(&mut connection, id, length, 60_000, now);
        // A part is enough.
        kept.push(payload.slice(100_000..));
    }
    for (id, part) in kept.into_iter().enumerate() {
        assert!(part.len() == 100_000 + id && part.iter().all(|byte| *byte == b'x'));
    }
}

/// L16 counts payloads: a short message must not hold the memory of a long one.
#[test]
fn a_message_in_the_memory_of_a_longer_one_keeps_no_more_of_it_than_it_needs() {
    let now = Instant::now();
    for length in [1_000, 100_000, 140_000, 600_000] {
        let mut connection = connection(now);
        drop(deliver(
            &mut connection,
            &request(0, 1_000_000),
            60_000,
            now,
        ));
        let payload = message_of(&mut connection, 1, length, 60_000.min(length / 2), now);
        connection.shrink();
        let room = payload.try_into_mut().expect("nobody shares it").capacity();
        assert!(room <= length + length / 4, "{room} for {length} bytes");
    }
}

#[test]
fn the_memory_of_a_long_message_is_given_back_a_tenth_of_a_second_after_it() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    let mut connection = connection(now);
    let first = message_of(&mut connection, 0, 600_000, 60_000, now);
    connection.handle_timeout(at(99));
    assert!(!first.is_unique(), "it is kept for the next one");
    let second = message_of(&mut connection, 1, 700_000, 60_000, at(99));
    assert!(first.is_unique(), "another one is kept");
    connection.handle_timeout(at(198));
    assert!(!second.is_unique());
    // A short message does not count.
    drop(deliver(&mut connection, &request(2, 100), 60, at(198)));
    connection.handle_timeout(at(199));
    assert!(second.is_unique());
}

#[test]
fn the_memory_of_a_long_message_is_given_back_with_the_end_of_its_connection() {
    let now = Instant::now();
    let mut connection = connection(now);
    let payload = message_of(&mut connection, 0, 600_000, 60_000, now);
    connection.close(now);
    connection.settle();
    assert!(payload.is_unique());
}

/// The message is read by a task function.
struct Streaming;

impl Admission<()> for Streaming {
    fn find(&mut self, code: TaskCode) -> Option<Found> {
        let found = Anything.find(code)?;
        Some(Found {
            delivery: Delivery::Streamed,
            ..found
        })
    }

    fn take_places(&mut self, code: TaskCode, task: &()) -> Result<(), &'static str> {
        Anything.take_places(code, task)
    }

    fn largest_message(&self) -> usize {
        Admission::<()>::largest_message(&Anything)
    }
}

#[test]
fn a_message_for_a_task_function_that_has_come_whole_is_delivered_with_its_end() {
    let now = Instant::now();
    let mut connection = connection(now);
    let bytes = request(7, 600);
    let mut at = 0;
    let begun = connection.handle_input(&bytes, &mut at, &mut Streaming, now);
    assert!(matches!(begun, Some(Input::Begin { .. })), "{begun:?}");
    let delivered = connection.handle_input(&bytes, &mut at, &mut Streaming, now);
    let Some(Input::Payload { payload }) = delivered else {
        panic!("{delivered:?}");
    };
    assert_eq!(payload.len(), 600);
    assert!(connection.message_has_ended());
}

/// Bytes of a body whose turn it is not would break another response.
#[test]
#[should_panic(expected = "begin_body comes first")]
fn bytes_of_a_body_that_has_not_begun_are_a_bug_of_the_driver() {
    let now = Instant::now();
    let mut connection = connection(now);
    let Input::Whole { key, .. } = deliver(&mut connection, &request(7, 1), usize::MAX, now) else {
        panic!("it came whole");
    };
    connection.finished(key, Outcome::Body, now);
    connection.body(key, BodyStep::Bytes(b"early"), now);
}

#[test]
#[should_panic(expected = "begin_body comes first")]
fn the_end_of_a_body_that_has_not_begun_is_a_bug_of_the_driver() {
    let now = Instant::now();
    let mut connection = connection(now);
    let Input::Whole { key, .. } = deliver(&mut connection, &request(7, 1), usize::MAX, now) else {
        panic!("it came whole");
    };
    connection.finished(key, Outcome::Body, now);
    connection.body(key, BodyStep::End, now);
}

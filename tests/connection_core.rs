//! What no sequence of messages shows of the protocol's core.

mod bare_connection;

use std::time::Instant;

use asyncserver::proto::{Admission, BodyStep, Connection, Delivery, Found, Input, Outcome};
use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bare_connection::{Anything, connection};
use bytes::BytesMut;

/// Sends one request, `step` bytes at a time, and returns what came of it.
fn request(connection: &mut Connection<()>, length: usize, step: usize, now: Instant) -> Input {
    let mut bytes = BytesMut::new();
    encode_request_header(TaskCode(1), TaskId(7), ByteOrder::Big, &mut bytes);
    encode_message(&vec![b'x'; length], &mut bytes);
    let (mut buffer, mut at) = (Vec::new(), 0);
    for part in bytes.chunks(step) {
        buffer.extend_from_slice(part);
        connection.handle_read(part.len());
        if let Some(input) = connection.handle_input(&buffer, &mut at, &mut Anything, now) {
            return input;
        }
    }
    panic!("the message has ended");
}

/// L16 counts payloads: their memory is at most a quarter more.
#[test]
fn a_message_collected_in_parts_keeps_little_spare_room() {
    let now = Instant::now();
    for length in [1, 3, 100, 255, 256, 1_100, 5_000, 70_000, 600_000] {
        let input = request(&mut connection(now), length, 1_000.min(length), now);
        let Input::Message { payload, .. } = input else {
            panic!("{length} bytes in parts: {input:?}");
        };
        assert_eq!(payload.len(), length);
        let room = payload.try_into_mut().expect("nobody shares it").capacity();
        assert!(room <= length + length / 4, "{room} for {length} bytes");
    }
}

/// The message is read by a task function.
struct Streaming;

impl Admission<()> for Streaming {
    fn find(&mut self, code: TaskCode) -> Option<Found<()>> {
        let found = Anything.find(code)?;
        Some(Found {
            delivery: Delivery::Streamed,
            ..found
        })
    }

    fn take_places(&mut self, task: &()) -> Result<(), &'static str> {
        Anything.take_places(task)
    }

    fn largest_message(&self) -> usize {
        Admission::<()>::largest_message(&Anything)
    }
}

#[test]
fn a_message_for_a_task_function_that_has_come_whole_is_delivered_with_its_end() {
    let now = Instant::now();
    let mut connection = connection(now);
    let mut bytes = BytesMut::new();
    encode_request_header(TaskCode(1), TaskId(7), ByteOrder::Big, &mut bytes);
    encode_message(&[b'x'; 600], &mut bytes);
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
    let Input::Whole { key, .. } = request(&mut connection, 1, usize::MAX, now) else {
        panic!("it came whole");
    };
    connection.finished(key, Outcome::Body, || now);
    connection.body(key, BodyStep::Bytes(b"early"), now);
}

#[test]
#[should_panic(expected = "begin_body comes first")]
fn the_end_of_a_body_that_has_not_begun_is_a_bug_of_the_driver() {
    let now = Instant::now();
    let mut connection = connection(now);
    let Input::Whole { key, .. } = request(&mut connection, 1, usize::MAX, now) else {
        panic!("it came whole");
    };
    connection.finished(key, Outcome::Body, || now);
    connection.body(key, BodyStep::End, now);
}

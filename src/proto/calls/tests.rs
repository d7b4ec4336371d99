//! What no exchange of messages shows, or only four billion of them.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::*;
use crate::wire::{ByteOrder, Response, encode_ok};

/// A connection on which so many requests were sent, to a server that may say Goodbye.
fn after(begun: u64, now: Instant) -> Calls<u32> {
    let settings = CallSettings {
        byte_order: ByteOrder::Big,
        negotiation: Negotiation::Skip,
        response_limit_bytes: 100,
        timeouts: ClientTimeouts::default(),
    };
    let mut calls = Calls::new(settings, now);
    calls.server = Server::Negotiated(Negotiated {
        version: 1,
        granted: Features::GOODBYE,
        max_in_flight: 100,
        max_message_bytes: u32::MAX,
        idle_limit_s: 100,
        processing_interval_s: 100,
    });
    calls.outgoing.begun = begun;
    calls
}

fn call(length: usize, context: u32) -> NewCall<u32> {
    NewCall {
        code: TaskCode(1),
        id: None,
        message: RequestMessage::Whole(vec![b'x'; length].into()),
        response: ResponseMode::Whole,
        response_timeout: Duration::from_secs(1),
        context,
    }
}

/// A driver that asks for little gets no more than the request that fits.
#[test]
fn output_ends_where_it_is_full() {
    let now = Instant::now();
    let mut calls = after(0, now);
    for context in 0..2 {
        calls.start(call(100, context), now).expect("a place");
    }
    const ENCODED: usize = 5 + 1 + 100 + 1;
    let mut output = BytesMut::new();
    calls.poll_output(&mut output, ENCODED, now);
    assert_eq!(output.len(), ENCODED);
    calls.poll_output(&mut output, ENCODED + 1, now);
    assert_eq!(output.len(), 2 * ENCODED);

    for context in 2..5 {
        calls.start(call(100, context), now).expect("a place");
    }
    calls.poll_output(&mut output, usize::MAX, now);
    assert_eq!(
        output.len(),
        5 * ENCODED,
        "all that waits goes out together"
    );
}

/// A block is not cut, and the lengths of blocks come on top.
#[test]
fn a_long_message_is_cut_where_output_is_full() {
    let now = Instant::now();
    let mut calls = after(0, now);
    calls.start(call(40_000, 0), now).expect("a place");
    let mut output = BytesMut::new();
    for at_most in [10_000, 20_000, 30_000] {
        calls.poll_output(&mut output, at_most, now);
        let over = output.len().checked_sub(at_most).expect("it is filled");
        assert!(
            over <= 255 + at_most / 255 + 1,
            "{over} bytes over {at_most}"
        );
    }
}

/// Whatever room there is: a small message is not cut into pieces.
#[test]
fn messages_up_to_16_kib_go_out_in_one_step() {
    let now = Instant::now();
    for (length, is_whole) in [(100, true), (16 << 10, true), ((16 << 10) + 1, false)] {
        let mut calls = after(0, now);
        calls.start(call(length, 0), now).expect("a place");
        let mut output = BytesMut::new();
        calls.poll_output(&mut output, 10, now);
        assert_eq!(output.len() > length, is_whole, "{length} bytes");
    }
}

/// PROTOCOL C2.
#[test]
fn goodbye_leaves_nothing_to_send() {
    let now = Instant::now();
    let mut calls = after(0, now);
    for context in 0..3 {
        calls.start(call(40_000, context), now).expect("a place");
    }
    calls.poll_output(&mut BytesMut::new(), 1_000, now);
    assert!(calls.has_queued_output());
    let mut input = BytesMut::new();
    Response::Goodbye { accepted: 0 }.encode(ByteOrder::Big, &mut input);
    calls.handle_input(&input, now).expect("no violation");
    assert!(!calls.has_queued_output());
    assert_eq!(calls.wanted_piece(), None);
}

#[test]
fn whether_a_task_started_is_said_in_words() {
    assert_eq!(Started::No.to_string(), "the task was not started");
    assert_eq!(Started::Perhaps.to_string(), "the task may have run");
}

/// PROTOCOL C1: whether it came whole or byte by byte, all of an answer counts where
/// the byte that is at fault is told.
#[test]
fn all_bytes_of_an_answer_count_however_it_came() {
    let now = Instant::now();
    for part in [1, 3, usize::MAX] {
        let mut calls = after(0, now);
        let id = calls.start(call(0, 0), now).expect("a place");
        let mut output = BytesMut::new();
        calls.poll_output(&mut output, 1000, now);
        calls.handle_written(output.len(), now);
        let mut input = BytesMut::new();
        encode_ok(id, &[b'x'; 100], ByteOrder::Big, &mut input);
        let answer = input.len() as u64;
        encode_ok(id, b"", ByteOrder::Big, &mut input);
        let mut parts = input.chunks(part.min(input.len()));
        let violation = parts.find_map(|part| calls.handle_input(part, now).err());
        let finished = calls.poll_finished().expect("the first counts");
        assert_eq!(finished.outcome, CallOutcome::Ok(vec![b'x'; 100].into()));
        let offset = answer + 5;
        assert_eq!(violation, Some(ProtocolViolation::NotLive { id, offset }));
    }
}

/// PROTOCOL E4: the count is modulo 2³².
#[test]
fn goodbye_counts_on_behind_four_billion_requests() {
    let now = Instant::now();
    for wrapped in 0..=4 {
        // Of four calls the first two are those that fill the 32 bits.
        let begun = (1 << 32) - 2;
        let accepted = (begun as u32).wrapping_add(wrapped);
        let mut calls = after(begun, now);
        for context in 0..4 {
            calls.start(call(0, context), now).expect("a place");
        }
        let mut output = BytesMut::new();
        calls.poll_output(&mut output, 1000, now);
        calls.handle_written(output.len(), now);
        let mut input = BytesMut::new();
        Response::Goodbye { accepted }.encode(ByteOrder::Big, &mut input);
        calls.handle_input(&input, now).expect("no violation");
        let refused = std::iter::from_fn(|| calls.poll_finished());
        let refused: Vec<u32> = refused.map(|call| call.context).collect();
        assert_eq!(refused, (wrapped..4).collect::<Vec<_>>());
    }
}

/// More than were sent is too many, there too.
#[test]
fn goodbye_for_more_requests_than_were_sent_is_a_violation() {
    let now = Instant::now();
    let mut input = BytesMut::new();
    Response::Goodbye { accepted: 6 }.encode(ByteOrder::Big, &mut input);
    let violation = after(5, now).handle_input(&input, now);
    let expected = ProtocolViolation::AcceptedTooMany {
        accepted: 6,
        sent: 5,
    };
    assert_eq!(violation, Err(expected));
    assert_eq!(after((1 << 32) + 6, now).handle_input(&input, now), Ok(()));
}

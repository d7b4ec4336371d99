//! What takes four billion requests to reach.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::wire::{ByteOrder, Response};

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
        max_message_bytes: 100,
        idle_limit_s: 100,
        processing_interval_s: 100,
    });
    calls.outgoing.begun = begun;
    calls
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
            let call = NewCall {
                code: TaskCode(1),
                id: None,
                message: RequestMessage::Whole(Bytes::new()),
                response: ResponseMode::Whole,
                response_timeout: Duration::from_secs(1),
                context,
            };
            calls.start(call, now).expect("a place");
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

//! Requests, responses and noise, cut anywhere.

use asyncserver::wire::{ByteOrder, ErrorCode, Response, TaskCode, TaskId, encode_request_header};
use bytes::BytesMut;
use oracle::model::codec::{self, Parsed};
use oracle::model::suite::{self, Compared, Difference, Run, Suite, same};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Requests {
    is_little: bool,
    requests: Vec<(u8, u32, Message)>,
    /// Bytes left out at the end.
    missing: usize,
    cuts: Vec<usize>,
}

#[test]
fn requests_survive_every_block_size_and_every_cut() {
    let suite = Suite {
        name: "wire_requests",
        cases: 1_500,
        reach: &[
            "cut in a header",
            "cut in a message",
            "whole",
            "empty message",
        ],
    };
    let ids = prop_oneof![0..4_u32, Just(u32::MAX), any::<u32>()];
    let strategy = (
        any::<bool>(),
        prop::collection::vec((any::<u8>(), ids, messages()), 0..6),
        prop_oneof![Just(0_usize), 0..12_usize],
        cuts(),
    )
        .prop_map(|(is_little, requests, missing, cuts)| Requests {
            is_little,
            requests,
            missing,
            cuts,
        });
    suite::run(&suite, strategy, check_requests);
}

fn check_requests(case: &Requests, run: &mut Run) -> Compared {
    let order = order(case.is_little);
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    for (code, id, message) in &case.requests {
        let payload = message.payload();
        let mut own = BytesMut::new();
        encode_request_header(TaskCode(*code), TaskId(*id), order, &mut own);
        same("N2", &codec::header(order, *code, *id), &own.to_vec())?;
        stream.extend(codec::header(order, *code, *id));
        stream.extend(codec::message_in_blocks(&payload, &message.blocks));
        run.reach_if(payload.is_empty(), "empty message");
        sent.push(Parsed::Request {
            code: *code,
            id: *id,
            payload,
        });
    }
    stream.truncate(stream.len() - case.missing.min(stream.len()));
    let expected = codec::parse_requests(order, &stream);
    if case.missing == 0 {
        same("what was sent", &sent, &expected)?;
    }
    match expected.last() {
        Some(Parsed::Unfinished(length)) if *length < 5 => run.reach("cut in a header"),
        Some(Parsed::Unfinished(_)) => run.reach("cut in a message"),
        _ => run.reach("whole"),
    }
    let found = decode_requests(order, &parts(&stream, &case.cuts))?;
    run.note(|| format!("{} bytes, {} requests", stream.len(), found.len()));
    same("N3 to N5", &expected, &found)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Responses {
    is_little: bool,
    responses: Vec<(u8, u32, u8, Message)>,
    missing: usize,
    cuts: Vec<usize>,
}

#[test]
fn responses_survive_every_block_size_and_every_cut() {
    let suite = Suite {
        name: "wire_responses",
        cases: 1_500,
        reach: &["unfinished", "whole"],
    };
    let strategy = (
        any::<bool>(),
        prop::collection::vec((0..4_u8, any::<u32>(), any::<u8>(), messages()), 0..6),
        prop_oneof![Just(0_usize), 0..12_usize],
        cuts(),
    )
        .prop_map(|(is_little, responses, missing, cuts)| Responses {
            is_little,
            responses,
            missing,
            cuts,
        });
    suite::run(&suite, strategy, check_responses);
}

fn check_responses(case: &Responses, run: &mut Run) -> Compared {
    let order = order(case.is_little);
    let mut stream = Vec::new();
    for (code, integer, error_code, message) in &case.responses {
        let (id, payload) = (TaskId(*integer), message.payload());
        let (response, expected) = match code {
            0 => (Response::Ok(id), codec::header(order, 0, *integer)),
            1 => (
                Response::Error(id, ErrorCode(*error_code)),
                codec::error(order, *integer, *error_code),
            ),
            2 => (
                Response::Goodbye { accepted: *integer },
                codec::goodbye(order, *integer),
            ),
            _ => (Response::Processing(id), codec::processing(order, *integer)),
        };
        let mut own = BytesMut::new();
        response.encode(order, &mut own);
        same("section 4", &expected, &own.to_vec())?;
        stream.extend(expected);
        if *code == 0 {
            stream.extend(codec::message_in_blocks(&payload, &message.blocks));
        }
    }
    stream.truncate(stream.len() - case.missing.min(stream.len()));
    let expected = codec::parse_responses(order, &stream);
    let unfinished = matches!(expected.last(), Some(Parsed::Unfinished(_)));
    run.reach(if unfinished { "unfinished" } else { "whole" });
    let found = decode_responses(order, &parts(&stream, &case.cuts))?;
    same("section 4", &expected, &found)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noise {
    is_little: bool,
    bytes: Vec<u8>,
    cuts: Vec<usize>,
}

#[test]
fn any_bytes_whatever_decode_as_the_naive_decoder_says() {
    let suite = Suite {
        name: "wire_noise",
        cases: 3_000,
        reach: &[
            "a whole request",
            "an unfinished request",
            "a whole response",
            "an unfinished response",
            "an unknown response code",
        ],
    };
    let byte = prop_oneof![6 => 0..4_u8, 1 => any::<u8>()];
    let strategy = (any::<bool>(), prop::collection::vec(byte, 0..60), cuts()).prop_map(
        |(is_little, bytes, cuts)| Noise {
            is_little,
            bytes,
            cuts,
        },
    );
    suite::run(&suite, strategy, |case: &Noise, run| {
        let order = order(case.is_little);
        let parts = parts(&case.bytes, &case.cuts);
        let requests = codec::parse_requests(order, &case.bytes);
        same("requests", &requests, &decode_requests(order, &parts)?)?;
        let responses = codec::parse_responses(order, &case.bytes);
        same("responses", &responses, &decode_responses(order, &parts)?)?;
        let ends = |found: &[Parsed]| matches!(found.last(), Some(Parsed::Unfinished(_)));
        run.reach_if(ends(&requests), "an unfinished request");
        run.reach_if(ends(&responses), "an unfinished response");
        let whole = |part: &Parsed| matches!(part, Parsed::Request { .. });
        run.reach_if(requests.iter().any(whole), "a whole request");
        let whole = |part: &Parsed| matches!(part, Parsed::Response { .. });
        run.reach_if(responses.iter().any(whole), "a whole response");
        let unknown = |part: &Parsed| matches!(part, Parsed::UnknownCode(..));
        run.reach_if(responses.iter().any(unknown), "an unknown response code");
        Ok(())
    });
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flipped {
    message: Message,
    /// Which bits of each byte change, one byte at a time.
    bits: u8,
}

/// Every byte of a request and of a response is flipped in turn: it decodes to
/// what the naive decoder says, and never to what was sent.
#[test]
fn a_flipped_byte_is_never_unnoticed() {
    let suite = Suite {
        name: "wire_flips",
        cases: 150,
        reach: &["more than one block"],
    };
    let strategy = (messages(), 1..=255_u8).prop_map(|(mut message, bits)| {
        message.length = message.length.min(300);
        Flipped { message, bits }
    });
    suite::run(&suite, strategy, |case: &Flipped, run| {
        let payload = case.message.payload();
        run.reach_if(payload.len() > 255, "more than one block");
        let mut sent = codec::header(ByteOrder::Big, 1, 7);
        sent.extend(codec::message_in_blocks(&payload, &case.message.blocks));
        let original = codec::parse_requests(ByteOrder::Big, &sent);
        for at in 0..sent.len() {
            let mut stream = sent.clone();
            stream[at] ^= case.bits;
            let expected = codec::parse_requests(ByteOrder::Big, &stream);
            let found = decode_requests(ByteOrder::Big, &[&stream])?;
            same("flipped request", &expected, &found)?;
            if found == original {
                return Err(Difference::Found(format!(
                    "flipping byte {at} is unnoticed"
                )));
            }
        }
        sent[0] = 0;
        let original = codec::parse_responses(ByteOrder::Big, &sent);
        for at in 0..sent.len() {
            let mut stream = sent.clone();
            stream[at] ^= case.bits;
            let expected = codec::parse_responses(ByteOrder::Big, &stream);
            let found = decode_responses(ByteOrder::Big, &[&stream])?;
            same("flipped response", &expected, &found)?;
            if found == original {
                return Err(Difference::Found(format!(
                    "flipping byte {at} is unnoticed"
                )));
            }
        }
        Ok(())
    });
}

//! `wire` against a decoder that sees the whole stream at once.

use asyncserver::wire::{
    BlockDecoder, BlockEncoder, BlockPiece, ByteOrder, ErrorCode, Features, Negotiate,
    NegotiateError, Negotiated, RequestDecoder, RequestPart, Response, ResponseCode,
    ResponseDecoder, ResponsePart, TaskCode, TaskId, WholeMessage, encode_message,
    encode_request_header, encoded_len,
};
use bytes::BytesMut;
use oracle::model::codec::{self, Parsed};
use oracle::model::suite::{self, Compared, Difference, Run, Suite, same};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const fn order(is_little: bool) -> ByteOrder {
    if is_little {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    }
}

/// The stream in parts: each cut is a part's length, over and over.
fn parts<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut at, mut parts) = (stream, 0, Vec::new());
    while !rest.is_empty() {
        let take = cuts
            .get(at % cuts.len().max(1))
            .map_or(rest.len(), |cut| *cut);
        let (part, behind) = rest.split_at(take.clamp(1, rest.len()));
        parts.push(part);
        (rest, at) = (behind, at + 1);
    }
    parts
}

/// What the library makes of a stream of requests.
fn decode_requests(order: ByteOrder, parts: &[&[u8]]) -> Result<Vec<Parsed>, Difference> {
    let mut decoder = RequestDecoder::new(order);
    let (mut found, mut header, mut payload) = (Vec::new(), None, Vec::new());
    let mut offset = 0;
    for part in parts {
        let mut at = 0;
        loop {
            let before = at;
            let next = decoder.next(part, &mut at);
            offset += at - before;
            match next {
                None => break,
                Some(RequestPart::Header(found)) => header = Some(found),
                Some(RequestPart::Payload(range)) => payload.extend(&part[range]),
                Some(RequestPart::End) => {
                    let Some(header) = header.take() else {
                        return Err(Difference::Found("an end without a header".into()));
                    };
                    found.push(Parsed::Request {
                        code: header.code.0,
                        id: header.id.0,
                        payload: std::mem::take(&mut payload),
                    });
                    offset = 0;
                }
            }
        }
        same("every byte was looked at", &part.len(), &at)?;
        same("offset in the request", &(offset as u64), &decoder.offset())?;
        same(
            "between requests",
            &(offset == 0),
            &decoder.is_between_requests(),
        )?;
        same("in the message", &(offset >= 5), &decoder.is_in_message())?;
        same(
            "at the message's start",
            &(offset == 5),
            &decoder.is_at_message_start(),
        )?;
    }
    match decoder.unexpected_end() {
        Some(end) => {
            same("offset of the end", &(offset as u64), &end.offset)?;
            same("section 9", &(offset < 5), &(end.missing == "task id"))?;
            found.push(Parsed::Unfinished(end.offset as usize));
        }
        None => same("between requests", &0, &offset)?,
    }
    Ok(found)
}

/// What the library makes of a stream of responses.
fn decode_responses(order: ByteOrder, parts: &[&[u8]]) -> Result<Vec<Parsed>, Difference> {
    let mut decoder = ResponseDecoder::new(order);
    let mut found: Vec<Parsed> = Vec::new();
    let (mut all, mut began) = (0, 0);
    let mut ok: Option<(u32, Vec<u8>)> = None;
    for part in parts {
        let mut at = 0;
        loop {
            let before = at;
            let next = decoder.next(part, &mut at);
            all += at - before;
            match next {
                Err(error) => {
                    same("the byte that came", &part[at], &error.code)?;
                    found.push(Parsed::UnknownCode(error.code, error.offset as usize));
                    return Ok(found);
                }
                Ok(None) => break,
                Ok(Some(ResponsePart::Payload(range))) => {
                    if let Some((_, payload)) = &mut ok {
                        payload.extend(&part[range]);
                    }
                }
                Ok(Some(ResponsePart::Response(Response::Ok(id)))) => ok = Some((id.0, vec![])),
                Ok(Some(ResponsePart::Response(other))) => {
                    found.push(parsed(other));
                    began = all;
                }
                Ok(Some(ResponsePart::End)) => {
                    let Some((integer, payload)) = ok.take() else {
                        return Err(Difference::Found("an end without an OK".into()));
                    };
                    found.push(Parsed::Response {
                        code: 0,
                        integer,
                        error_code: None,
                        payload: Some(payload),
                    });
                    began = all;
                }
            }
        }
        same("every byte was looked at", &part.len(), &at)?;
        same("offset in the stream", &(all as u64), &decoder.offset())?;
        let between = decoder.is_between_responses();
        same("between responses", &(all == began), &between)?;
    }
    if all > began {
        found.push(Parsed::Unfinished(all - began));
    }
    Ok(found)
}

fn parsed(response: Response) -> Parsed {
    let (code, integer, error_code) = match response {
        Response::Ok(id) => (0, id.0, None),
        Response::Error(id, code) => (1, id.0, Some(code.0)),
        Response::Goodbye { accepted } => (2, accepted, None),
        Response::Processing(id) => (3, id.0, None),
    };
    Parsed::Response {
        code,
        integer,
        error_code,
        payload: None,
    }
}

/// A message as a sender may cut it into blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    length: usize,
    fill: u8,
    blocks: Vec<u8>,
}

impl Message {
    fn payload(&self) -> Vec<u8> {
        let byte = |at: usize| (at as u8).wrapping_mul(31).wrapping_add(self.fill);
        (0..self.length).map(byte).collect()
    }
}

fn messages() -> impl Strategy<Value = Message> {
    let length = prop_oneof![
        4 => 0..12_usize,
        2 => prop::sample::select(vec![254, 255, 256, 509, 510, 511, 765]),
        1 => 0..900_usize,
    ];
    let blocks = prop::collection::vec(
        prop_oneof![Just(1_u8), Just(2), Just(254), Just(255), any::<u8>()],
        0..4,
    );
    (length, any::<u8>(), blocks).prop_map(|(length, fill, blocks)| Message {
        length,
        fill,
        blocks,
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4_usize, 1..300_usize], 0..6)
}

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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Blocks {
    message: Message,
    pieces: Vec<usize>,
    before: Vec<u8>,
    missing: usize,
    behind: Vec<u8>,
}

#[test]
fn messages_are_encoded_and_found_alike_by_every_way() {
    let suite = Suite {
        name: "wire_messages",
        cases: 1_500,
        reach: &["not whole", "one block", "several blocks", "empty"],
    };
    let strategy = (
        messages(),
        cuts(),
        prop::collection::vec(any::<u8>(), 0..3),
        prop_oneof![3 => Just(0_usize), 1 => 1..5_usize],
        prop::collection::vec(any::<u8>(), 0..3),
    )
        .prop_map(|(message, pieces, before, missing, behind)| Blocks {
            message,
            pieces,
            before,
            missing,
            behind,
        });
    suite::run(&suite, strategy, check_blocks);
}

fn check_blocks(case: &Blocks, run: &mut Run) -> Compared {
    let payload = case.message.payload();
    let canonical = codec::message(&payload);
    let mut whole = BytesMut::new();
    encode_message(&payload, &mut whole);
    same("N4", &canonical, &whole.to_vec())?;
    let cost = payload.len() + payload.len().div_ceil(255) + 1;
    same("N4: what it costs", &cost, &encoded_len(payload.len()))?;
    same("N4: what it costs", &cost, &canonical.len())?;
    let (mut encoder, mut pieced, mut so_far) = (BlockEncoder::new(), BytesMut::new(), 0);
    for piece in parts(&payload, &case.pieces) {
        encoder.push(piece, &mut pieced);
        so_far += piece.len();
        let full = codec::full_blocks(&payload[..so_far]);
        same("N4: full blocks at once", &full, &pieced.to_vec())?;
    }
    encoder.finish(&mut pieced);
    same("N4, in pieces", &canonical, &pieced.to_vec())?;

    let encoded = codec::message_in_blocks(&payload, &case.message.blocks);
    let kept = encoded.len() - case.missing.min(encoded.len());
    let start = case.before.len();
    let mut buffer = case.before.clone();
    buffer.extend(&encoded[..kept]);
    if case.missing > 0 {
        run.reach("not whole");
        same("not whole", &None, &WholeMessage::find(&buffer, start))?;
    } else {
        buffer.extend(&case.behind);
        let Some(found) = WholeMessage::find(&buffer, start) else {
            return Err(Difference::Found("a whole message was not found".into()));
        };
        let place = start..start + encoded.len();
        same("where it lies", &place, &found.encoded)?;
        same("its length", &payload.len(), &found.payload_len)?;
        same("its payload", &payload, &found.payload(&buffer).to_vec())?;
        run.reach(match (payload.len(), encoded.len()) {
            (0, _) => "empty",
            (length, encoded) if encoded == length + 2 => "one block",
            _ => "several blocks",
        });
    }
    // The block decoder, over the same bytes.
    let (mut decoder, mut at, mut pieces) = (BlockDecoder::new(), start, Vec::new());
    let ended = loop {
        match decoder.next(&buffer, &mut at) {
            Some(BlockPiece::Payload(range)) => pieces.extend(&buffer[range]),
            Some(BlockPiece::End) => break true,
            None => break false,
        }
    };
    same("the end is found", &(case.missing == 0), &ended)?;
    if ended {
        same("the same payload", &payload, &pieces)?;
        same("and end", &(start + encoded.len()), &at)?;
    }
    Ok(())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Agreed {
    is_little: bool,
    version: u8,
    fields: [u32; 5],
    kept: usize,
    behind: Vec<u8>,
}

#[test]
fn negotiate_survives_and_short_ones_are_told_apart() {
    let suite = Suite {
        name: "wire_negotiate",
        cases: 1_500,
        reach: &["too short", "version 0", "understood", "with more behind"],
    };
    let strategy = (
        any::<bool>(),
        prop_oneof![0..3_u8, any::<u8>()],
        any::<[u32; 5]>(),
        prop_oneof![Just(21_usize), 0..22_usize],
        prop::collection::vec(any::<u8>(), 0..3),
    )
        .prop_map(|(is_little, version, fields, kept, behind)| Agreed {
            is_little,
            version,
            fields,
            kept,
            behind,
        });
    suite::run(&suite, strategy, check_agreed);
}

fn check_agreed(case: &Agreed, run: &mut Run) -> Compared {
    let order = order(case.is_little);
    let mut bytes = codec::negotiated(order, case.fields);
    bytes[0] = case.version;
    bytes.truncate(case.kept);
    if case.kept == 21 {
        run.reach_if(!case.behind.is_empty(), "with more behind");
        bytes.extend(&case.behind);
    }
    let judged = |expected| match (bytes.len() < expected, case.version) {
        (true, _) => Some(NegotiateError::TooShort {
            length: bytes.len(),
            expected,
        }),
        (false, 0) => Some(NegotiateError::VersionZero),
        (false, _) => None,
    };
    let [
        granted,
        max_in_flight,
        max_message_bytes,
        idle_limit_s,
        processing_interval_s,
    ] = case.fields;
    let (version, features) = (case.version, Features::from_bits(granted));
    let request = Negotiate { version, features };
    let answer = Negotiated {
        version,
        granted: features,
        max_in_flight,
        max_message_bytes,
        idle_limit_s,
        processing_interval_s,
    };
    let found = Negotiate::decode(&bytes, order);
    same("E3", &judged(5).map_or(Ok(request), Err), &found)?;
    let found = Negotiated::decode(&bytes, order);
    same("E3", &judged(21).map_or(Ok(answer), Err), &found)?;
    let mut encoded = BytesMut::new();
    answer.encode(order, &mut encoded);
    let mut expected = codec::negotiated(order, case.fields);
    expected[0] = version;
    same("E3, encoded", &expected, &encoded.to_vec())?;
    encoded.clear();
    request.encode(order, &mut encoded);
    same("E3, encoded", &expected[..5].to_vec(), &encoded.to_vec())?;
    run.reach(match judged(21) {
        Some(NegotiateError::TooShort { .. }) => "too short",
        Some(_) => "version 0",
        None => "understood",
    });
    Ok(())
}

/// A request and a response with blocks of every kind, cut in two at every byte,
/// and in three at every pair of bytes.
#[test]
fn every_split_of_a_stream_decodes_alike() {
    let payload: Vec<u8> = (0..20).collect();
    for is_response in [false, true] {
        let mut stream = codec::header(ByteOrder::Little, 0, 7);
        stream.extend(codec::message_in_blocks(&payload, &[1, 7, 3]));
        stream.extend(codec::error(ByteOrder::Little, 8, 0));
        let decode = |parts: &[&[u8]]| {
            if is_response {
                decode_responses(ByteOrder::Little, parts)
            } else {
                decode_requests(ByteOrder::Little, parts)
            }
        };
        let whole = decode(&[&stream]);
        assert_eq!(whole.as_ref().map(Vec::len), Ok(2));
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(whole, decode(&parts), "cut at {first} and {second}");
            }
        }
    }
}

/// All 256 values of every code.
#[test]
fn codes_are_what_the_tables_say() {
    for byte in 0..=u8::MAX {
        assert_eq!(TaskCode(byte).is_reserved(), byte > 249, "N6");
        let error = ErrorCode(byte);
        assert_eq!(error.is_reserved(), byte > 249, "N9");
        assert_eq!(error.never_started(), (250..=252).contains(&byte), "N9");
        let known = ResponseCode::from_byte(byte);
        assert_eq!(known.map(|code| code as u8), (byte < 4).then_some(byte));
    }
    for (name, code) in [
        (ErrorCode::CANCELLED, 255),
        (ErrorCode::PANICKED, 254),
        (ErrorCode::DEADLINE, 253),
        (ErrorCode::UNAVAILABLE, 252),
        (ErrorCode::UNKNOWN_TASK, 251),
        (ErrorCode::MALFORMED, 250),
    ] {
        assert_eq!(name.0, code, "N9");
    }
    for (name, code) in [
        (TaskCode::KEEP_ALIVE, 250),
        (TaskCode::CANCEL, 251),
        (TaskCode::NEGOTIATE, 252),
    ] {
        assert_eq!(name.0, code, "section 5");
    }
    for order in [ByteOrder::Big, ByteOrder::Little] {
        for value in [0, 1, 255, 256, 0x0102_0304, u32::MAX] {
            assert_eq!(order.encode_u32(value), codec::integer(order, value));
            assert_eq!(order.decode_u32(codec::integer(order, value)), value);
        }
    }
}

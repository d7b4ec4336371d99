//! `wire` against a decoder that sees the whole stream at once.

mod blocks;
mod numbers;
mod streams;

use asyncserver::wire::{
    ByteOrder, ErrorCode, RequestDecoder, RequestPart, Response, ResponseCode, ResponseDecoder,
    ResponsePart, TaskCode,
};
use oracle::model::codec::{self, Parsed};
use oracle::model::suite::{Difference, same};
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

//! Messages in blocks, and Negotiate.

use asyncserver::wire::{
    BlockDecoder, BlockEncoder, BlockPiece, Features, Negotiate, NegotiateError, Negotiated,
    WholeMessage, encode_message, encoded_len,
};
use bytes::BytesMut;
use oracle::model::codec::{self};
use oracle::model::suite::{self, Compared, Difference, Run, Suite, same};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::*;

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

//! Steps by chance, one of a kind.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::pauses;
use super::requests::{AskStrategy, ids, requests_of, sizes};
use crate::history::{BodyEnd, RunEnd};
use crate::op::{Op, Piece, Then};

/// How scripted tasks end.
pub fn run_ends() -> impl Strategy<Value = RunEnd> {
    let streamed =
        (sizes(), body_ends()).prop_map(|(bytes, then)| RunEnd::Streamed { bytes, then });
    prop_oneof![
        4 => sizes().prop_map(|bytes| RunEnd::Whole { bytes }),
        3 => streamed,
        2 => any::<u8>().prop_map(|code| RunEnd::Coded { code }),
        1 => Just(RunEnd::Panicked),
        1 => Just(RunEnd::Uncoded),
    ]
}

fn body_ends() -> impl Strategy<Value = BodyEnd> {
    prop_oneof![
        4 => Just(BodyEnd::Whole),
        1 => any::<u8>().prop_map(|code| BodyEnd::Coded { code }),
        1 => Just(BodyEnd::Torn),
        1 => Just(BodyEnd::Panicked),
        1 => Just(BodyEnd::Stalls),
    ]
}

/// One step of a kind of [`KINDS`].
pub(super) fn op(kind: &str, asks: &[AskStrategy]) -> BoxedStrategy<Op> {
    let after =
        || prop_oneof![1 => Just(0), 3 => 1..600u64, 1 => 600..20_000u64, 1 => Just(u64::MAX)];
    let request = || requests_of(asks);
    let piece = (0..40usize, pauses()).prop_map(|(bytes, then_ms)| Piece { bytes, then_ms });
    let then = select(vec![Then::EndOfStream, Then::Reset, Then::Silence]);
    match kind {
        "send" => (request(), vec(piece, 0..4))
            .prop_map(|(request, pieces)| Op::Send { request, pieces })
            .boxed(),
        "send_together" => vec(request(), 2..8)
            .prop_map(|requests| Op::SendTogether { requests })
            .boxed(),
        "cut" => (request(), 0..30usize, then)
            .prop_map(|(request, bytes, then)| Op::Cut {
                request,
                bytes,
                then,
            })
            .boxed(),
        "cut_header" => (request(), 0..8usize)
            .prop_map(|(request, bytes)| Op::Cut {
                request,
                bytes,
                then: Then::Silence,
            })
            .boxed(),
        "garbage" => vec(any::<u8>(), 1..60)
            .prop_map(|bytes| Op::Garbage {
                bytes: bytes.into(),
            })
            .boxed(),
        "read_slowly" => (1..200usize, 1..500u64)
            .prop_map(|(bytes, every_ms)| Op::ReadSlowly { bytes, every_ms })
            .boxed(),
        "cancel" => ids().prop_map(|id| Op::Cancel { id }).boxed(),
        "disconnect" => after()
            .prop_map(|after_ms| Op::Disconnect { after_ms })
            .boxed(),
        "server_disconnect" => after()
            .prop_map(|after_ms| Op::ServerDisconnect { after_ms })
            .boxed(),
        "shutdown" => after()
            .prop_map(|after_ms| Op::Shutdown { after_ms })
            .boxed(),
        "complete" => (ids(), run_ends())
            .prop_map(|(id, how)| Op::Complete { id, how })
            .boxed(),
        "complete_body" => (ids(), body_ends())
            .prop_map(|(id, how)| Op::CompleteBody { id, how })
            .boxed(),
        plain => Just(plain_op(plain)).boxed(),
    }
}

/// The steps that have nothing but a name.
fn plain_op(kind: &str) -> Op {
    match kind {
        "half_close" => Op::HalfClose,
        "leave" => Op::Leave,
        "reset" => Op::Reset,
        "stop_reading" => Op::StopReading,
        "read_all" => Op::ReadAll,
        "stall_writing" => Op::StallWriting,
        "stall_reading" => Op::StallReading,
        "unstall" => Op::Unstall,
        "transport_error" => Op::TransportError { after_bytes: 0 },
        "list" => Op::List,
        "cancel_all" => Op::CancelAll,
        "end_context" => Op::EndContext,
        "close" => Op::Close,
        "drop_connection" => Op::DropConnection,
        _ => Op::Pass,
    }
}

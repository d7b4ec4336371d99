//! What can happen to a client's connection, as data, and how it is generated.

use asyncserver::wire::ByteOrder;
use oracle::model::calls::Settings;
use oracle::model::codec;
use oracle::model::connection::pattern;
use oracle::model::suite::{self};
use oracle::model::time::{Jump, NEVER, Nanos, SECOND, jumps};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) settings: Settings,
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Ok { length: usize, block: u8 },
    Error(u8),
    Processing,
}

/// Calls are named by their place among those that are live, counted from the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    Pass(Jump),
    Timeout,
    Start(Start),
    GiveUp(usize),
    Cancel(usize),
    /// What is being read is not taken (C8).
    Discard,
    DiscardOf(usize),
    /// Output is put out, up to so many bytes in all that the transport has not taken.
    PutOut(usize),
    /// The transport takes so many hundredths of it.
    Taken(usize),
    /// All is put out and taken.
    Flush,
    Piece(usize),
    EndMessage,
    /// The server answers Negotiate.
    Agree {
        granted: u32,
        in_flight: u32,
        message: u32,
        idle: u32,
        kept: usize,
    },
    /// It answers one of the requests that it knows.
    Respond(usize, Response),
    /// The same, and all but so many bytes of it come.
    RespondInPart(usize, Response, usize),
    /// It answers any id, or any request, however far it is.
    RespondTo(u32, Response),
    RespondEarly(usize, Response),
    /// It says Goodbye, having accepted all but so many requests.
    Goodbye(i8),
    Garbage(Vec<u8>),
    /// So many bytes of what the server sent come.
    Arrive(usize),
    TakePiece,
    /// Reading stops for a while (C8).
    Stall(Jump),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    #[serde(default = "seven")]
    pub(crate) code: u8,
    pub(crate) id: Option<u32>,
    pub(crate) length: usize,
    pub(crate) is_streamed: bool,
    pub(crate) response_is_streamed: bool,
    pub(crate) timeout: Nanos,
}

pub(crate) const fn seven() -> u8 {
    7
}

pub(crate) fn times() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        3 => prop::sample::select(vec![SECOND, 5 * SECOND, 60 * SECOND]),
        1 => 1..4_u64,
        1 => Just(NEVER),
    ]
}

pub(crate) fn starts() -> impl Strategy<Value = Start> {
    let length = prop_oneof![6 => 0..9_usize, 2 => 200..600_usize, 1 => 16_380..17_000_usize];
    let id = prop::option::weighted(0.3, 0..6_u32);
    (
        prop_oneof![8 => Just(7_u8), 1 => Just(250)],
        id,
        length,
        prop::bool::weighted(0.3),
        any::<bool>(),
        times(),
    )
        .prop_map(
            |(code, id, length, is_streamed, response_is_streamed, timeout)| Start {
                code,
                id,
                length,
                is_streamed,
                response_is_streamed,
                timeout,
            },
        )
}

pub(crate) fn responses() -> impl Strategy<Value = Response> {
    let length = prop_oneof![0..9_usize, 90..110_usize, 200..600_usize];
    let block = prop_oneof![Just(255_u8), 1..9_u8, Just(100)];
    prop_oneof![
        4 => (length, block).prop_map(|(length, block)| Response::Ok { length, block }),
        2 => any::<u8>().prop_map(Response::Error),
        2 => Just(Response::Processing),
    ]
}

pub(crate) fn agreements() -> impl Strategy<Value = Op> {
    let granted = prop_oneof![3 => Just(3_u32), 1 => 0..8_u32];
    let in_flight = prop_oneof![1 => 0..4_u32, 2 => Just(1_024), 1 => Just(u32::MAX)];
    let message = prop_oneof![1 => 0..9_u32, 2 => Just(1 << 20), 1 => Just(u32::MAX)];
    let idle = prop_oneof![0..9_u32, Just(1_800), Just(u32::MAX)];
    let kept = prop_oneof![8 => Just(21_usize), 1 => 0..30_usize];
    (granted, in_flight, message, idle, kept).prop_map(
        |(granted, in_flight, message, idle, kept)| Op::Agree {
            granted,
            in_flight,
            message,
            idle,
            kept,
        },
    )
}

pub(crate) fn ops(weights: [u32; 7]) -> impl Strategy<Value = Op> {
    let [time, stream, give_up, cut, wrong, goodbye, small] = weights;
    let call = || 0..6_usize;
    suite::swarm(vec![
        (time, jumps().prop_map(Op::Pass).boxed()),
        (6, Just(Op::Timeout).boxed()),
        (12, starts().prop_map(Op::Start).boxed()),
        (give_up, call().prop_map(Op::GiveUp).boxed()),
        (give_up, call().prop_map(Op::Cancel).boxed()),
        (give_up, Just(Op::Discard).boxed()),
        (give_up / 4, call().prop_map(Op::DiscardOf).boxed()),
        (10, Just(Op::Flush).boxed()),
        (
            small,
            prop_oneof![1..20_usize, Just(1_000), Just(16 << 10)]
                .prop_map(Op::PutOut)
                .boxed(),
        ),
        (small, (0..=100_usize).prop_map(Op::Taken).boxed()),
        (
            stream,
            prop_oneof![0..9_usize, 200..600_usize]
                .prop_map(Op::Piece)
                .boxed(),
        ),
        (stream.max(1), Just(Op::EndMessage).boxed()),
        (4, agreements().boxed()),
        (
            16,
            (call(), responses())
                .prop_map(|(call, how)| Op::Respond(call, how))
                .boxed(),
        ),
        (
            wrong,
            (0..6_u32, responses())
                .prop_map(|(id, how)| Op::RespondTo(id, how))
                .boxed(),
        ),
        (
            cut + stream,
            (call(), responses(), 0..9_usize)
                .prop_map(|(call, how, missing)| Op::RespondInPart(call, how, missing))
                .boxed(),
        ),
        (
            wrong,
            (call(), responses())
                .prop_map(|(call, how)| Op::RespondEarly(call, how))
                .boxed(),
        ),
        (
            wrong,
            prop::collection::vec(0..5_u8, 1..4)
                .prop_map(Op::Garbage)
                .boxed(),
        ),
        (goodbye, (-1..4_i8).prop_map(Op::Goodbye).boxed()),
        (cut, (1..9_usize).prop_map(Op::Arrive).boxed()),
        (10, Just(Op::Arrive(usize::MAX)).boxed()),
        (stream, Just(Op::TakePiece).boxed()),
        (time / 8, jumps().prop_map(Op::Stall).boxed()),
    ])
}

/// A call is out and not taken when Goodbye comes.
fn goodbye_before_all_is_taken(agreed: Op) -> Vec<Op> {
    vec![
        Op::Flush,
        agreed,
        Op::Arrive(usize::MAX),
        Op::Start(call(None)),
        Op::PutOut(1_000),
        Op::Goodbye(0),
        Op::Arrive(usize::MAX),
        Op::Taken(100),
    ]
}

const fn call(id: Option<u32>) -> Start {
    Start {
        code: 7,
        id,
        length: 1,
        is_streamed: false,
        response_is_streamed: false,
        timeout: NEVER,
    }
}

/// The first KeepAlive has been sent and answered, and a call takes its id.
pub(crate) fn keep_alive_answered(agreed: Op) -> Vec<Op> {
    let (length, block) = (0, 255);
    vec![
        Op::Flush,
        agreed,
        Op::Arrive(usize::MAX),
        Op::Pass(Jump::ToDeadline(0)),
        Op::Timeout,
        Op::Flush,
        Op::Respond(0, Response::Ok { length, block }),
        Op::Arrive(usize::MAX),
        Op::Start(call(Some(2))),
    ]
}

/// Most cases begin with an answer to Negotiate.
pub(crate) fn prelude() -> impl Strategy<Value = Vec<Op>> {
    let all = || Op::Arrive(usize::MAX);
    prop_oneof![
        1 => Just(Vec::new()),
        4 => agreements().prop_map(move |agreed| vec![Op::Flush, agreed, all()]),
        1 => Just(vec![Op::Flush, Op::Respond(0, Response::Error(251)), all()]),
        1 => agreements().prop_map(keep_alive_answered),
        1 => agreements().prop_map(goodbye_before_all_is_taken),
    ]
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let weight = || prop_oneof![Just(0_u32), Just(2), Just(8)];
    let rarely = |weight| prop_oneof![3 => Just(0_u32), 1 => Just(weight)];
    let weights = (
        prop_oneof![Just(2_u32), Just(8), Just(20)],
        weight(),
        weight(),
        weight(),
        rarely(4),
        rarely(2),
        weight(),
    );
    let ops = weights.no_shrink().prop_flat_map(|(a, b, c, d, e, f, g)| {
        prop::collection::vec(ops([a, b, c, d, e, f, g]), 1..60)
    });
    let long = || prop_oneof![1 => times(), 2 => Just(1_000 * SECOND)];
    let limit = prop_oneof![1 => 0..100_usize, 2 => Just(1 << 20)];
    let flags = (any::<bool>(), prop::bool::weighted(0.8));
    let settings = (flags, limit, long(), long(), long(), long()).prop_map(
        |((is_little, negotiates), response_limit, keep_alive, write, unused, own_response)| {
            Settings {
                is_little,
                negotiates,
                response_limit,
                keep_alive,
                write,
                unused,
                own_response,
            }
        },
    );
    (settings, prelude(), ops).prop_map(|(settings, mut ops, more)| {
        ops.extend(more);
        Case { settings, ops }
    })
}

impl Response {
    pub(crate) fn bytes(&self, order: ByteOrder, id: u32) -> Vec<u8> {
        match self {
            Self::Ok { length, block } => {
                let mut bytes = codec::header(order, 0, id);
                bytes.extend(codec::message_in_blocks(&pattern(*length), &[*block]));
                bytes
            }
            Self::Error(code) => codec::error(order, id, *code),
            Self::Processing => codec::processing(order, id),
        }
    }
}

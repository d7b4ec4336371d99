//! Requests, ends and operations of a wire client, by chance: ids are few, so
//! that they collide and are used again.

use oracle::{Ask, Blocks, BodyEnd, Op, Piece, Request, RunEnd, Then};

use crate::Rng;

/// Kinds of requests from which a seed picks.
pub(super) const ASKS: u64 = 22;

/// What a swarm has picked for one wire client.
pub(super) struct Wire {
    pub(super) asks: Vec<u64>,
    pub(super) longest_pause_ms: u64,
    /// What a message or a body may have at most.
    pub(super) most_bytes: usize,
}

#[cfg(test)]
impl Wire {
    /// One that asks for nothing by itself.
    pub(super) const fn of(most_bytes: usize) -> Self {
        Self {
            asks: Vec::new(),
            longest_pause_ms: 0,
            most_bytes,
        }
    }
}

pub(super) fn id(rng: &mut Rng) -> u32 {
    match rng.below(20) {
        0 => rng.next_u64() as u32,
        _ => rng.below(6) as u32,
    }
}

fn bytes(rng: &mut Rng, wire: &Wire) -> usize {
    let (first, last) = match rng.below(20) {
        0..8 => (0, 20),
        8..12 => (250, 260),
        12..17 => (500, 2000),
        17..19 => (4096, 4096),
        _ => (60_000, 70_000),
    };
    (rng.between(first, last) as usize).min(wire.most_bytes)
}

fn time_ms(rng: &mut Rng) -> u32 {
    let (first, last) = match rng.below(6) {
        0 => (0, 0),
        5 => (400, 4000),
        _ => (1, 400),
    };
    rng.between(first, last) as u32
}

/// A pause between steps, in milliseconds: often none, so that things meet.
pub(super) fn pause_ms(rng: &mut Rng, longest: u64) -> u64 {
    let (first, last) = match rng.below(12) {
        0..6 => (0, 0),
        6..9 => (1, 50),
        9..11 => (50, 700),
        _ => (700, 9000),
    };
    rng.between(first, last).min(longest)
}

pub(super) fn after_ms(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => 0,
        1..4 => rng.between(1, 600),
        4 => rng.between(600, 20_000),
        _ => u64::MAX,
    }
}

fn ask(rng: &mut Rng, kind: u64, wire: &Wire) -> Ask {
    match kind {
        0..4 => Ask::Scripted {
            code: rng.between(20, 27) as u8,
            bytes: rng.below(40) as usize,
        },
        4 => Ask::Echo(bytes(rng, wire)),
        5 => Ask::Sleep {
            ms: time_ms(rng),
            rest: bytes(rng, wire),
        },
        6 => Ask::Fail(rng.next_u64() as u8),
        7 => Ask::Produce(bytes(rng, wire) as u32),
        8 => Ask::Produce((rng.between(60_000, 200_000) as usize).min(wire.most_bytes) as u32),
        9 => Ask::Panic,
        10 => Ask::Nothing(bytes(rng, wire)),
        11 => match rng.below(3) {
            0 => Ask::Reject(bytes(rng, wire)),
            1 => Ask::Break,
            _ => Ask::Tear(bytes(rng, wire) as u32),
        },
        12 => Ask::Digest(bytes(rng, wire)),
        13 => Ask::First(bytes(rng, wire)),
        14 => Ask::Tidy(time_ms(rng)),
        15 => Ask::Tasks,
        16 => Ask::Limited(time_ms(rng)),
        17 => Ask::Unknown {
            code: *rng.pick(&[0, 99, 249, 253, 254, 255]),
            bytes: bytes(rng, wire),
        },
        18 => Ask::KeepAlive(bytes(rng, wire)),
        19 | 20 => Ask::Cancel(rng.below(3) as usize),
        _ => Ask::Negotiate {
            version: rng.below(4) as u8,
            features: rng.below(8) as u32,
            bytes: *rng.pick(&[0, 4, 5, 5, 5, 5, 9]),
        },
    }
}

fn request(rng: &mut Rng, wire: &Wire) -> Request {
    let kind = *rng.pick(&wire.asks);
    let blocks = if rng.chance(250) {
        let count = rng.between(1, 3);
        Blocks::Sizes((0..count).map(|_| rng.between(1, 255) as u8).collect())
    } else {
        Blocks::Full
    };
    Request {
        id: id(rng),
        ask: ask(rng, kind, wire),
        blocks,
    }
}

pub(super) fn body_end(rng: &mut Rng) -> BodyEnd {
    match rng.below(8) {
        0..4 => BodyEnd::Whole,
        4 => BodyEnd::Coded {
            code: rng.next_u64() as u8,
        },
        5 => BodyEnd::Torn,
        6 => BodyEnd::Panicked,
        _ => BodyEnd::Stalls,
    }
}

pub(super) fn run_end(rng: &mut Rng, wire: &Wire) -> RunEnd {
    match rng.below(11) {
        0..4 => RunEnd::Whole {
            bytes: bytes(rng, wire),
        },
        4..7 => RunEnd::Streamed {
            bytes: bytes(rng, wire),
            then: body_end(rng),
        },
        7 | 8 => RunEnd::Coded {
            code: rng.next_u64() as u8,
        },
        9 => RunEnd::Panicked,
        _ => RunEnd::Uncoded,
    }
}

/// Every kind of operation from which a seed picks.
pub(super) const OPS: [&str; 22] = [
    "send_together",
    "cut",
    "garbage",
    "half_close",
    "leave",
    "reset",
    "stop_reading",
    "read_slowly",
    "read_all",
    "stall_writing",
    "stall_reading",
    "unstall",
    "list",
    "cancel",
    "cancel_all",
    "disconnect",
    "server_disconnect",
    "close",
    "complete",
    "complete_body",
    "pieces",
    "resend",
];

/// An operation of this kind; a plain request where the kind is none of [`OPS`].
pub(super) fn op(rng: &mut Rng, kind: &str, wire: &Wire) -> Op {
    match kind {
        "send_together" => {
            let count = rng.between(2, 7);
            let requests = (0..count).map(|_| request(rng, wire)).collect();
            Op::SendTogether { requests }
        }
        "pieces" => {
            let count = rng.between(1, 3);
            let piece = |rng: &mut Rng| Piece {
                bytes: rng.below(40) as usize,
                then_ms: pause_ms(rng, wire.longest_pause_ms),
            };
            let pieces = (0..count).map(|_| piece(rng)).collect();
            Op::Send {
                request: request(rng, wire),
                pieces,
            }
        }
        "cut" => Op::Cut {
            request: request(rng, wire),
            bytes: rng.below(30) as usize,
            then: *rng.pick(&[Then::EndOfStream, Then::Reset, Then::Silence]),
        },
        "garbage" => {
            let count = rng.between(1, 60);
            let bytes: Vec<u8> = (0..count).map(|_| rng.next_u64() as u8).collect();
            Op::Garbage {
                bytes: bytes.into(),
            }
        }
        "half_close" => Op::HalfClose,
        "leave" => Op::Leave,
        "reset" => Op::Reset,
        "stop_reading" => Op::StopReading,
        "read_slowly" => Op::ReadSlowly {
            bytes: rng.between(1, 200) as usize,
            every_ms: rng.between(1, 500),
        },
        "read_all" => Op::ReadAll,
        "stall_writing" => Op::StallWriting,
        "stall_reading" => Op::StallReading,
        "unstall" => Op::Unstall,
        "list" => Op::List,
        "cancel" => Op::Cancel { id: id(rng) },
        "cancel_all" => Op::CancelAll,
        "disconnect" => Op::Disconnect {
            after_ms: after_ms(rng),
        },
        "server_disconnect" => Op::ServerDisconnect {
            after_ms: after_ms(rng),
        },
        "close" => Op::Close,
        "complete" => Op::Complete {
            id: id(rng),
            how: run_end(rng, wire),
        },
        "complete_body" => Op::CompleteBody {
            id: id(rng),
            how: body_end(rng),
        },
        _ => Op::Send {
            request: request(rng, wire),
            pieces: Vec::new(),
        },
    }
}

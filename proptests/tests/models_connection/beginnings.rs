//! Where cases begin.

use oracle::model::connection::{BodyStep, Outcome, Returned};
use oracle::model::ledger::Kind;
use oracle::model::time::{Jump, SECOND};
use proptest::prelude::*;

use crate::cases::*;

/// Many cases begin where something has happened already: with a Negotiate, with
/// tasks that run, answer or are stuck, inside a header or a message.
pub(crate) fn prelude() -> impl Strategy<Value = Vec<Op>> {
    let running = [
        [request(0, 3, 1), request(0, 4, 2), request(1, 5, 3)]
            .map(Op::Request)
            .to_vec(),
        vec![Op::Return(Returned::Run(Kind::Async)); 3],
    ]
    .concat();
    let bodies = vec![Op::Answer(2), Op::Answer(1), Op::Answer(0)];
    let waiting = vec![
        Op::Body(0, BodyStep::Waiting),
        Op::Body(1, BodyStep::Waiting),
        Op::EndTurn,
        Op::Pass(Jump::ToDeadline(0)),
    ];
    let stuck = vec![
        Op::StartBlocking(0),
        Op::StartBlocking(1),
        Op::StartBlocking(2),
        Op::CancelAll,
        Op::Pass(Jump::ToDeadline(0)),
        Op::EndTurn,
        Op::Pass(Jump::ToDeadline(0)),
        Op::EndTurn,
    ];
    let part = move |missing| vec![Op::Part(request(1, 3, 5), missing)];
    // Some bytes within the limit, and too few.
    let drip = move |code| {
        vec![
            Op::Part(request(code, 3, 250), 200),
            Op::Pass(Jump::By(SECOND / 2)),
            Op::Arrive(2),
            Op::Pass(Jump::ToDeadline(0)),
            Op::EndTurn,
        ]
    };
    // More than a task function's buffer, and not taken.
    let full = vec![
        Op::Request(request(1, 3, 70_000)),
        Op::EndTurn,
        Op::Take(10_000),
    ];
    let begin = prop::option::of(Just(Op::Request(request(252, 9, 5))));
    let then = prop_oneof![
        8 => Just(Vec::new()),
        3 => Just(running.clone()),
        3 => Just([running.clone(), bodies.clone()].concat()),
        1 => Just([running.clone(), bodies, waiting].concat()),
        1 => Just([running, stuck].concat()),
        1 => (1..12_usize).prop_map(part),
        1 => (0..2_u8).prop_map(drip),
        1 => Just(full),
        3 => prop::sample::select(rare()),
    ];
    (begin, then).prop_map(|(begin, then)| begin.into_iter().chain(then).collect())
}

/// What chance alone brings about too seldom.
fn rare() -> Vec<Vec<Op>> {
    vec![
        vec![Op::Part(request(1, 3, 5), 8), Op::EndOfStream],
        vec![
            Op::Part(request(1, 3, 5), 2),
            Op::Return(Returned::Error),
            Op::EndTurn,
        ],
        vec![
            Op::Part(request(1, 3, 5), 2),
            Op::Cancel(0),
            Op::ReturnLate(0, Returned::Run(Kind::Async)),
        ],
        vec![
            Op::Request(request(252, 8, 5)),
            Op::Request(request(1, 3, 5)),
            Op::Disconnect(1_000 * SECOND),
            Op::Return(Returned::Error),
        ],
        // An id used again before its first task's sign of life is sent.
        vec![
            Op::Request(request(252, 8, 5)),
            Op::Request(request(0, 3, 1)),
            Op::Pass(Jump::ToDeadline(0)),
            Op::EndTurn,
            Op::Finish(0, Outcome::Whole(1)),
            Op::Request(request(0, 3, 1)),
            Op::Pass(Jump::ToDeadline(0)),
            Op::EndTurn,
        ],
        vec![Op::Request(request(0, 3, 1)), Op::Finish(0, Outcome::Fatal)],
        vec![
            Op::Request(request(0, 3, 1)),
            Op::Finish(0, Outcome::Body),
            Op::Body(1, BodyStep::Waiting),
            Op::Pass(Jump::ToDeadline(0)),
            Op::EndTurn,
        ],
    ]
}

const fn request(code: u8, id: u32, length: usize) -> Request {
    Request {
        code,
        id,
        length,
        blocks: Vec::new(),
        version: 1,
        features: 3,
    }
}

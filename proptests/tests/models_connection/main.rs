//! `proto::Connection` against its model, after every step.

mod beginnings;
mod cases;
mod compare;
mod desk;
mod pair;
mod reading;

use std::collections::BTreeMap;

use oracle::model::connection::{Outcome, Registration, Returned, Settings};
use oracle::model::ledger::{Kind, Policy};
use oracle::model::suite::{self, Run, Suite};
use oracle::model::time::{Jump, SECOND};

use cases::*;
use pair::check;

#[test]
fn connection_does_what_sections_3_to_9_say() {
    let suite = Suite {
        name: "connection",
        cases: 12_000,
        reach: REACH,
    };
    suite::run(&suite, cases(), check);
}

/// Every way to end a connection, at every byte of a request of every kind.
#[test]
fn every_end_at_every_byte_of_a_request() {
    let mut settings = plain_settings();
    let (ends, after) = (all_ends(), what_follows());
    let mut cases = 0;
    for (finishes, code) in [
        (false, 0),
        (true, 0),
        (false, 1),
        (true, 1),
        (false, 250),
        (true, 9),
    ] {
        settings.finishes_after_half_close = finishes;
        for (end, cut) in ends
            .iter()
            .flat_map(|end| (0..13).map(move |cut| (end, cut)))
        {
            let mut ops = vec![
                Op::Request(request(252, 9, 5)),
                Op::Request(request(0, 1, 3)),
                Op::Send(request(code, 2, 3)),
                Op::Arrive(cut),
            ];
            ops.extend(end.iter().cloned());
            ops.extend(after.iter().cloned());
            let case = Case {
                settings: settings.clone(),
                server_places: 9,
                ops,
            };
            let mut run = Run::default();
            assert_eq!(check(&case, &mut run), Ok(()), "{case:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 546);
}

fn request(code: u8, id: u32, length: usize) -> Request {
    Request {
        code,
        id,
        length,
        blocks: vec![2],
        version: 1,
        features: 3,
    }
}

fn plain_settings() -> Settings {
    let registration = |is_streamed| Registration {
        policy: Policy {
            grace: None,
            kind: Kind::Async,
            run_limit: None,
        },
        message_limit: 100,
        is_streamed,
    };
    Settings {
        is_little: false,
        finishes_after_half_close: false,
        wait: 1_000 * SECOND,
        read: SECOND,
        write: SECOND,
        linger: SECOND,
        task_function: SECOND,
        body: SECOND,
        interval: SECOND,
        message_limit: 100,
        in_flight: 8,
        unsent: 1 << 20,
        held: 1 << 20,
        registrations: vec![registration(false), registration(true)],
        answers: BTreeMap::new(),
    }
}

fn all_ends() -> Vec<Vec<Op>> {
    vec![
        vec![Op::Disconnect(SECOND)],
        vec![Op::Disconnect(0)],
        vec![
            Op::Disconnect(2 * SECOND),
            Op::Disconnect(SECOND),
            Op::Disconnect(3 * SECOND),
        ],
        vec![Op::EndOfStream],
        vec![Op::Close],
        vec![Op::Reset],
        vec![Op::EndTurn, Op::Pass(Jump::ToDeadline(0))],
    ]
}

fn what_follows() -> Vec<Op> {
    vec![
        Op::EndTurn,
        Op::Arrive(usize::MAX),
        Op::Return(Returned::Nothing),
        Op::Written(50),
        Op::Finish(0, Outcome::Whole(3)),
        Op::Written(100),
        Op::EndTurn,
        Op::EndOfStream,
        Op::HalfClosed,
        Op::EndTurn,
        Op::Pass(Jump::ToDeadline(-1)),
        Op::EndTurn,
        Op::Pass(Jump::ToDeadline(0)),
        Op::EndTurn,
        Op::Finish(0, Outcome::Whole(3)),
    ]
}

const REACH: &[&str] = &[
    "Negotiate answered",
    "Negotiate malformed",
    "Cancel on the wire, live",
    "Cancel on the wire, not live",
    "unknown task code",
    "over the server's places",
    "L4 in a task's message",
    "id used again before its answer is sent",
    "id of a stuck task used again",
    "held back by L5",
    "held back by L16",
    "header in parts",
    "message in parts",
    "paused: Places",
    "paused: Unsent",
    "paused: TaskFunction",
    "left: Places",
    "left: Unsent",
    "left: TaskFunction",
    "cancel in Receiving",
    "cancel in Running",
    "cancel in Cancelling",
    "cancel in Responding",
    "cancel when Draining",
    "task function failed before the end",
    "task function failed behind the end",
    "task function failed behind a Goodbye",
    "task function panicked",
    "returned before the end",
    "L14",
    "L15 before the response",
    "L15 in the response",
    "body fails with a code",
    "body ends the connection",
    "whole result has to wait",
    "response waits behind a body",
    "late result of a stuck task",
    "late result of an orphan",
    "blocking task stuck",
    "run limit",
    "Processing",
    "Processing behind a body",
    "Goodbye, Negotiate alone accepted",
    "Goodbye, some accepted",
    "Goodbye behind a body",
    "disconnect inside a header",
    "disconnect inside a message",
    "disconnect with a header held",
    "disconnect while Draining",
    "disconnect while Failing",
    "disconnect while Lingering",
    "end of stream inside a header",
    "end of stream inside a message",
    "end of stream, half-close",
    "end of stream, client gone",
    "end of stream in Draining",
    "ended: Graceful",
    "ended: ClientClosed",
    "ended: WaitedTooLong",
    "ended: ReadTimeout",
    "ended: ReadTooSlow",
    "ended: WriteTimeout",
    "ended: TooLong",
    "ended: Duplicate",
    "ended: UnexpectedEnd",
    "ended: TaskFunction",
    "ended: RunFunction",
    "ended: Body",
    "ended: Transport",
    "ended: Aborted",
    "deadline reached",
    "deadline while a body streams",
    "deadline while tasks run",
    "response broken, answers behind it lost",
    "interrupted in Responding",
    "interrupted in Running",
    "interrupted in Cancelling",
    "stuck at the end",
    "closed with everything answered",
    "ended: Unanswered",
    "another code sent",
    "answers lost with the driver",
    "half-closed behind the client's end",
    "L3 stands still for a body, answers behind it",
    "nothing left but a flush",
    "L3 of a flush",
    "L7 is told",
    "a start is told",
    "an end is told",
    "an overdue Processing",
    "Processing of two tasks with one id unsent",
    "returned behind a cancel",
];

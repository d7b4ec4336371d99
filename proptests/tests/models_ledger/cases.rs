//! What can happen to the ledger, as data.

use oracle::model::ledger::{Cause, Kind, Policy};
use oracle::model::suite::{self};
use oracle::model::time::{Jump, jumps, lengths};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// A task is named by its place among all that ever began, counted from the
/// last one: stale ones are named too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    Pass(Jump),
    Begin {
        id: u32,
        policy: Policy,
    },
    /// A task that begins, is accepted and starts; blocking ones may get their thread.
    Run {
        id: u32,
        policy: Policy,
        has_thread: bool,
    },
    Accept(usize),
    Hold(usize, usize),
    SetKind(usize, Kind),
    Start(usize),
    StartBlocking(usize),
    Cancel(usize, Cause),
    CancelAll,
    Alarms,
    /// The function returns a whole result that is queued at once.
    Complete(usize),
    /// It returns an error, or was dropped: it is answered and removed.
    EndsAndIsAnswered(usize),
    /// It returns a body.
    EndsWithBody(usize),
    BeginResponse(usize),
    EndBody(usize),
    SayProcessing,
    /// The transport takes the sign of life of the task that came first.
    SentProcessing,
    Orphan(usize),
    OrphanAll,
    Shrink,
}

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let grace = prop::option::of(lengths());
    let kind = prop_oneof![2 => Just(Kind::Async), 1 => Just(Kind::Blocking)];
    (grace, kind, prop::option::weighted(0.3, lengths())).prop_map(|(grace, kind, run_limit)| {
        Policy {
            grace,
            kind,
            run_limit,
        }
    })
}

pub(crate) fn ops(weights: [u32; 6]) -> impl Strategy<Value = Op> {
    let task = || prop_oneof![3 => 0..2_usize, 1 => 0..6_usize];
    let cause = prop_oneof![3 => Just(Cause::Requested), 1 => Just(Cause::Limit)];
    let [time, begin, cancel, end, body, orphan] = weights;
    suite::swarm(vec![
        (time, jumps().prop_map(Op::Pass).boxed()),
        (time, Just(Op::Alarms).boxed()),
        (
            begin,
            (0..3_u32, policies())
                .prop_map(|(id, policy)| Op::Begin { id, policy })
                .boxed(),
        ),
        (
            2 * begin,
            (0..3_u32, policies(), any::<bool>())
                .prop_map(|(id, policy, has_thread)| Op::Run {
                    id,
                    policy,
                    has_thread,
                })
                .boxed(),
        ),
        (8, task().prop_map(Op::Accept).boxed()),
        (8, task().prop_map(Op::Start).boxed()),
        (4, task().prop_map(Op::StartBlocking).boxed()),
        (
            1,
            (task(), 0..9_usize)
                .prop_map(|(task, bytes)| Op::Hold(task, bytes))
                .boxed(),
        ),
        (
            1,
            task()
                .prop_map(|task| Op::SetKind(task, Kind::Blocking))
                .boxed(),
        ),
        (
            1,
            task()
                .prop_map(|task| Op::SetKind(task, Kind::Async))
                .boxed(),
        ),
        (
            cancel,
            (task(), cause)
                .prop_map(|(task, cause)| Op::Cancel(task, cause))
                .boxed(),
        ),
        (cancel / 4, Just(Op::CancelAll).boxed()),
        (end, task().prop_map(Op::Complete).boxed()),
        (end, task().prop_map(Op::EndsAndIsAnswered).boxed()),
        (body, task().prop_map(Op::EndsWithBody).boxed()),
        (body, task().prop_map(Op::BeginResponse).boxed()),
        (body, task().prop_map(Op::EndBody).boxed()),
        (2, Just(Op::SayProcessing).boxed()),
        (1, Just(Op::SentProcessing).boxed()),
        (orphan, task().prop_map(Op::Orphan).boxed()),
        (orphan / 2, Just(Op::OrphanAll).boxed()),
        (1, Just(Op::Shrink).boxed()),
    ])
}

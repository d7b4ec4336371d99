//! `proto::Ledger` against its model, after every step.

mod cases;
mod pair;

use std::collections::BTreeSet;

use asyncserver::proto;
use oracle::model::ledger::{Cause, Kind, Ledger, OnAlarm, OnCancel, Policy};
use oracle::model::suite::{self, Compared, Run, Suite};
use oracle::model::time::{Clock, Nanos, duration};
use proptest::prelude::*;

use cases::{Op, ops};

#[test]
fn ledger_keeps_tasks_as_section_6_says() {
    let suite = Suite {
        name: "ledger",
        cases: 6_000,
        reach: &[
            "id used again",
            "cancel in Receiving",
            "cancel before a thread is there",
            "cancel in Running, Drop",
            "cancel in Running, Cooperate",
            "cancel while a body is produced, Drop",
            "cancel while a body is produced, Cooperate",
            "second cancel",
            "cancel in Responding",
            "cancel of a task that is gone",
            "completion after a cancel under Drop",
            "completion within the grace",
            "run limit reached",
            "grace over, dropped",
            "grace over, nothing runs",
            "async task stuck",
            "blocking task stuck",
            "stuck task returns",
            "stuck task's id used again",
            "alarm at the very nanosecond",
            "alarm one nanosecond early",
            "two alarms at once",
            "orphan keeps its grace",
            "orphan keeps what is left of its grace",
            "orphan on a thread",
            "orphan is dropped",
            "orphan had not started",
            "orphan returns",
            "sign of life due",
            "sign of life taken",
            "sign of life taken too late",
        ],
    };
    let weight = || prop_oneof![Just(0_u32), Just(4), Just(12)];
    let time = prop_oneof![Just(2_u32), Just(8), Just(24)];
    let weights = (time, weight(), weight(), weight(), weight()).no_shrink();
    let strategy = weights.prop_flat_map(|(time, cancel, end, body, orphan)| {
        let weights = [time, 8, cancel, end, body, orphan / 4];
        prop::collection::vec(ops(weights), 1..60)
    });
    suite::run(&suite, strategy, check);
}

struct Pair {
    clock: Clock,
    now: Nanos,
    model: Ledger,
    library: proto::Ledger<usize>,
    /// The library's keys, by number.
    keys: Vec<proto::TaskKey>,
    /// Tasks whose sign of life is unsent.
    unsent: BTreeSet<usize>,
}

fn policy(policy: Policy) -> proto::Policy {
    let on_cancel = match policy.grace {
        Some(grace) => proto::OnCancel::Cooperate {
            grace: duration(grace),
        },
        None => proto::OnCancel::Drop,
    };
    proto::Policy::new(on_cancel, kind(policy.kind))
}

const fn kind(kind: Kind) -> proto::FunctionKind {
    match kind {
        Kind::Async => proto::FunctionKind::Async,
        Kind::Blocking => proto::FunctionKind::Blocking,
    }
}

const fn cause(cause: Cause) -> proto::CancelCause {
    match cause {
        Cause::Requested => proto::CancelCause::Requested,
        Cause::Limit => proto::CancelCause::Limit,
    }
}

const fn on_cancel(step: OnCancel) -> proto::CancelStep {
    match step {
        OnCancel::Nothing => proto::CancelStep::Nothing,
        OnCancel::Unread => proto::CancelStep::Unread,
        OnCancel::Tell => proto::CancelStep::Tell,
        OnCancel::Drop => proto::CancelStep::Drop,
        OnCancel::Answer(why) => proto::CancelStep::Answer(cause(why)),
        OnCancel::Wait => proto::CancelStep::Wait,
    }
}

const fn on_alarm(step: OnAlarm) -> proto::AlarmStep {
    match step {
        OnAlarm::Cancel(step) => proto::AlarmStep::Cancel(on_cancel(step)),
        OnAlarm::Drop => proto::AlarmStep::Drop,
        OnAlarm::Answer(why) => proto::AlarmStep::Answer(cause(why)),
        OnAlarm::Stuck(why) => proto::AlarmStep::Stuck(cause(why)),
    }
}

fn check(ops: &Vec<Op>, run: &mut Run) -> Compared {
    let mut pair = Pair {
        clock: Clock::default(),
        now: 0,
        model: Ledger::default(),
        library: proto::Ledger::new(),
        keys: Vec::new(),
        unsent: BTreeSet::new(),
    };
    for op in ops {
        pair.apply(op, run)?;
        let shown = |task: &oracle::model::ledger::Task| {
            format!(
                "{}#{}:{:?}/{:?}",
                task.id, task.number, task.state, task.function
            )
        };
        run.note(|| {
            let tasks: Vec<_> = pair.model.tasks.iter().map(shown).collect();
            format!("{:>12} ns  {op:?} -> {}", pair.now, tasks.join(", "))
        });
        pair.compare()?;
    }
    Ok(())
}

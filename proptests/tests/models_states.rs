//! `proto`'s small state machines against their models, after every step:
//! `Disconnect`, `Pace`, `Credit` and `Outbox`.

use std::time::Duration;

use asyncserver::proto;
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode, TaskId};
use bytes::BytesMut;
use oracle::model::disconnect::{Disconnect, Phase, Reason};
use oracle::model::outbox::{Answer, Outbox, Taken};
use oracle::model::pace::{Credit, Pace, Reached};
use oracle::model::suite::{self, Compared, Run, Suite, same};
use oracle::model::time::{Clock, Jump, NEVER, Nanos, SECOND, duration, jumps, lengths};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

// ── Disconnect ───────────────────────────────────────────────────────────

#[derive(Clone, Debug, Serialize, Deserialize)]
enum End {
    Pass(Jump),
    Timeout,
    Disconnect { after: Nanos, is_idle: bool },
    HalfClose,
    Fail { is_client_gone: bool },
    AllWritten { linger: Nanos },
    ClientDone,
    HalfClosed,
    Close,
    TransportError,
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => jumps().prop_map(End::Pass),
        4 => Just(End::Timeout),
        4 => (lengths(), prop::bool::weighted(0.1))
            .prop_map(|(after, is_idle)| End::Disconnect { after, is_idle }),
        1 => Just(End::HalfClose),
        2 => any::<bool>().prop_map(|is_client_gone| End::Fail { is_client_gone }),
        2 => lengths().prop_map(|linger| End::AllWritten { linger }),
        1 => Just(End::ClientDone),
        2 => Just(End::HalfClosed),
        1 => Just(End::Close),
        1 => Just(End::TransportError),
    ]
}

fn phase(clock: Clock, phase: proto::Phase) -> Phase {
    match phase {
        proto::Phase::Open => Phase::Open,
        proto::Phase::Draining => Phase::Draining,
        proto::Phase::Failing => Phase::Failing,
        proto::Phase::Lingering { until } => Phase::Lingering {
            until: clock.deadline(until),
        },
        proto::Phase::Closed => Phase::Closed,
    }
}

#[test]
fn disconnect_does_what_section_8_says() {
    let suite = Suite {
        name: "disconnect",
        cases: 6_000,
        reach: &[
            "a shorter deadline",
            "a longer deadline",
            "a deadline that cannot be added",
            "deadline reached in Draining",
            "deadline reached in Failing",
            "deadline reached in Lingering",
            "one nanosecond before the deadline",
            "at the deadline",
            "linger over",
            "linger without an end",
            "half-closed behind the client's end",
            "end of stream before the half-close",
            "end of stream in Lingering",
            "error in Draining",
            "error in Lingering",
            "transport error in Draining",
            "close in Draining",
            "disconnect in Failing",
            "disconnect in Lingering",
            "disconnect when closed",
        ],
    };
    let strategy = prop::collection::vec(ends(), 1..20);
    suite::run(&suite, strategy, check_ends);
}

fn check_ends(ops: &Vec<End>, run: &mut Run) -> Compared {
    let clock = Clock::default();
    let (mut model, mut library) = (Disconnect::default(), proto::Disconnect::new());
    let mut now = 0;
    for op in ops {
        let before = model.phase;
        let deadline = model.deadline();
        match op {
            End::Pass(jump) => now = jump.from(now, model.next()),
            End::Timeout => {
                reach_timeouts(&model, now, run);
                model.timeout(now);
                library.handle_timeout(clock.at(now));
            }
            End::Disconnect { after, is_idle } => {
                let (reason, theirs) = if *is_idle {
                    let idle = proto::EndReason::TimeoutWaitingForTask;
                    (Reason::WaitedTooLong, idle)
                } else {
                    (Reason::Graceful, proto::EndReason::GracefulDisconnect)
                };
                let left = model.disconnect(reason, *after, now);
                let theirs = library.disconnect(theirs, duration(*after), clock.at(now));
                same("D1: Open was left", &left, &theirs)?;
                reach_disconnects(before, *after, deadline, model.deadline(), run);
            }
            End::HalfClose => {
                let left = model.drain(Reason::ClientClosed);
                let theirs = library.start_draining(proto::EndReason::ClientClosed);
                same("D7: Open was left", &left, &theirs)?;
            }
            // D7: an end of stream in Draining is none of a connection's errors.
            End::Fail { is_client_gone } if *is_client_gone && before == Phase::Open => {
                let failed = model.fail(Reason::ClientClosed);
                let theirs = library.fail(proto::EndReason::ClientClosed);
                same("D7: Failing was entered", &failed, &theirs)?;
            }
            End::Fail { .. } => {
                let failed = model.fail(Reason::ReadTimeout);
                let theirs = library.fail(proto::EndReason::ReadTimeout);
                same("D8: Failing was entered", &failed, &theirs)?;
                run.reach_if(before == Phase::Draining, "error in Draining");
                let lingers = matches!(before, Phase::Lingering { .. });
                run.reach_if(lingers, "error in Lingering");
            }
            End::AllWritten { linger } => {
                model.linger(*linger, now);
                library.start_lingering(duration(*linger), clock.at(now));
                let endless = matches!(model.phase, Phase::Lingering { until: None });
                run.reach_if(endless, "linger without an end");
            }
            End::HalfClosed => {
                model.half_closed();
                library.handle_half_closed();
                let left = before != model.phase;
                run.reach_if(left, "half-closed behind the client's end");
            }
            // In Open it is judged before it comes here.
            End::ClientDone if before == Phase::Open => {}
            End::ClientDone => {
                model.end_of_input();
                library.handle_end_of_input();
                let lingers = matches!(before, Phase::Lingering { .. });
                run.reach_if(lingers, "end of stream in Lingering");
                let waits = lingers && before == model.phase;
                run.reach_if(waits, "end of stream before the half-close");
            }
            End::Close => {
                model.close(Reason::Aborted);
                library.close(proto::EndReason::Aborted);
                run.reach_if(before == Phase::Draining, "close in Draining");
            }
            End::TransportError => {
                model.close(Reason::Transport);
                library.close(proto::EndReason::Transport("reset".into()));
                run.reach_if(before == Phase::Draining, "transport error in Draining");
            }
        }
        run.note(|| format!("{now:>12} ns  {op:?} -> {:?}", model.phase));
        same("phase", &model.phase, &phase(clock, library.phase()))?;
        same(
            "D9: reason",
            &model.reason,
            &library.reason().map(Into::into),
        )?;
        same("D2", &model.deadline(), &clock.deadline(library.deadline()))?;
        let theirs = clock.deadline(library.next_deadline());
        same("next deadline", &model.next(), &theirs)?;
        let reached = library.deadline_reached();
        same("D9: deadline reached", &model.deadline_reached, &reached)?;
    }
    Ok(())
}

fn reach_timeouts(model: &Disconnect, now: Nanos, run: &mut Run) {
    let Some(next) = model.next() else { return };
    run.reach_if(next == now + 1, "one nanosecond before the deadline");
    run.reach_if(next == now, "at the deadline");
    if next > now {
        return;
    }
    let by_deadline = model.deadline() == Some(next);
    run.reach(match model.phase {
        Phase::Draining => "deadline reached in Draining",
        Phase::Failing => "deadline reached in Failing",
        Phase::Lingering { .. } if by_deadline => "deadline reached in Lingering",
        _ => "linger over",
    });
}

fn reach_disconnects(
    phase: Phase,
    after: Nanos,
    before: Option<Nanos>,
    deadline: Option<Nanos>,
    run: &mut Run,
) {
    run.reach_if(after == NEVER, "a deadline that cannot be added");
    match phase {
        Phase::Failing => run.reach("disconnect in Failing"),
        Phase::Lingering { .. } => run.reach("disconnect in Lingering"),
        Phase::Closed => run.reach("disconnect when closed"),
        Phase::Draining if before.is_some() && deadline < before => {
            run.reach("a shorter deadline");
        }
        Phase::Draining if before.is_some() && after != NEVER => run.reach("a longer deadline"),
        Phase::Open | Phase::Draining => {}
    }
}

// ── Pace and Credit ──────────────────────────────────────────────────────

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Pass(Jump),
    Idle {
        is_idle: bool,
        is_active: bool,
    },
    Header,
    Body {
        bytes: usize,
        is_fresh: bool,
    },
    StopReading,
    Wrote {
        bytes: usize,
        is_pending: bool,
        stands_still: bool,
    },
    Stop,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Paced {
    wait: Nanos,
    read: Nanos,
    write: Nanos,
    steps: Vec<Step>,
}

fn moved() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0_usize),
        1..4_usize,
        100..2_000_usize,
        Just(1_200),
        Just(7_200)
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => jumps().prop_map(Step::Pass),
        2 => (any::<bool>(), any::<bool>())
            .prop_map(|(is_idle, is_active)| Step::Idle { is_idle, is_active }),
        2 => Just(Step::Header),
        4 => (moved(), prop::bool::weighted(0.2))
            .prop_map(|(bytes, is_fresh)| Step::Body { bytes, is_fresh }),
        1 => Just(Step::StopReading),
        4 => (moved(), prop::bool::weighted(0.8), prop::bool::weighted(0.2)).prop_map(
            |(bytes, is_pending, stands_still)| Step::Wrote { bytes, is_pending, stands_still }
        ),
        1 => Just(Step::Stop),
    ]
}

fn reached(exhausted: proto::Exhausted) -> Reached {
    match exhausted {
        proto::Exhausted::Timeout => Reached::Timeout,
        proto::Exhausted::TooSlow => Reached::TooSlow,
    }
}

#[test]
fn pace_runs_out_when_section_7_says() {
    let suite = Suite {
        name: "pace",
        cases: 4_000,
        reach: &[
            "waited at the very nanosecond",
            "one nanosecond before a limit",
            "header timed out",
            "body timed out",
            "body too slow",
            "body's credit was full",
            "output timed out",
            "output too slow",
            "output's credit was saved up",
            "output stood still",
            "no clock runs",
        ],
    };
    let limits = || {
        prop_oneof![
            4 => prop::sample::select(vec![SECOND / 100, SECOND, 5 * SECOND]),
            1 => Just(0_u64),
            1 => Just(NEVER),
        ]
    };
    let cases = (
        limits(),
        limits(),
        limits(),
        prop::collection::vec(steps(), 1..30),
    );
    let strategy = cases.prop_map(|(wait, read, write, steps)| Paced {
        wait,
        read,
        write,
        steps,
    });
    suite::run(&suite, strategy, check_pace);
}

fn check_pace(case: &Paced, run: &mut Run) -> Compared {
    let clock = Clock::default();
    let mut model = Pace::new(case.wait, case.read, case.write);
    let mut library = proto::Pace::new(
        duration(case.wait),
        duration(case.read),
        duration(case.write),
    );
    let mut now = 0;
    for step in &case.steps {
        let at = clock.at(now);
        match *step {
            Step::Pass(jump) => now = jump.from(now, model.next()),
            Step::Idle { is_idle, is_active } => {
                model.set_idle(is_idle, is_active, now);
                library.set_idle(is_idle, is_active, at);
            }
            Step::Header => {
                model.await_header(now);
                library.await_header(at);
            }
            Step::Body { bytes, is_fresh } => {
                model.await_body(bytes, is_fresh, now);
                library.await_body(bytes, is_fresh, at);
                let full = model.body.and_then(|credit| credit.deadline());
                let full = bytes > 0 && full == now.checked_add(case.read);
                run.reach_if(full, "body's credit was full");
            }
            Step::StopReading => {
                model.stop_reading();
                library.stop_reading();
            }
            Step::Wrote {
                bytes,
                is_pending,
                stands_still,
            } => {
                model.wrote(bytes, is_pending, stands_still, now);
                library.wrote(bytes, is_pending, stands_still, at);
                run.reach_if(is_pending && stands_still, "output stood still");
                let until = model.output.and_then(|credit| credit.deadline());
                let saved = until.is_some_and(|until| until > now.saturating_add(case.write));
                run.reach_if(saved, "output's credit was saved up");
            }
            Step::Stop => {
                model.stop();
                library.stop();
            }
        }
        run.note(|| format!("{now:>12} ns  {step:?}, next {:?}", model.next()));
        if compare_pace(&clock, &model, &library, now, run)? {
            // L13: what has run out ends the connection in the same turn.
            model.stop();
            library.stop();
        }
    }
    Ok(())
}

/// Whether something has run out.
fn compare_pace(
    clock: &Clock,
    model: &Pace,
    library: &proto::Pace,
    now: Nanos,
    run: &mut Run,
) -> Result<bool, suite::Difference> {
    let at = clock.at(now);
    let next = model.next();
    same(
        "next deadline",
        &next,
        &clock.deadline(library.next_deadline()),
    )?;
    same("L1", &model.waited(now), &library.wait_is_over(at))?;
    let (read, written) = (model.read(now), model.written(now));
    same("L2", &read, &library.read_exhausted(at).map(reached))?;
    same("L3", &written, &library.write_exhausted(at).map(reached))?;
    run.reach_if(next == Some(now + 1), "one nanosecond before a limit");
    run.reach_if(
        model.waited(now) && next == Some(now),
        "waited at the very nanosecond",
    );
    run.reach_if(next.is_none(), "no clock runs");
    let is_header = model.header_since.is_some();
    match read {
        Some(Reached::Timeout) if is_header => run.reach("header timed out"),
        Some(Reached::Timeout) => run.reach("body timed out"),
        Some(Reached::TooSlow) => run.reach("body too slow"),
        None => {}
    }
    match written {
        Some(Reached::Timeout) => run.reach("output timed out"),
        Some(Reached::TooSlow) => run.reach("output too slow"),
        None => {}
    }
    Ok(model.waited(now) || read.is_some() || written.is_some())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Earned {
    Pass(Jump),
    Moved(usize),
    SetRunning(bool),
}

#[test]
fn credit_is_a_limit_plus_what_bytes_add_less_the_time() {
    let suite = Suite {
        name: "credit",
        cases: 3_000,
        reach: &["timeout", "too slow", "stands still", "full"],
    };
    let step = prop_oneof![
        3 => jumps().prop_map(Earned::Pass),
        3 => moved().prop_map(Earned::Moved),
        1 => any::<bool>().prop_map(Earned::SetRunning),
    ];
    let limit = prop::sample::select(vec![1, SECOND / 100, SECOND, 5 * SECOND]);
    let strategy = (limit, 1..7_u32, prop::collection::vec(step, 1..30));
    suite::run(&suite, strategy, |(limit, limits, steps), run| {
        let (limit, limits) = (*limit, *limits);
        let clock = Clock::default();
        let mut model = Credit::start(limit, limits.into(), 0);
        let most = Duration::from_nanos(limit) * limits;
        let mut library = proto::Credit::start(Duration::from_nanos(limit), most, clock.at(0));
        let mut now = 0;
        for step in steps {
            match step {
                Earned::Pass(jump) => now = jump.from(now, model.deadline()),
                Earned::Moved(bytes) => {
                    model.moved(*bytes, now);
                    library.moved(*bytes, clock.at(now));
                }
                Earned::SetRunning(is_running) => {
                    model.set_running(*is_running, now);
                    library.set_running(*is_running, clock.at(now));
                }
            }
            run.note(|| format!("{now:>12} ns  {step:?} -> {model:?}"));
            let deadline = model.deadline();
            same("credit", &deadline, &clock.deadline(library.deadline()))?;
            let at = clock.at(now);
            let ended = model.reached(now);
            same("credit", &ended, &library.exhausted(at).map(reached))?;
            run.reach_if(deadline.is_none(), "stands still");
            run.reach_if(deadline == Some(now + limit * u64::from(limits)), "full");
            match ended {
                Some(Reached::Timeout) => run.reach("timeout"),
                Some(Reached::TooSlow) => run.reach("too slow"),
                None => continue,
            }
            // L13: at zero the connection ends in the same turn.
            break;
        }
        Ok(())
    });
}

// ── Outbox ───────────────────────────────────────────────────────────────

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Put {
    Ok {
        id: u32,
        length: usize,
    },
    Error {
        id: u32,
        error_code: u8,
        sent: u8,
    },
    Goodbye(u32),
    Processing(u32),
    Begin(u32),
    Body(usize),
    EndBody,
    Break,
    Close,
    Abandon,
    Fetch,
    /// So many hundredths of what was fetched; 0: one byte.
    Taken(usize),
    Shrink,
}

fn puts() -> impl Strategy<Value = Put> {
    let id = 0..3_u32;
    let length = prop_oneof![0..4_usize, 250..260_usize, 500..520_usize];
    let error_code = prop_oneof![Just(255_u8), Just(253), 0..3_u8];
    prop_oneof![
        3 => (id.clone(), length.clone()).prop_map(|(id, length)| Put::Ok { id, length }),
        3 => (id.clone(), error_code, any::<u8>())
            .prop_map(|(id, error_code, sent)| Put::Error { id, error_code, sent }),
        1 => any::<u32>().prop_map(Put::Goodbye),
        3 => id.clone().prop_map(Put::Processing),
        3 => id.prop_map(Put::Begin),
        4 => length.prop_map(Put::Body),
        2 => Just(Put::EndBody),
        1 => Just(Put::Break),
        1 => Just(Put::Close),
        1 => Just(Put::Abandon),
        6 => Just(Put::Fetch),
        6 => (0..=100_usize).prop_map(Put::Taken),
        1 => Just(Put::Shrink),
    ]
}

#[test]
fn outbox_sends_whole_responses_in_order() {
    let suite = Suite {
        name: "outbox",
        cases: 4_000,
        reach: &[
            "a response waits behind a body",
            "a body is longer than a block",
            "broken with answers behind",
            "broken",
            "abandoned inside a response",
            "a second sign of life is queued",
            "closed with bytes fetched",
            "answered behind the end",
            "sign of life taken",
            "all taken",
            "answered OK",
            "answered Error",
            "answered CANCELLED",
            "part of a response taken",
        ],
    };
    let strategy = (any::<bool>(), prop::collection::vec(puts(), 1..40));
    suite::run(&suite, strategy, check_puts);
}

fn check_puts((is_little, puts): &(bool, Vec<Put>), run: &mut Run) -> Compared {
    let order = if *is_little {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    };
    let (mut model, mut library) = (Outbox::new(order), proto::Outbox::new(order));
    let mut ledger = proto::Ledger::new();
    let tasks = [0, 1, 2].map(|id| key(&mut ledger, id));
    let (mut is_broken, mut is_closed) = (false, false);
    for put in puts {
        let code = TaskCode(9);
        let before = model.unsent();
        match put {
            // D8: behind a response that was broken nothing is queued any more.
            Put::Ok { .. }
            | Put::Error { .. }
            | Put::Goodbye(_)
            | Put::Processing(_)
            | Put::Begin(_)
                if is_broken || is_closed => {}
            Put::Body(_) | Put::EndBody | Put::Break if is_closed => {}
            Put::Ok { id, length } => {
                let payload: Vec<u8> = (0..*length).map(|at| at as u8).collect();
                model.push_ok(*id, 9, &payload);
                library.push_ok(TaskId(*id), code, &payload);
                let waits = model.id_under_way().is_some();
                run.reach_if(waits, "a response waits behind a body");
            }
            Put::Error {
                id,
                error_code,
                sent,
            } => {
                model.push_own_error(*id, 9, *error_code, *sent);
                let (error, sent) = (ErrorCode(*error_code), ErrorCode(*sent));
                library.push_own_error(TaskId(*id), code, error, sent);
            }
            Put::Goodbye(accepted) => {
                model.push_goodbye(*accepted);
                library.push_goodbye(*accepted);
            }
            Put::Processing(id) => {
                let again = model.has_processing_of(*id as usize);
                run.reach_if(again, "a second sign of life is queued");
                model.push_processing(*id, 9, *id as usize);
                library.push_processing(tasks[*id as usize], TaskId(*id), code);
            }
            // N8: one at a time.
            Put::Begin(_) if model.id_under_way().is_some() => {}
            Put::Begin(id) => {
                let key = tasks[*id as usize];
                model.begin_body(*id, 9);
                library.begin_body(key, TaskId(*id), code);
                same("under way", &Some(key), &library.under_way())?;
            }
            Put::Body(length) => {
                let payload: Vec<u8> = (0..*length).map(|at| at as u8).collect();
                model.push_body(&payload);
                library.push_body(&payload);
                let longer = model.unsent() > before;
                run.reach_if(longer, "a body is longer than a block");
            }
            Put::EndBody => {
                model.end_body();
                library.end_body();
            }
            Put::Break => {
                is_broken |= model.id_under_way().is_some();
                run.reach_if(is_broken, "broken");
                let lost = model.break_under_way();
                run.reach_if(!lost.is_empty(), "broken with answers behind");
                same(
                    "D8: lost behind it",
                    &lost,
                    &named(library.break_under_way()),
                )?;
            }
            Put::Close => {
                run.reach_if(model.fetched > 0, "closed with bytes fetched");
                let lost = model.close();
                same("D5: lost for certain", &lost, &named(library.close()))?;
                is_closed = true;
            }
            Put::Abandon => {
                run.reach_if(model.unsent() > 0, "abandoned inside a response");
                let lost = model.abandon();
                same("D9: lost", &lost, &named(library.abandon()))?;
                same("L7", &0, &library.unsent())?;
                // What the driver has fetched, it does not write either.
                return Ok(());
            }
            Put::Fetch => {
                let mut fetched = BytesMut::new();
                library.fetch(&mut fetched);
                same("N8: the wire", &model.fetch(), &fetched.to_vec())?;
            }
            Put::Taken(hundredths) => {
                let most = model.fetched;
                let bytes = (most * hundredths / 100).max(1).min(most);
                let mut theirs = Vec::new();
                library.taken(bytes, |whole| {
                    theirs.push(match whole {
                        proto::Taken::Answer(terminal) => Taken::Answer(answer(terminal)),
                        proto::Taken::Processing(key) => {
                            let number = tasks.iter().position(|task| *task == key);
                            Taken::Processing(number.unwrap_or(usize::MAX))
                        }
                    });
                });
                let taken = model.taken(bytes);
                same("D9, E5: what was taken", &taken, &theirs)?;
                run.reach_if(is_closed && !taken.is_empty(), "answered behind the end");
                reach_taken(&model, &taken, bytes, run);
            }
            Put::Shrink => library.shrink(),
        }
        run.note(|| format!("{put:?} -> {} bytes unsent", model.unsent()));
        same("L7: unsent", &model.unsent(), &library.unsent())?;
        same("has output", &model.has_output(), &library.has_output())?;
        same("is empty", &model.is_empty(), &library.is_empty())?;
        same("L3: writable", &model.writable(), &library.writable())?;
        let unanswered = library.unanswered().collect();
        same("D9", &model.unanswered(), &named(unanswered))?;
        let is_under_way = library.under_way().is_some();
        same("under way", &model.id_under_way().is_some(), &is_under_way)?;
    }
    Ok(())
}

fn reach_taken(model: &Outbox, taken: &[Taken], bytes: usize, run: &mut Run) {
    run.reach_if(bytes > 0 && model.is_empty(), "all taken");
    run.reach_if(
        bytes > 0 && taken.is_empty() && model.unsent() > 0,
        "part of a response taken",
    );
    for whole in taken {
        run.reach(match whole {
            Taken::Answer(Answer::Ok) => "answered OK",
            Taken::Answer(Answer::Error) => "answered Error",
            Taken::Answer(Answer::Cancelled) => "answered CANCELLED",
            Taken::Processing(_) => "sign of life taken",
        });
    }
}

fn key(ledger: &mut proto::Ledger<()>, id: u32) -> proto::TaskKey {
    let policy = proto::Policy {
        on_cancel: proto::OnCancel::Drop,
        kind: proto::FunctionKind::Async,
        run_limit: None,
    };
    ledger.begin(TaskId(id), TaskCode(9), policy, (), Clock::default().at(0))
}

fn named(lost: Vec<(TaskId, TaskCode)>) -> Vec<(u32, u8)> {
    lost.into_iter().map(|(id, code)| (id.0, code.0)).collect()
}

fn answer(terminal: proto::Terminal) -> Answer {
    match terminal {
        proto::Terminal::Ok => Answer::Ok,
        proto::Terminal::Error => Answer::Error,
        proto::Terminal::Cancelled => Answer::Cancelled,
    }
}

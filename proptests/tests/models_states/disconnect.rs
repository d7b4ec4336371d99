//! The end of a connection (PROTOCOL section 8).

use asyncserver::proto;
use oracle::model::disconnect::{Disconnect, Phase, Reason};
use oracle::model::suite::{self, Compared, Run, Suite, same};
use oracle::model::time::{Clock, Jump, NEVER, Nanos, duration, jumps, lengths};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

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
            _ => close(op, (&mut model, &mut library), clock.at(now), now, run),
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

/// What ends it, once Open has been left or not.
fn close(
    op: &End,
    (model, library): (&mut Disconnect, &mut proto::Disconnect),
    at: std::time::Instant,
    now: Nanos,
    run: &mut Run,
) {
    let before = model.phase;
    match op {
        End::AllWritten { linger } => {
            model.linger(*linger, now);
            library.start_lingering(duration(*linger), at);
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
        _ => {}
    }
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

//! How slow a client may be (PROTOCOL section 7).

use std::time::Duration;

use asyncserver::proto;
use oracle::model::pace::{Credit, Pace, Reached};
use oracle::model::suite::{self, Compared, Run, Suite, same};
use oracle::model::time::{Clock, Jump, NEVER, Nanos, SECOND, duration, jumps};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

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
        // Within a limit: what moves then is slow, and has not stopped.
        2 => (SECOND / 4..SECOND).prop_map(Jump::By).prop_map(Step::Pass),
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

/// Some cases begin with what moves too slowly, and has not stopped.
fn slow() -> impl Strategy<Value = Vec<Step>> {
    let moves = |bytes| {
        let body = Step::Body {
            bytes,
            is_fresh: false,
        };
        let wrote = Step::Wrote {
            bytes,
            is_pending: true,
            stands_still: false,
        };
        [body, wrote]
    };
    let of = move |at: usize| {
        vec![
            moves(0)[at].clone(),
            Step::Pass(Jump::By(SECOND / 2)),
            moves(1)[at].clone(),
            Step::Pass(Jump::ToDeadline(0)),
            Step::StopReading,
        ]
    };
    prop_oneof![8 => Just(Vec::new()), 1 => (0..2_usize).prop_map(of)]
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
        (slow(), prop::collection::vec(steps(), 1..30)),
    );
    let strategy = cases.prop_map(|(wait, read, write, (slow, more))| Paced {
        wait,
        read,
        write,
        steps: slow.into_iter().chain(more).collect(),
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

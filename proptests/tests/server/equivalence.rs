//! What must make no difference: that a scenario is played again, how its bytes
//! are cut, and where its history is looked at.

use std::collections::BTreeMap;

use oracle::{Ask, Config, Op, Reason, Report, RunEnd, Step, What, scripted_tasks};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn the_same_scenario_has_the_same_history() {
    let suite = Suite {
        name: "determinism",
        cases: 250,
    };
    suite.run_scenarios(&oracle::strategy::scenarios(STEPS), |scenario| {
        let (first, second) = (harness::run(scenario), harness::run(scenario));
        if first.seen == second.seen {
            return Ok(());
        }
        let pairs = || {
            let connections = &first.seen.connections;
            connections.iter().zip(&second.seen.connections)
        };
        let same = pairs().take_while(|(a, b)| a == b).count();
        let differs = pairs().nth(same).map(|(a, b)| {
            let events = a.events.iter().zip(&b.events);
            events.take_while(|(a, b)| a == b).count()
        });
        Err(format!(
            "the histories of connection {same} differ from event {differs:?} on"
        ))
    });
}

#[test]
fn bytes_that_come_one_by_one_are_judged_too() {
    let suite = Suite {
        name: "byte_by_byte",
        cases: 600,
    };
    suite.run_scenarios(&oracle::strategy::scenarios(STEPS), |scenario| {
        accepted(harness::run_with(scenario, Splits::EachByte)).map(|outcome| count(&outcome))
    });
}

#[test]
fn every_part_of_a_history_is_accepted_too() {
    let suite = Suite {
        name: "prefixes",
        cases: 300,
    };
    suite.run_scenarios(&oracle::strategy::scenarios(STEPS), |scenario| {
        let seen = accepted(harness::run(scenario))?.seen;
        let events = seen.order.len();
        for until in [events / 4, events / 2, events * 3 / 4, events - 1] {
            let verdict = seen.part(until).judge();
            verdict.map_err(|violation| format!("the first {until} events: {violation}"))?;
        }
        Ok(())
    });
}

/// What of an outcome must not depend on how the client's bytes are cut: the
/// report, and for each id the answers in their order.
fn essence(outcome: &Outcome) -> (Option<Report>, BTreeMap<u32, Vec<Vec<u8>>>) {
    let order = outcome.history().config.byte_order.into();
    let mut received = Vec::new();
    let mut report = None;
    for event in &outcome.history().events {
        match &event.what {
            What::Received(bytes) => received.extend_from_slice(&bytes.0),
            What::Closed(closed) => report.clone_from(closed),
            _ => {}
        }
    }
    (report, answers(&received, order))
}

/// The terminal answers of each id, whole ones only.
fn answers(received: &[u8], order: asyncserver::wire::ByteOrder) -> BTreeMap<u32, Vec<Vec<u8>>> {
    let (mut answers, mut rest) = (BTreeMap::<u32, Vec<Vec<u8>>>::new(), received);
    while let Some((code, behind)) = rest.split_first() {
        let Some((id, behind)) = behind.split_first_chunk::<4>() else {
            break;
        };
        let id = order.decode_u32(*id);
        let length = match code {
            0 => message_length(behind),
            1 => Some(1),
            _ => Some(0),
        };
        let Some((body, behind)) = length.and_then(|length| behind.split_at_checked(length)) else {
            break;
        };
        if *code < 2 {
            answers
                .entry(id)
                .or_default()
                .push([&[*code], body].concat());
        }
        rest = behind;
    }
    answers
}

/// The bytes of the message that begins here, its blocks and its end.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let block = usize::from(*bytes.get(at)?);
        at += 1 + block;
        if block == 0 {
            return Some(at);
        }
    }
}

/// Scenarios in which no two things happen at the same time: there every order
/// of bytes and tasks within one instant has the same outcome.
fn calm() -> impl Strategy<Value = Scenario> {
    let ask = prop_oneof![
        2 => (20..=21u8, 0..400usize).prop_map(|(code, bytes)| Ask::Scripted { code, bytes }),
        1 => (0..2000usize).prop_map(Ask::Echo),
        1 => (0..2000usize).prop_map(Ask::Digest),
        1 => (0..2000usize).prop_map(Ask::First),
        1 => (0..200u8).prop_map(|ms| Ask::Sleep { ms: u32::from(ms) * 10 + 5, rest: 3 }),
        1 => (0..100_000u32).prop_map(Ask::Produce),
        1 => Just(Ask::Panic),
        1 => Just(Ask::Fail(9)),
        1 => Just(Ask::Unknown { code: 99, bytes: 300 }),
        1 => Just(Ask::KeepAlive(3)),
        1 => Just(Ask::Cancel(2)),
    ];
    let sends = (0..8u32, ask).prop_map(|(id, ask)| Op::Send {
        request: oracle::Request::new(id, ask),
        pieces: Vec::new(),
    });
    let program = prop_oneof![
        3 => (0..8u32, 0..3000usize).prop_map(|(id, bytes)| Op::Complete { id, how: RunEnd::Whole { bytes } }),
        2 => (0..8u32).prop_map(|id| Op::Cancel { id }),
        1 => Just(Op::Disconnect { after_ms: 777 }),
        1 => Just(Op::HalfClose),
    ];
    let steps = vec((1..50u64, prop_oneof![4 => sends, 2 => program]), 1..STEPS);
    (any::<bool>(), steps).prop_map(|(negotiates, steps)| {
        let mut at_ms = 3;
        let step = |(pause, op)| {
            at_ms += pause * 10;
            Step { at_ms, op }
        };
        Scenario {
            about: String::new(),
            config: Config {
                negotiate: negotiates.then_some(3),
                tasks: scripted_tasks(),
                ..Config::default()
            },
            steps: steps.into_iter().map(step).collect(),
            neighbours: Vec::new(),
        }
    })
}

#[test]
fn how_the_bytes_are_cut_changes_nothing() {
    let suite = Suite {
        name: "equivalence",
        cases: 1000,
    };
    suite.run_scenarios(&calm(), |scenario| {
        let whole = accepted(harness::run(scenario))?;
        let split = accepted(harness::run_with(scenario, Splits::EachByte))?;
        let (whole, split) = (essence(&whole), essence(&split));
        let reason = |report: &Option<Report>| report.as_ref().map(|report| report.reason);
        // T11 ends a connection at the header: how much came behind it is open.
        if matches!(reason(&whole.0), Some(Reason::DuplicateTaskId { .. })) {
            return (reason(&whole.0) == reason(&split.0))
                .then_some(())
                .ok_or(format!("{:?} or {:?}", whole.0, split.0));
        }
        if whole == split {
            return Ok(());
        }
        Err(format!("whole: {:?}\nbyte by byte: {:?}", whole.0, split.0))
    });
}

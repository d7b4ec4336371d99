//! States of the limits of section 7.

use super::{Reached, Seen};
use crate::history::{Direction, Observed, RunEnd};
use crate::oracle::facts::{Facts, Moment, Run};
use crate::oracle::received::Reply;
use crate::oracle::sent::Sent;
use crate::report::Reason;

pub(super) fn detect(facts: &Facts<'_>, seen: &mut Seen) {
    let reason = facts.report.map(|report| report.reason);
    let partial = facts
        .partial
        .as_ref()
        .map(|partial| partial.header.is_some());
    let timeout = reason == Some(Reason::ReadTimeout);
    seen.note(
        Reached::IdleEnd,
        reason == Some(Reason::TimeoutWaitingForTask),
    );
    seen.note(
        Reached::ReadTimeoutInHeader,
        timeout && partial == Some(false),
    );
    seen.note(
        Reached::ReadTimeoutInMessage,
        timeout && partial == Some(true),
    );
    seen.note(Reached::ReadTooSlow, reason == Some(Reason::ReadTooSlow));
    seen.note(Reached::WriteTimeout, reason == Some(Reason::WriteTimeout));
    seen.note(Reached::WriteTooSlow, reason == Some(Reason::WriteTooSlow));
    seen.note(
        Reached::MessageTooLong,
        matches!(reason, Some(Reason::MessageTooLong { .. })),
    );
    in_flight(facts, seen);
    full(facts, seen);
    unsent(facts, seen);
    held(facts, seen);
}

/// L5: so many run beside each other.
fn in_flight(facts: &Facts<'_>, seen: &mut Seen) {
    let limit = facts.config.limits.in_flight.max(1);
    for run in &facts.runs {
        let at = run.started;
        let running =
            |other: &&Run| other.started <= at && other.ended.is_none_or(|(ended, _)| ended > at);
        if facts.runs.iter().filter(running).count() < limit {
            continue;
        }
        // One more had been sent before any of them ended.
        let first_end = facts
            .runs
            .iter()
            .filter(running)
            .filter_map(|run| run.ended)
            .map(|(ended, _)| ended)
            .min();
        let until = first_end.unwrap_or(Moment::MAX);
        let waits = |r: &&Sent| {
            let started = facts.run_of(r).is_some_and(|run| run.started <= at);
            let answered = facts.answer(r).is_some_and(|answer| answer.first < until);
            facts.task(r).is_some() && r.header < until && !started && !answered
        };
        let waiting: Vec<_> = facts.requests.iter().filter(waits).collect();
        let reported = facts
            .observed()
            .any(|(_, what)| matches!(what, Observed::LimitReached { rule } if rule == "L5"));
        seen.note(Reached::InFlightReached, reported || !waiting.is_empty());
        seen.note(
            Reached::InFlightLeft,
            waiting.iter().any(|r| facts.run_of(r).is_some()),
        );
        let alive = |r: &&Sent| {
            r.code == 250 && r.end > at && facts.answer(r).is_some_and(|a| a.last < until)
        };
        seen.note(
            Reached::KeepAliveWhileFull,
            facts.requests.iter().any(|r| alive(&r)),
        );
    }
}

/// L6: no place for a task.
fn full(facts: &Facts<'_>, seen: &mut Seen) {
    let is_full = |r: &Sent| {
        let by_itself = facts
            .task(r)
            .is_some_and(|task| task.does == crate::Does::Fail);
        let reply = facts.answer(r).map(|answer| &answer.reply);
        matches!(reply, Some(Reply::Error { code: 252, .. })) && !by_itself && r.run.is_none()
    };
    let first = facts.requests.iter().position(is_full);
    seen.note(Reached::ServerFull, first.is_some());
    let later = first.map_or(&[][..], |first| &facts.requests[first..]);
    seen.note(
        Reached::ServerFullLeft,
        later
            .iter()
            .any(|r| facts.task(r).is_some() && r.run.is_some()),
    );
}

/// L7: more has ended than the transport and the limit take while the client
/// does not read.
fn unsent(facts: &Facts<'_>, seen: &mut Seen) {
    for (direction, from, to) in &facts.stalls {
        if *direction != Direction::ToClient {
            continue;
        }
        let until = to.unwrap_or(Moment::MAX);
        let owed: usize = facts
            .runs
            .iter()
            .filter_map(|run| match run.ended {
                Some((ended, RunEnd::Whole { bytes } | RunEnd::Streamed { bytes, .. }))
                    if ended > *from && ended < until =>
                {
                    Some(bytes)
                }
                _ => None,
            })
            .sum();
        let reached = owed > facts.config.limits.unsent_bytes + facts.config.transport_buffer_bytes;
        let taken = to.is_some()
            && facts
                .report
                .is_some_and(|r| r.bytes_written == facts.received_bytes && r.interrupted == 0);
        seen.note(Reached::UnsentReached, reached);
        seen.note(Reached::UnsentLeft, reached && taken);
    }
}

/// L16: so many message bytes belong to tasks that run.
fn held(facts: &Facts<'_>, seen: &mut Seen) {
    for run in &facts.runs {
        let at = run.started;
        let running =
            |other: &&Run| other.started <= at && other.ended.is_none_or(|(ended, _)| ended > at);
        let bytes = |other: &Run| Some(facts.requests[other.request?].message.len());
        let held: usize = facts.runs.iter().filter(running).filter_map(bytes).sum();
        seen.note(
            Reached::HeldReached,
            held >= facts.config.limits.held_bytes.max(1),
        );
    }
}

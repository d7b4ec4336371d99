//! Whether the reason of a report may be the first cause that left Open (D9),
//! with the rule of section 7, 8 or 9 that the cause has.

use super::clocks;
use super::facts::{Facts, Moment, ms};
use super::outcome::{Outcome, outcome};
use super::rule::{Found, Rule};
use crate::history::{Call, RunEnd};
use crate::report::{Reason, Report};

/// Why a reason cannot be: the rule, and what would be needed.
type Impossible = (Rule, String);

/// Judges the reason of the report.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (Some(report), Some(closed)) = (facts.report, facts.closed) else {
        return;
    };
    let judged = possible(facts, report, closed).and_then(|()| is_first(facts, report));
    if let Err((rule, allowed)) = judged {
        let calls = facts.endings().map(|(call, _)| call.called);
        let ends = [facts.client_ended, facts.client_reset, facts.server_ended];
        let shown = calls.chain(ends.into_iter().flatten()).chain([closed]);
        found.broken(
            rule,
            format!("the reason is {:?}", report.reason),
            allowed,
            shown,
        );
    }
}

fn need(is_so: bool, rule: Rule, needed: &str) -> Result<(), Impossible> {
    if is_so {
        Ok(())
    } else {
        Err((rule, needed.to_string()))
    }
}

/// Whether the cause can have happened at all.
fn possible(facts: &Facts<'_>, report: &Report, closed: Moment) -> Result<(), Impossible> {
    let called = |call: fn(&Call) -> bool| facts.calls.iter().any(|c| call(&c.what));
    match report.reason {
        Reason::GracefulDisconnect => {
            let half = facts.client_ended.is_some()
                && facts.config.on_half_close == crate::OnHalfClose::Drain;
            let asked = facts.endings().any(|(call, _)| call.what != Call::Close);
            need(
                asked || half,
                Rule::D9,
                "a disconnect, a shutdown or the end of the context",
            )
        }
        Reason::Aborted => need(called(|call| *call == Call::Close), Rule::D5, "a close"),
        Reason::ClientClosed => {
            let ended = facts.client_ended.is_some();
            need(ended, Rule::D7, "the client's end of stream")?;
            need(
                facts.partial.is_none(),
                Rule::D7,
                "an unexpected end, for the stream ended inside a request",
            )
        }
        Reason::UnexpectedEnd { offset } => {
            let cut = facts.client_ended.and(facts.partial.as_ref());
            let at = cut.map(|partial| partial.bytes.end - partial.bytes.start);
            need(at.is_some(), Rule::D7, "an end of stream inside a request")?;
            need(
                at == Some(offset),
                Rule::D7,
                &format!("an offset of {at:?} in the request"),
            )
        }
        Reason::TimeoutWaitingForTask => clocks::may_wait_out(facts, report),
        Reason::ReadTimeout | Reason::ReadTooSlow => {
            clocks::may_read_out(facts, report.reason, closed)
        }
        Reason::WriteTimeout | Reason::WriteTooSlow => clocks::may_write_out(facts, closed),
        Reason::MessageTooLong { id } => too_long(facts, id),
        Reason::DuplicateTaskId { id } => duplicate(facts, id),
        Reason::TaskFunction { id } => failed(facts, id, Rule::T3),
        Reason::RunFunction { id } => failed(facts, id, Rule::T8),
        Reason::Body { id } => failed(facts, id, Rule::T7),
        Reason::Transport => {
            // A client that is gone lets a write fail, with or without a reset.
            let gone = facts.client_reset.or(facts.client_ended);
            need(
                gone.is_some(),
                Rule::D8,
                "a reset, or another failure of the transport",
            )
        }
        Reason::Refused => need(
            facts.requests.iter().all(|r| r.answer.is_none()),
            Rule::L8,
            "a connection that was never served",
        ),
        Reason::HandshakeTimeout | Reason::HandshakeFailed => need(
            facts.received_bytes == 0,
            Rule::L9,
            "a connection that was never served",
        ),
    }
}

/// L4.
fn too_long(facts: &Facts<'_>, id: u32) -> Result<(), Impossible> {
    let whole = facts
        .requests
        .iter()
        .any(|r| r.id == id && r.message.len() > facts.config.message_limit(r.code));
    let partial = facts.partial.as_ref().is_some_and(|partial| {
        // A length byte announces what has not come yet.
        partial.header.is_some_and(|(code, of, _)| {
            of == id && partial.payload + 255 > facts.config.message_limit(code)
        })
    });
    need(
        whole || partial,
        Rule::L4,
        &format!("a message of {id} longer than its limit"),
    )
}

/// T11.
fn duplicate(facts: &Facts<'_>, id: u32) -> Result<(), Impossible> {
    let whole = facts.requests.iter().map(|r| (r.code, r.id, r.header));
    let headers = whole.chain(facts.partial.as_ref().and_then(|p| p.header));
    let is_live = |before: Moment| {
        facts.requests.iter().any(|r| {
            let gone = facts.answer(r).is_some_and(|answer| answer.last < before);
            r.id == id && !r.is_cancel() && r.header < before && !gone
        })
    };
    // A header in the same piece of the stream has the same moment.
    let together = |before: Moment| {
        facts
            .requests
            .iter()
            .filter(|r| r.id == id && !r.is_cancel() && r.header == before)
            .count()
            > 1
    };
    let mut seconds = headers.filter(|(code, of, _)| *of == id && *code != 251);
    let found = seconds.any(|(_, _, header)| is_live(header) || together(header));
    let partial_too =
        facts
            .partial
            .as_ref()
            .and_then(|p| p.header)
            .is_some_and(|(_, of, header)| {
                of == id
                    && facts
                        .requests
                        .iter()
                        .any(|r| r.id == id && r.header == header)
            });
    need(
        found || partial_too,
        Rule::T11,
        &format!("a second request with {id} while the first is live"),
    )
}

/// T3, T7, T8: the named request fails without a code.
fn failed(facts: &Facts<'_>, id: u32, rule: Rule) -> Result<(), Impossible> {
    let fails = facts.requests.iter().filter(|r| r.id == id).any(|request| {
        let Some(task) = facts.task(request) else {
            return false;
        };
        match outcome(facts, request, task) {
            Outcome::ConnectionError { rule: of, .. } => of == rule,
            Outcome::Anything => true,
            _ => false,
        }
    });
    // A task function may fail before its message has ended (T3).
    let partial = facts
        .partial
        .as_ref()
        .and_then(|p| p.header)
        .is_some_and(|(code, of, _)| {
            of == id && rule == Rule::T3 && facts.config.task(code).is_some()
        });
    need(
        fails || partial,
        rule,
        &format!("a task {id} that fails without a code"),
    )
}

/// D9: the first cause that left Open; an error in Draining replaces it, nothing
/// in Lingering does.
fn is_first(facts: &Facts<'_>, report: &Report) -> Result<(), Impossible> {
    let Some((first, call)) = first_call(facts) else {
        return first_error(facts, report);
    };
    let asked = if call == Call::Close {
        Reason::Aborted
    } else {
        Reason::GracefulDisconnect
    };
    let late = |moment: Option<Moment>| moment.is_none_or(|moment| moment > first);
    let name = format!("{asked:?}, for it was asked for before");
    // The end of a context is noticed in the connection's next turn: a close that
    // comes before it is the first.
    let late_ms = ms(facts.config.tolerance.late_ms);
    let overtaken = call == Call::EndContext
        && facts.calls.iter().any(|other| {
            other.what == Call::Close && facts.us(other.called) <= facts.us(first) + late_ms
        });
    match report.reason {
        Reason::Aborted if overtaken => Ok(()),
        Reason::Aborted | Reason::GracefulDisconnect if report.reason != asked => {
            Err((Rule::D9, name))
        }
        // In Draining an end of stream changes nothing, and L1 and L2 do not run.
        Reason::ClientClosed | Reason::UnexpectedEnd { .. } if late(facts.client_ended) => {
            Err((Rule::D7, name))
        }
        Reason::TimeoutWaitingForTask => {
            let wait = ms(facts.config.timeouts.wait_ms);
            let reached = facts.us(first) + ms(facts.config.tolerance.early_ms) >= wait;
            need(reached, Rule::D9, &name)
        }
        Reason::ReadTimeout | Reason::ReadTooSlow => {
            let reached = facts.us(first) + ms(facts.config.tolerance.early_ms)
                >= ms(facts.config.timeouts.read_ms);
            need(reached, Rule::D9, &name)
        }
        Reason::DuplicateTaskId { id } | Reason::MessageTooLong { id } => {
            let sent = facts.requests.iter().any(|r| r.id == id && r.first < first);
            let partial = facts
                .partial
                .as_ref()
                .is_some_and(|partial| partial.first < first);
            need(sent || partial, Rule::D1, &name)
        }
        _ => Ok(()),
    }
}

/// The first call that certainly left Open, where nothing else can have before.
fn first_call(facts: &Facts<'_>) -> Option<(Moment, Call)> {
    let acted = facts.endings().filter_map(|(call, _)| match call.what {
        Call::Shutdown { .. } => Some((call.called, call.what)),
        _ => call
            .returned
            .as_ref()
            .map(|(moment, _)| (*moment, call.what)),
    });
    let first = acted.min_by_key(|(moment, _)| *moment)?;
    let alone = facts
        .endings()
        .filter(|(call, _)| call.called < first.0)
        .count()
        <= 1;
    alone.then_some(first)
}

/// Without a call: a failure of a task came before an end of stream that was
/// sent later.
fn first_error(facts: &Facts<'_>, report: &Report) -> Result<(), Impossible> {
    let late = ms(facts.config.tolerance.late_ms + facts.config.tolerance.network_ms);
    let failed = facts.runs.iter().find_map(|run| match run.ended? {
        (moment, RunEnd::Uncoded)
            if facts.cancels_of(run.request?, moment + 1).next().is_none() =>
        {
            Some(moment)
        }
        _ => None,
    });
    let ended = match report.reason {
        Reason::ClientClosed | Reason::UnexpectedEnd { .. } => facts.client_ended,
        _ => None,
    };
    match (failed, ended) {
        (Some(failed), Some(ended)) if facts.us(failed) + late < facts.us(ended) => Err((
            Rule::D9,
            "the run function's error, which came before".into(),
        )),
        _ => Ok(()),
    }
}

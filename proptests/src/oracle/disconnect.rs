//! The end of a connection, in time: D1–D8, L11.

use super::closing;
use super::facts::{Facts, Moment, ms};
use super::places;
use super::received::Tail;
use super::rule::{Found, Rule};
use crate::history::{Call, FunctionEnd, Observed, RunEnd, View};
use crate::report::{Reason, Report};
use crate::tasks::Does;

/// Judges what is accepted, answered and waited for once an end has begun.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    check_accepted(facts, found);
    check_deadline(facts, found);
    check_drain(facts, found);
    check_linger(facts, found);
    closing::check(facts, found);
    check_errors(facts, found);
}

/// D1, D8: nothing that was sent once reading had stopped is accepted.
fn check_accepted(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Some(stopped) = facts.stopped_reading() else {
        return;
    };
    let reported = facts.report.map_or(0, |report| report.accepted as usize);
    let accepted = facts
        .accepted_at_least()
        .max(reported)
        .min(facts.requests.len());
    if let Some(request) = facts.requests[..accepted].iter().find(|r| r.end > stopped) {
        let what = format!(
            "request {} was accepted, whose end was sent when reading had stopped",
            request.id
        );
        let answer = facts
            .answer(request)
            .map(|answer| answer.first)
            .or(facts.run_of(request).map(|run| run.started));
        let shown = [stopped, request.end]
            .into_iter()
            .chain(answer.or(facts.closed));
        return found.broken(Rule::D1, what, "requests that were sent before", shown);
    }
    // The batch being looked at may still be accepted, but not much later.
    let late = ms(facts.config.tolerance.late_ms);
    let task_function = |r: &crate::oracle::facts::Run| facts.requests[r.request?].function;
    for run in &facts.runs {
        let after = facts.us(run.started) > facts.us(stopped) + late;
        let waited = task_function(run).is_some();
        if after && !waited {
            let what = format!(
                "the run function of {} started {} ms after reading had stopped",
                run.id,
                (facts.us(run.started) - facts.us(stopped)) / 1000
            );
            found.broken(
                Rule::D1,
                what,
                "no start but of the batch being looked at",
                [stopped, run.started],
            );
        }
    }
}

/// When the connection was over at the latest that this history shows.
pub(super) fn ended_us(facts: &Facts<'_>) -> u64 {
    facts
        .closed
        .map_or(facts.history.end_us, |closed| facts.us(closed))
}

/// D2, D4: the shortest deadline ends the connection, and none ends it before.
fn check_deadline(facts: &Facts<'_>, found: &mut Found<'_>) {
    let late = ms(facts.config.tolerance.late_ms);
    let shortest = facts
        .endings()
        .min_by_key(|(call, after)| facts.us(call.called).saturating_add(ms(*after)));
    let earliest =
        shortest.map(|(call, after)| (call, facts.us(call.called).saturating_add(ms(after))));
    if let Some((call, deadline)) = earliest
        && ended_us(facts) > deadline.saturating_add(late)
        && !blocks(facts)
    {
        let rule = if call.what == Call::Close {
            Rule::D5
        } else {
            Rule::D2
        };
        let what = match facts.closed {
            Some(_) => format!("the connection was closed at {} ms", ended_us(facts) / 1000),
            None => format!(
                "the connection is not closed at {} ms",
                ended_us(facts) / 1000
            ),
        };
        let allowed = format!("closed by {} ms, the shortest deadline", deadline / 1000);
        found.broken(
            rule,
            what,
            allowed,
            [call.called].into_iter().chain(facts.closed),
        );
    }
    let (Some(report), Some(closed)) = (facts.report, facts.closed) else {
        return;
    };
    let early = ms(facts.config.tolerance.early_ms);
    // L1 ends as `disconnect(linger)` does (E4).
    let own = report.reason == Reason::TimeoutWaitingForTask;
    let in_time = earliest.is_some_and(|(_, deadline)| facts.us(closed) + early >= deadline);
    if report.deadline_reached && !in_time && !own {
        let what = format!("a deadline was reached at {} ms", facts.us(closed) / 1000);
        let allowed = match earliest {
            Some((_, deadline)) => format!("none before {} ms", deadline / 1000),
            None => "none, for none was set".into(),
        };
        let called = earliest.map(|(call, _)| call.called);
        found.broken(Rule::D2, what, allowed, called.into_iter().chain([closed]));
    }
}

/// Whether a task may block the connection's own thread (D4).
fn blocks(facts: &Facts<'_>) -> bool {
    facts
        .observed()
        .any(|(_, what)| matches!(what, crate::Observed::LimitReached { rule } if rule == "D4"))
}

/// Whether the connection ended by draining, and neither a deadline, a close nor
/// a reset cut it short.
fn drained(facts: &Facts<'_>, report: &Report) -> bool {
    let drains = match report.reason {
        Reason::GracefulDisconnect | Reason::TimeoutWaitingForTask => true,
        Reason::ClientClosed => facts.config.on_half_close == crate::OnHalfClose::Drain,
        _ => false,
    };
    let closed = facts.calls.iter().any(|call| call.what == Call::Close);
    drains && !closed && !report.deadline_reached && facts.client_reset.is_none()
}

/// D3: live tasks go on, and their responses are sent.
fn check_drain(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (Some(report), Some(closed)) = (facts.report, facts.closed) else {
        return;
    };
    if !drained(facts, report) {
        return;
    }
    let allowed =
        "every accepted request answered, for neither a deadline nor an error cut the end short";
    if let Some(task) = report.interrupted_tasks.first() {
        let request = facts
            .requests
            .iter()
            .rev()
            .find(|r| r.id == task.id && r.answer.is_none());
        let what = format!("{} was interrupted while draining", task.id);
        found.broken(
            Rule::D3,
            what,
            allowed,
            request.map(|r| r.end).into_iter().chain([closed]),
        );
    } else if let (Tail::Cut { first, last, .. }, Some(ended)) = (&facts.tail, facts.server_ended) {
        found.broken(
            Rule::D3,
            "a response was cut",
            allowed,
            [*first, *last, ended],
        );
    }
    let dropped = facts
        .runs
        .iter()
        .find_map(|run| match (run.request, run.ended) {
            (Some(request), Some((moment, RunEnd::Dropped))) => {
                let cancelled = facts.cancels_of(request, moment).next().is_some();
                let limited = facts
                    .task(&facts.requests[request])
                    .is_some_and(|t| t.run_limit_ms.is_some());
                (!cancelled && !limited).then_some((run, moment))
            }
            _ => None,
        });
    if let Some((run, moment)) = dropped {
        let what = format!("the run function of {} was dropped while draining", run.id);
        found.broken(Rule::D3, what, allowed, [run.started, moment, closed]);
    }
}

/// D3, L11: after the end of its stream the server waits for the client's, or
/// linger, or the deadline; then it closes.
fn check_linger(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Some(ended) = facts.server_ended else {
        return;
    };
    let tolerance = &facts.config.tolerance;
    let linger = ms(facts.config.timeouts.linger_ms);
    let deadline = facts.deadline_us().unwrap_or(u64::MAX);
    let client = facts
        .client_ended
        .map_or(u64::MAX, |moment| facts.us(moment));
    let reset = facts
        .client_reset
        .map_or(u64::MAX, |moment| facts.us(moment));
    // One that came before was not noticed before (L12).
    let both = client.min(reset).max(facts.us(ended));
    let due = facts
        .us(ended)
        .saturating_add(linger)
        .min(deadline)
        .min(both);
    let late = ms(tolerance.late_ms + tolerance.network_ms);
    // A stall keeps back when the server's stream ended, and when the client's did.
    let set_out = facts.us(ended).saturating_sub(ms(tolerance.network_ms));
    if !facts.flows(set_out, due.saturating_add(late)) {
        return;
    }
    let closed = ended_us(facts);
    let moments = || {
        [ended]
            .into_iter()
            .chain(facts.client_ended)
            .chain(facts.closed)
    };
    if closed > due.saturating_add(late) && facts.history.end_us > due.saturating_add(late) {
        let what = format!(
            "the connection was over at {} ms and not closed",
            due / 1000
        );
        let allowed = "closed at the client's end of stream, linger or the deadline";
        found.broken(Rule::D3, what, allowed, moments());
    }
    let Some(report) = facts.report else {
        return;
    };
    let early = ms(tolerance.early_ms + tolerance.network_ms);
    let closes = facts.calls.iter().any(|call| call.what == Call::Close);
    // PROTOCOL L8: what is refused is closed at once.
    let at_once = matches!(report.reason, Reason::Transport | Reason::Refused);
    // D6: nor is one taken that comes when the server is shut down.
    let taken = facts.history.views.observer == View::Partial
        || facts.observed().any(|(_, what)| *what == Observed::Opened);
    let lingers = !closes && !report.deadline_reached && !at_once && taken;
    if lingers && closed.saturating_add(early) < due {
        let what = format!("the connection was closed at {} ms", closed / 1000);
        let allowed = format!(
            "a linger until {} ms, or the client's end of stream",
            due / 1000
        );
        found.broken(Rule::L11, what, allowed, moments());
    }
}

/// Whether L2 may have ended the connection before: a message took so long to come,
/// whether what was written later ended it or not.
fn reading_failed_before(facts: &Facts<'_>, moment: Moment) -> bool {
    let reason = facts.report.map(|report| report.reason);
    if !matches!(reason, Some(Reason::ReadTimeout | Reason::ReadTooSlow)) {
        return false;
    }
    let tolerance = ms(facts.config.tolerance.early_ms + facts.config.tolerance.network_ms);
    let whole = facts
        .requests
        .iter()
        .map(|request| (request.first, Some(request.end)));
    let partial = facts.partial.iter().map(|partial| (partial.first, None));
    whole.chain(partial).any(|(first, end)| {
        let failed = facts
            .us(first)
            .saturating_add(ms(facts.config.timeouts.read_ms));
        failed <= facts.us(moment).saturating_add(tolerance)
            && end.is_none_or(|end| facts.us(end) >= failed)
    })
}

/// T3, T7, T8: what ends a connection does end it (D8).
fn check_errors(facts: &Facts<'_>, found: &mut Found<'_>) {
    let timeouts = &facts.config.timeouts;
    // D8: what is queued is written within L3, which may be six limits long.
    let slack = ms(6 * timeouts.write_ms
        + facts.config.tolerance.late_ms
        + 2 * facts.config.tolerance.network_ms);
    let by_run = facts.runs.iter().filter_map(|run| {
        let (moment, how) = run.ended?;
        let cancelled = facts.cancels_of(run.request?, moment + 1).next().is_some();
        (how == RunEnd::Uncoded && !cancelled).then_some((Rule::T8, moment))
    });
    let by_function = facts
        .functions
        .iter()
        .filter_map(|function| match function.ended {
            Some((moment, FunctionEnd::Failed)) => Some((Rule::T3, moment)),
            _ => None,
        });
    let by_kind = facts
        .requests
        .iter()
        .enumerate()
        .filter_map(|(number, request)| {
            let rule = match facts.task(request)?.does {
                Does::Reject => Rule::T3,
                Does::Break => Rule::T8,
                _ => return None,
            };
            let cancelled = facts.cancels_of(number, Moment::MAX).next().is_some();
            // Only what was looked at can fail: later requests show that it was.
            let looked_at = facts.accepted_at_least() > number + 1 && request.answer.is_none();
            // When it failed is known of what was recorded.
            let recorded = request.run.is_some() || request.function.is_some();
            // A refusal (L6, L16) may not have been read yet.
            let refused = places::may_be_full(facts, number);
            (looked_at && !cancelled && !recorded && !refused).then_some((rule, request.end))
        });
    let causes: Vec<_> = by_run.chain(by_function).chain(by_kind).collect();
    let named = matches!(
        facts.report.map(|report| report.reason),
        Some(Reason::TaskFunction { .. } | Reason::RunFunction { .. } | Reason::Body { .. })
    );
    for (rule, moment) in causes {
        let until = facts.us(moment).saturating_add(slack);
        let over = facts
            .over()
            .map_or(facts.history.end_us, |over| facts.us(over));
        // A client that does not read sees the end late: what counts is when the
        // connection was closed, less its linger.
        let over = if facts.flows(facts.us(moment), over) {
            over
        } else if named || reading_failed_before(facts, moment) {
            // D8: what is queued is still written, as slowly as L3 allows.
            facts.us(moment)
        } else {
            ended_us(facts).saturating_sub(ms(timeouts.linger_ms))
        };
        if over > until {
            let what = "a failure without a code did not end the connection";
            found.broken(
                rule,
                what,
                "a connection error (D8)",
                [moment].into_iter().chain(facts.over()),
            );
        }
        let late = facts.us(moment)
            + ms(facts.config.tolerance.late_ms + facts.config.tolerance.network_ms);
        let taken = facts.requests[..facts.accepted_at_least()]
            .iter()
            .find(|r| facts.us(r.first) > late);
        if let Some(request) = taken {
            let what = format!(
                "request {} was accepted after a connection error",
                request.id
            );
            found.broken(Rule::D8, what, "reading stops", [moment, request.end]);
        }
    }
}

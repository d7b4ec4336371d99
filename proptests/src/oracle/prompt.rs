//! T5, in time: what has ended is answered at once where nothing holds the
//! answer up. A wake-up that got lost shows here, and nowhere else.

use super::facts::{Facts, Moment, Run, ms};
use super::outcome::{Outcome, outcome};
use super::rule::{Found, Rule};
use super::sent::Sent;
use crate::history::{BodyEnd, RunEnd, View};
use crate::tasks::{OnCancel, natural};

/// Judges how long answers took.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (number, request) in facts.requests.iter().enumerate() {
        if request.is_cancel() {
            continue;
        }
        if let Some((due_us, moment)) = due(facts, number, request) {
            check_answer(facts, request, due_us, moment, found);
        }
    }
}

/// L12: when no client holds anything up any more, reading goes on by itself.
pub(crate) fn check_after_stalls(facts: &Facts<'_>, found: &mut Found<'_>) {
    let ends = facts.stalls.iter().map(|(_, _, end)| *end);
    let Some(flows) = ends.max_by_key(|end| end.unwrap_or(Moment::MAX)).flatten() else {
        return;
    };
    // What sets out then takes its way, and so does its answer.
    let late = ms(facts.config.tolerance.late_ms + 2 * facts.config.tolerance.network_ms);
    let until = facts.us(flows) + late;
    let over = facts
        .stopped_reading()
        .is_some_and(|over| facts.us(over) <= until);
    let watched = facts.history.end_us > until;
    if over || !watched || facts.cannot_answer(until) || facts.is_full_of_tasks() {
        return;
    }
    for request in facts.requests.iter().filter(|request| request.end < flows) {
        let run = facts.run_of(request).map(|run| run.started);
        let answer = facts.answer(request).map(|answer| answer.last);
        let looked_at = run.into_iter().chain(answer).min();
        if !request.is_cancel() && looked_at.is_none_or(|moment| facts.us(moment) > until) {
            let what = format!(
                "request {} was not looked at when all flowed again",
                request.id
            );
            let allowed = format!("a start or an answer by {} ms", until / 1000);
            let shown = [request.end, flows].into_iter().chain(looked_at);
            return found.broken(Rule::L7, what, allowed, shown);
        }
    }
}

fn check_answer(
    facts: &Facts<'_>,
    request: &Sent,
    due_us: u64,
    moment: Moment,
    found: &mut Found<'_>,
) {
    let tolerance = &facts.config.tolerance;
    let until = due_us + ms(tolerance.late_ms + 2 * tolerance.network_ms);
    let answered = facts
        .answer(request)
        .map_or(u64::MAX, |answer| facts.us(answer.last));
    let watched = facts.history.end_us > until;
    if answered <= until || !watched || !facts.flows(due_us, until) || facts.cannot_answer(until) {
        return;
    }
    let what = format!(
        "request {} (code {}) was ready at {} ms and {}",
        request.id,
        request.code,
        due_us / 1000,
        match facts.answer(request) {
            Some(answer) => format!("answered at {} ms", facts.us(answer.last) / 1000),
            None => "never answered".into(),
        }
    );
    let shown = facts.answer(request).map(|answer| answer.last);
    let allowed = format!("an answer by {} ms, for nothing held it up", until / 1000);
    found.broken(
        Rule::T5,
        what,
        allowed,
        [request.end, moment].into_iter().chain(shown),
    );
}

/// From when on an answer may be expected, and the event that says so.
fn due(facts: &Facts<'_>, number: usize, request: &Sent) -> Option<(u64, Moment)> {
    if let Some(run) = facts.run_of(request) {
        let ended = run_end(run)?;
        return Some((facts.us(ended), ended));
    }
    // PROTOCOL D1: what is looked at once reading has stopped is discarded.
    let slack = ms(facts.config.tolerance.late_ms + facts.config.tolerance.network_ms);
    let discarded = |stopped| facts.us(stopped) <= facts.us(request.end).saturating_add(slack);
    let (first, end) = (facts.us(request.first), facts.us(request.end));
    let reads_on = facts.reads_on(first, end.saturating_add(slack));
    if !reads_on || facts.stopped_reading().is_some_and(discarded) {
        return None;
    }
    let at_once = Some((facts.us(request.end), request.end));
    let Some(task) = facts.task(request) else {
        return at_once;
    };
    if facts.history.views.tasks == View::Complete || task.on_cancel != OnCancel::Drop {
        return None;
    }
    // Tasks of which nothing was recorded: by what section 11 says of them.
    let order = facts.config.byte_order.into();
    let (_, takes) = natural(task.does, &request.message, order);
    let expected = matches!(
        outcome(facts, request, task),
        Outcome::Ok(_) | Outcome::Pattern(_) | Outcome::Error(_) | Outcome::LiveIds
    );
    let cancelled = facts.cancels_of(number, Moment::MAX).next().is_some();
    let takes = task.run_limit_ms.map_or(takes, |limit| takes.min(limit));
    (expected && !cancelled).then(|| (facts.us(request.end).saturating_add(ms(takes)), request.end))
}

/// When a run and its body had ended, if an answer follows from it.
fn run_end(run: &Run) -> Option<Moment> {
    match run.ended? {
        (
            _,
            RunEnd::Streamed {
                then: BodyEnd::Stalls,
                ..
            },
        ) => match run.body? {
            (ended, BodyEnd::Whole) => Some(ended),
            _ => None,
        },
        (
            ended,
            RunEnd::Streamed {
                then: BodyEnd::Whole,
                ..
            },
        ) => Some(ended),
        (_, RunEnd::Streamed { .. } | RunEnd::Uncoded) => None,
        (ended, _) => Some(ended),
    }
}

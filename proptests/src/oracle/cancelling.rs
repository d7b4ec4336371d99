//! What a cancel does to a function: T3, T10, T12, T13.

use super::answers::certain_cancel;
use super::facts::{Facts, Moment, Run, ms};
use super::rule::{Found, Rule};
use crate::history::{Observed, RunEnd};
use crate::report::Reason;
use crate::tasks::{OnCancel, Runs, TaskSpec};

/// Judges when functions end after a cancel, and why others were dropped.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    for number in 0..facts.requests.len() {
        if let Some(task) = facts.task(&facts.requests[number]) {
            check_ends(facts, number, task, found);
            check_receiving(facts, number, found);
            check_dropped(facts, number, task, found);
            check_grace(facts, number, task, found);
        }
    }
    check_stuck(facts, found);
}

/// T10, T13: after a cancel the function ends, and is answered, in its time.
fn check_ends(facts: &Facts<'_>, number: usize, task: &TaskSpec, found: &mut Found<'_>) {
    let Some((cancelled, run)) = certain_cancel(facts, number) else {
        return;
    };
    let late = ms(facts.config.tolerance.late_ms);
    let grace_over = facts.us(cancelled) + ms(task.grace_ms());
    let ended = run
        .ended
        .map_or(facts.history.end_us, |(moment, _)| facts.us(moment));
    let stuck = facts.stuck(run.id).is_some();
    if ended > grace_over + late && task.runs.is_future() && !stuck {
        let what = format!(
            "the run function of {} went on for {} ms after its cancel",
            run.id,
            (ended - facts.us(cancelled)) / 1000
        );
        let allowed = format!("{} ms of grace, then it is dropped", task.grace_ms());
        found.broken(Rule::T10, what, allowed, shown(run, cancelled));
    }
    let until = grace_over + ms(1000) + late + ms(facts.config.tolerance.network_ms);
    let request = &facts.requests[number];
    let answered = facts
        .answer(request)
        .map_or(facts.history.end_us, |answer| facts.us(answer.last));
    let over = facts.over().is_some_and(|over| facts.us(over) <= until);
    let failing = facts.cannot_answer(until);
    let flows = facts.flows(facts.us(cancelled), until);
    if answered > until && !over && !failing && flows {
        let what = format!("task {} was not answered after its cancel", run.id);
        let allowed = format!("an answer within {} ms and 1 s", task.grace_ms());
        let answer = facts.answer(request).map(|answer| answer.first);
        found.broken(
            Rule::T13,
            what,
            allowed,
            shown(run, cancelled).into_iter().chain(answer),
        );
    }
}

fn shown(run: &Run, cancelled: Moment) -> Vec<Moment> {
    let ended = run.ended.map(|(ended, _)| ended);
    [run.started, cancelled].into_iter().chain(ended).collect()
}

/// T10, in Receiving: the run function is not started.
fn check_receiving(facts: &Facts<'_>, number: usize, found: &mut Found<'_>) {
    let request = &facts.requests[number];
    let (Some(function), Some(run)) = (request.function, facts.run_of(request)) else {
        return;
    };
    let function = &facts.functions[function];
    let cancel = facts.cancels_of(number, run.started).find(|cancel| {
        let certain = cancel.certain.is_some_and(|certain| certain < run.started);
        certain
            && cancel.called > function.started
            && function
                .ended
                .is_none_or(|(ended, _)| ended > cancel.called)
    });
    if let Some(cancel) = cancel {
        let what = format!(
            "the run function of {} started, though it was cancelled while its message was read",
            run.id
        );
        let moments = [function.started, cancel.called, run.started];
        found.broken(Rule::T10, what, "no run function, and CANCELLED", moments);
    }
}

/// T10: nothing but a cancel, a limit or the connection's end drops a function.
fn check_dropped(facts: &Facts<'_>, number: usize, task: &TaskSpec, found: &mut Found<'_>) {
    let Some(run) = facts.run_of(&facts.requests[number]) else {
        return;
    };
    let Some((dropped, RunEnd::Dropped)) = run.ended else {
        return;
    };
    let allowance = ms(2 * facts.config.tolerance.late_ms + facts.config.tolerance.network_ms);
    let time = facts.us(dropped);
    let cancelled = facts.cancels_of(number, dropped).next().is_some();
    let limit = task
        .run_limit_ms
        .map(|limit| facts.us(run.started).saturating_add(ms(limit)));
    let limited = limit.is_some_and(|limit| limit <= time + ms(facts.config.tolerance.early_ms));
    let over = facts
        .over()
        .is_some_and(|over| facts.us(over) <= time + allowance);
    let over = over || facts.interrupted(run.id, dropped);
    let unseen = facts.history.end_us < time + allowance;
    if !cancelled && !limited && !over && !unseen && !facts.cannot_answer(time + allowance) {
        let what = format!("the run function of {} was dropped", run.id);
        let allowed = "an end by itself, for nothing had cancelled it";
        found.broken(Rule::T10, what, allowed, [run.started, dropped]);
    }
}

/// T10: a cooperating function has its grace, beyond its connection's end, too.
fn check_grace(facts: &Facts<'_>, number: usize, task: &TaskSpec, found: &mut Found<'_>) {
    let request = &facts.requests[number];
    let (Some(run), OnCancel::Cooperate { grace_ms }) = (facts.run_of(request), task.on_cancel)
    else {
        return;
    };
    let Some((dropped, RunEnd::Dropped)) = run.ended else {
        return;
    };
    // Other ends have causes that cannot be seen when they happen.
    let seen = [
        Reason::Aborted,
        Reason::GracefulDisconnect,
        Reason::Transport,
    ];
    if !facts
        .report
        .is_some_and(|report| seen.contains(&report.reason))
    {
        return;
    }
    let cancels = facts.cancels_of(number, dropped);
    let limit = task
        .run_limit_ms
        .map(|limit| facts.us(request.end).saturating_add(ms(limit)));
    let broken = [facts.client_reset, facts.client_ended];
    let told = cancels
        .map(|cancel| facts.us(cancel.called))
        .chain(limit)
        .chain(facts.deadline_us())
        .chain(broken.into_iter().flatten().map(|moment| facts.us(moment)))
        .min();
    let due = told.map_or(u64::MAX, |told| told.saturating_add(ms(grace_ms)));
    if facts.us(dropped) + ms(facts.config.tolerance.early_ms) < due && facts.stalls.is_empty() {
        let what = format!("the run function of {} was dropped in its grace", run.id);
        let allowed = format!("an end by itself for {grace_ms} ms after it was told");
        found.broken(Rule::T10, what, allowed, [run.started, dropped]);
    }
}

/// T13: a task is stuck only when its time to end is over.
fn check_stuck(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (moment, observed) in facts.observed() {
        let Observed::Stuck { id } = observed else {
            continue;
        };
        let of_id = |number: &usize| {
            let request = &facts.requests[*number];
            request.id == *id && request.end < moment && facts.task(request).is_some()
        };
        // A later request with the same id is a duplicate (T11).
        let runs = |number: &usize| {
            let run = facts.run_of(&facts.requests[*number]);
            run.is_some_and(|run| {
                run.started < moment && run.ended.is_none_or(|(ended, _)| ended > moment)
            })
        };
        let last = || (0..facts.requests.len()).rev().filter(of_id);
        let of_id = last().find(runs).or_else(|| last().next());
        let Some((number, task)) = of_id.and_then(|n| Some((n, facts.task(&facts.requests[n])?)))
        else {
            found.broken(
                Rule::T13,
                format!("{id} is stuck, and no such task was live"),
                "a live task",
                [moment],
            );
            continue;
        };
        let by_cancel = facts
            .cancels_of(number, moment)
            .map(|cancel| facts.us(cancel.called))
            .min();
        let end = facts.requests[number].end;
        let by_limit = task
            .run_limit_ms
            .map(|limit| facts.us(end).saturating_add(ms(limit)));
        let by_end = facts.endings().map(|(call, _)| facts.us(call.called)).min();
        let by_close = facts
            .over()
            .filter(|over| *over < moment)
            .map(|over| facts.us(over));
        let wait = match task.runs {
            Runs::Blocking => task.grace_ms(),
            _ => task.grace_ms() + 1000,
        };
        let told = [by_cancel, by_limit, by_end, by_close]
            .into_iter()
            .flatten()
            .min();
        let early = ms(facts.config.tolerance.early_ms);
        if told.is_none_or(|told| facts.us(moment) + early < told + ms(wait)) && by_end.is_none() {
            let what = format!("task {id} was reported as stuck");
            let allowed = format!("that only {wait} ms after it was told to end");
            found.broken(Rule::T13, what, allowed, [end, moment]);
        }
    }
}

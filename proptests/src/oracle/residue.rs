//! Nothing is left over: what must hold when a history has ended for good.

use super::facts::{Facts, Moment, Run, ms};
use super::received::{Reply, Tail};
use super::rule::{Found, Rule};
use crate::history::{Residue, RunEnd, View, What};
use crate::tasks::{OnCancel, Runs, TaskSpec};

/// Judges what is owed at the end.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.closed.is_none() && facts.history.views.observer == View::Complete {
        let what = "the connection has neither ended nor been reported";
        return found.broken(Rule::D9, what, "one reason and a report", last(facts));
    }
    check_functions(facts, found);
    check_bodies(facts, found);
    check_left(facts, found);
    check_counted(facts, found);
}

fn last(facts: &Facts<'_>) -> Option<Moment> {
    facts.history.events.len().checked_sub(1)
}

/// T3, T10: every function has ended, or been dropped.
fn check_functions(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.history.views.tasks != View::Complete {
        return;
    }
    let unended = facts
        .functions
        .iter()
        .find(|function| function.ended.is_none());
    if let Some(function) = unended {
        let what = format!(
            "the task function of {} was neither ended nor dropped",
            function.id
        );
        found.broken(
            Rule::Residue,
            what,
            "no function left",
            [function.started].into_iter().chain(facts.closed),
        );
    }
    let Some(closed) = facts.closed else {
        return;
    };
    for run in facts.runs.iter().filter(|run| run.ended.is_none()) {
        let task = facts.config.task(run.code);
        let Some(task) = task.filter(|task| task.runs.is_future()) else {
            continue;
        };
        let until = facts.us(closed) + ms(task.grace_ms() + facts.config.tolerance.late_ms);
        if facts.history.end_us > until && facts.stuck(run.id).is_none() {
            let what = format!(
                "the run function of {} goes on after the end of its connection",
                run.id
            );
            let allowed = format!("its end within its grace of {} ms", task.grace_ms());
            found.broken(Rule::Residue, what, allowed, [run.started, closed]);
        }
    }
    let may_start = |run: &Run| {
        let task = facts.config.task(run.code);
        task.is_some_and(keeps_grace_before_its_start)
            && facts.us(run.started) <= facts.us(closed) + ms(facts.config.tolerance.late_ms)
    };
    let started = facts
        .runs
        .iter()
        .filter(|run| !may_start(run))
        .map(|run| run.started)
        .find(|started| *started > closed);
    if let Some(started) = started {
        found.broken(
            Rule::D4,
            "a run function started after the connection had closed",
            "none",
            [closed, started],
        );
    }
}

/// T10: a cooperating function that the executor has not polled yet has its
/// grace, too, when its connection ends.
fn keeps_grace_before_its_start(task: &TaskSpec) -> bool {
    task.runs == Runs::Spawn && matches!(task.on_cancel, OnCancel::Cooperate { .. })
}

/// T7: a body's reader is dropped once copying stops.
fn check_bodies(facts: &Facts<'_>, found: &mut Found<'_>) {
    let streamed = |run: &&Run| matches!(run.ended, Some((_, RunEnd::Streamed { .. })));
    if facts.history.views.tasks == View::Complete
        && let Some(run) = facts
            .runs
            .iter()
            .filter(streamed)
            .find(|run| run.body_dropped.is_none())
    {
        let what = format!("the body of {} was never dropped", run.id);
        let ended = run.ended.map(|(ended, _)| ended);
        found.broken(
            Rule::T7,
            what,
            "a body dropped once copying stops",
            ended.into_iter().chain(facts.closed),
        );
    }
}

/// L6, L7, L16: every counted place was given back, but for functions that run on.
fn check_left(facts: &Facts<'_>, found: &mut Found<'_>) {
    let left = facts
        .history
        .events
        .iter()
        .enumerate()
        .find_map(|(moment, event)| match event.what {
            What::Left(residue) => Some((moment, residue)),
            _ => None,
        });
    let Some((moment, residue)) = left else {
        return;
    };
    let unended = || {
        facts
            .runs
            .iter()
            .filter(|run| run.ended.is_none_or(|(ended, _)| ended > moment))
    };
    let held: usize = unended()
        .filter_map(|run| Some(facts.requests[run.request?].message.len()))
        .sum();
    let allowed = Residue {
        tasks: unended().count() as u64,
        held_bytes: held as u64,
        ..Residue::default()
    };
    let is_over = |left: u64, allowed: u64| left > allowed;
    if is_over(residue.clients, 0)
        || is_over(residue.tasks, allowed.tasks)
        || is_over(residue.unsent_bytes, 0)
        || is_over(residue.held_bytes, allowed.held_bytes)
        || is_over(residue.others, 0)
    {
        let what = format!("the server still holds {residue:?}");
        found.broken(
            Rule::Residue,
            what,
            format!("at most {allowed:?}"),
            [moment],
        );
    }
}

/// T5, E4, where there is no report: what Goodbye counted is answered before a
/// good end of the stream.
fn check_counted(facts: &Facts<'_>, found: &mut Found<'_>) {
    let (None, Some(ended), Tail::Clean) = (facts.report, facts.server_ended, &facts.tail) else {
        return;
    };
    let counted = facts
        .responses
        .iter()
        .find_map(|response| match response.reply {
            Reply::Goodbye(accepted) => Some((response.first, accepted as usize)),
            _ => None,
        });
    let Some((goodbye, accepted)) = counted else {
        return;
    };
    let cut_short = facts.cannot_answer_before(ended);
    let accepted = accepted.min(facts.requests.len());
    let owed = facts.requests[..accepted]
        .iter()
        .find(|r| r.answer.is_none() && !r.is_cancel());
    if let Some(request) = owed.filter(|_| !cut_short) {
        let what = format!(
            "Goodbye counted request {}, and it was never answered",
            request.id
        );
        found.broken(
            Rule::T5,
            what,
            "an answer to every request that was counted",
            [request.end, goodbye, ended],
        );
    }
}

impl Facts<'_> {
    /// Whether a deadline, the client or an error may have kept answers back
    /// before the server ended its stream.
    fn cannot_answer_before(&self, ended: Moment) -> bool {
        let late = ms(self.config.tolerance.late_ms + self.config.tolerance.network_ms);
        let deadline = self
            .deadline_us()
            .is_some_and(|deadline| deadline <= self.us(ended) + late);
        let client = self.client_ended.or(self.client_reset).is_some();
        deadline || client || self.errors().next().is_some()
    }
}

//! Task functions, run functions and ids: T1, T2, T3, T5, T6, T11.

use super::facts::{Facts, Function, Moment, Run};
use super::places;
use super::received::Reply;
use super::rule::{Found, Rule};
use crate::history::{Call, FunctionEnd, Observed, View};

/// Judges the order of functions and what each response belongs to.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    check_owed(facts, found);
    for (index, function) in facts.functions.iter().enumerate() {
        check_function(facts, function, found);
        if let Some(next) = facts.functions.get(index + 1) {
            check_order(function, next, found);
        }
    }
    for run in &facts.runs {
        check_run(facts, run, found);
    }
    check_duplicates(facts, found);
    check_finished(facts, found);
}

/// T5: every terminal response belongs to a request whose end had been sent.
fn check_owed(facts: &Facts<'_>, found: &mut Found<'_>) {
    for response in &facts.responses {
        let (Some(id), None) = (response.reply.terminal_id(), response.request) else {
            continue;
        };
        let name = response.reply.name();
        let moments = [response.first, response.last];
        let later = facts
            .requests
            .iter()
            .find(|r| r.id == id && !r.is_cancel() && r.end >= response.first);
        let partial = facts
            .partial
            .as_ref()
            .and_then(|p| p.header)
            .filter(|(_, of, _)| *of == id);
        if let Some(request) = later.filter(|request| request.first < response.first) {
            let what = format!("{name} came before the end of its request was sent");
            let moments = [request.first, request.end].into_iter().chain(moments);
            found.broken(
                Rule::T5,
                what,
                "no response before the request's end",
                moments,
            );
        } else if let Some((_, _, header)) =
            partial.filter(|(_, _, header)| *header < response.first)
        {
            let what = format!("{name} came, but the end of its request was never sent");
            found.broken(
                Rule::T5,
                what,
                "no response before the request's end",
                [header, response.first],
            );
        } else {
            let of_id = facts
                .requests
                .iter()
                .filter(|r| r.id == id && !r.is_cancel());
            let shown: Vec<_> = of_id
                .flat_map(|r| [Some(r.end), facts.answer(r).map(|a| a.last)])
                .flatten()
                .collect();
            let what = format!("{name} came, and no request of this id was live");
            let allowed = "one terminal response for each request";
            found.broken(Rule::T5, what, allowed, shown.into_iter().chain(moments));
        }
    }
}

/// T1, T2, T4: a function is for a request, and sees its message alone.
fn check_function(facts: &Facts<'_>, function: &Function, found: &mut Found<'_>) {
    let name = format!(
        "a task function for {} (code {})",
        function.id, function.code
    );
    if facts.config.task(function.code).is_none() {
        let allowed = "no function for a code that is not registered";
        return found.broken(Rule::T4, name, allowed, [function.started]);
    }
    let Some(index) = function.request else {
        let partial = facts.partial.as_ref().and_then(|partial| partial.header);
        let is_partial = |(code, id, header): (u8, u32, Moment)| {
            (code, id) == (function.code, function.id) && header < function.started
        };
        if !partial.is_some_and(is_partial) {
            let allowed = "one task function for each request";
            found.broken(
                Rule::T1,
                format!("{name} has no request"),
                allowed,
                [function.started],
            );
        }
        return;
    };
    let request = &facts.requests[index];
    if let Some(read) = &function.read
        && !request.message.starts_with(read)
        && !reads_a_later_one(facts, index, function, read)
    {
        let what = format!(
            "{name} read {} bytes that are not the start of its message",
            read.len()
        );
        let moments = [request.first, request.end, function.started];
        found.broken(Rule::T2, what, "exactly its own message, in order", moments);
    }
}

/// Whether it may be for a later request of the same id: the earlier one was refused,
/// and the client may not have seen that.
fn reads_a_later_one(facts: &Facts<'_>, index: usize, function: &Function, read: &[u8]) -> bool {
    let is_unanswered = facts.requests[index].answer.is_none();
    is_unanswered
        && places::may_be_full(facts, index)
        && facts.requests[index + 1..].iter().any(|later| {
            (later.id, later.code) == (function.id, function.code)
                && later.header < function.started
                && later.message.starts_with(read)
        })
}

/// T1: one at a time, in the order of the requests.
fn check_order(function: &Function, next: &Function, found: &mut Found<'_>) {
    let moments = [function.started, next.started];
    let overlap = function.ended.is_none_or(|(ended, _)| ended > next.started);
    if overlap {
        let what = format!(
            "the task functions of {} and {} run at the same time",
            function.id, next.id
        );
        found.broken(
            Rule::T1,
            what,
            "one task function of a connection at a time",
            moments,
        );
    } else if function.request > next.request && next.request.is_some() {
        let what = format!(
            "the task function of {} was called before that of {}",
            function.id, next.id
        );
        found.broken(Rule::T1, what, "the order of the requests", moments);
    }
}

/// T3, T6: a run function starts for an accepted request, once its task
/// function has returned it.
fn check_run(facts: &Facts<'_>, run: &Run, found: &mut Found<'_>) {
    let name = format!("the run function of {} (code {})", run.id, run.code);
    let Some(request) = run.request.map(|request| &facts.requests[request]) else {
        let allowed = "one run function at most for each accepted request";
        return found.broken(
            Rule::T3,
            format!("{name} started for no live request"),
            allowed,
            [run.started],
        );
    };
    if request.end >= run.started {
        let what = format!("{name} started before the request's end was sent");
        found.broken(
            Rule::T3,
            what,
            "no start before the request is accepted",
            [run.started, request.end],
        );
    }
    let Some(function) = request.function.map(|function| &facts.functions[function]) else {
        return;
    };
    match function.ended {
        Some((ended, FunctionEnd::Task)) if ended < run.started => {}
        Some((ended, FunctionEnd::Nothing)) => {
            let what = format!("{name} started, and the task function returned none");
            found.broken(
                Rule::T6,
                what,
                "OK with the empty message, nothing else",
                [ended, run.started],
            );
        }
        _ => {
            let what = format!("{name} started, and its task function had not returned it");
            let moments = [function.started, run.started];
            found.broken(
                Rule::T3,
                what,
                "a start once the task function has returned",
                moments,
            );
        }
    }
}

/// T11: a request with a live id is not accepted.
fn check_duplicates(facts: &Facts<'_>, found: &mut Found<'_>) {
    for (index, first) in facts.runs.iter().enumerate() {
        let ended = first.ended.map_or(Moment::MAX, |(moment, _)| moment);
        let second = facts.runs[index + 1..].iter();
        let mut second = second.filter(|run| run.id == first.id && run.started < ended);
        let Some(second) = second.next() else {
            continue;
        };
        // A stuck function goes on when its id is free again (T13).
        let stuck = facts
            .stuck(first.id)
            .is_some_and(|stuck| stuck < second.started);
        let answered = first.request.and_then(|r| facts.answer(&facts.requests[r]));
        if !stuck && answered.is_none_or(|answer| answer.last > second.started) {
            let what = format!("two run functions with the id {} run", first.id);
            let allowed = "a connection error for the second request";
            found.broken(Rule::T11, what, allowed, [first.started, second.started]);
        }
    }
}

/// T5: the observer is told once of each task how it finished.
fn check_finished(facts: &Facts<'_>, found: &mut Found<'_>) {
    if facts.history.views.observer != View::Complete {
        return;
    }
    let mut live = std::collections::BTreeMap::new();
    for (moment, observed) in facts.observed() {
        match observed {
            Observed::Started { id, .. } => {
                if let Some(before) = live.insert(*id, moment) {
                    let what = format!("the observer saw {id} start twice and not finish between");
                    found.broken(Rule::T5, what, "each task finishes once", [before, moment]);
                }
            }
            Observed::Finished { id, ending } => {
                let was_live = live.remove(id).is_some();
                // What is answered without a run function finishes without a start.
                let never_ran = !facts.runs.iter().any(|run| run.id == *id);
                if !was_live
                    && !never_ran
                    && matches!(ending, crate::Ending::Ok)
                    && twice(facts, *id, moment)
                {
                    let what = format!("the observer saw {id} finish once too often");
                    found.broken(Rule::T5, what, "each task finishes once", [moment]);
                }
            }
            _ => {}
        }
    }
}

/// Whether more tasks with this id have finished than requests were sent.
fn twice(facts: &Facts<'_>, id: u32, moment: Moment) -> bool {
    let finished = |(at, what): &(Moment, &Observed)| {
        *at <= moment && matches!(what, Observed::Finished { id: of, .. } if *of == id)
    };
    let sent = facts
        .requests
        .iter()
        .filter(|r| r.id == id && r.end < moment && !r.is_cancel());
    facts.observed().filter(finished).count() > sent.count()
}

/// The ids that may be, and those that must be, in a list that was made
/// between `from` and `to` (T11).
pub(crate) fn listable(facts: &Facts<'_>, from: Moment, to: Moment) -> (Vec<u32>, Vec<u32>) {
    let (mut may, mut must) = (Vec::new(), Vec::new());
    // PROTOCOL D5: with the call's return all is over.
    let is_closed = facts.calls.iter().any(|call| {
        let returned = call.returned.as_ref().map(|(moment, _)| *moment);
        call.what == Call::Close && returned.is_some_and(|returned| returned < to)
    });
    for request in facts.requests.iter().filter(|r| facts.task(r).is_some()) {
        let gone = facts
            .answer(request)
            .is_some_and(|answer| answer.last < from);
        if request.header < to && !gone {
            may.push(request.id);
        }
        let runs = |run: &Run| run.started < from && run.ended.is_none_or(|(ended, _)| ended > to);
        let is_live = facts.run_of(request).is_some_and(runs);
        let stuck = facts.stuck(request.id).is_some();
        let over = is_closed || facts.over().is_some_and(|over| over < to);
        let cancelled = facts
            .answer(request)
            .is_some_and(|answer| answer.first < to);
        let interrupted = facts.interrupted(request.id, to);
        if is_live && !stuck && !over && !cancelled && !interrupted {
            must.push(request.id);
        }
    }
    let partial = facts.partial.as_ref().and_then(|partial| partial.header);
    may.extend(
        partial
            .filter(|(_, _, header)| *header < to)
            .map(|(_, id, _)| id),
    );
    (may, must)
}

/// T11: what a list says is live.
pub(crate) fn check_lists(facts: &Facts<'_>, found: &mut Found<'_>) {
    for call in &facts.calls {
        if let Some((returned, crate::Returned::Tasks(ids))) = &call.returned {
            check_list(facts, ids, call.called, *returned, found);
        }
    }
    for request in facts
        .requests
        .iter()
        .filter(|r| facts.task(r).is_some_and(|t| t.does == crate::Does::Tasks))
    {
        let Some(answer) = facts.answer(request) else {
            continue;
        };
        if let Reply::Ok { body, .. } = &answer.reply
            && let Some(ids) = super::outcome::live_ids(body, facts.config.byte_order.into())
        {
            check_list(facts, &ids, request.end, answer.first, found);
        }
    }
}

fn check_list(facts: &Facts<'_>, ids: &[u32], from: Moment, to: Moment, found: &mut Found<'_>) {
    let (may, must) = listable(facts, from, to);
    let over = facts.closed.is_some_and(|closed| closed < from);
    let wrong = ids.iter().find(|id| over || !may.contains(id));
    let missing = must.iter().find(|id| !ids.contains(id));
    let what = match (wrong, missing) {
        (Some(id), _) => format!("the list {ids:?} has {id}, which is not live"),
        (_, Some(id)) => format!("the list {ids:?} lacks {id}, which is live"),
        _ => return,
    };
    let allowed = format!("a list with {must:?} and perhaps others of {may:?}");
    found.broken(Rule::T11, what, allowed, [from, to]);
}

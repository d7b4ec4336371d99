//! States of tasks and extensions.

use super::{Reached, Seen};
use crate::history::{BodyEnd, Call, FunctionEnd, Observed, Returned, RunEnd};
use crate::oracle::facts::{Cancel, Facts, Run};
use crate::oracle::received::{Received, Reply, Tail};
use crate::oracle::sent::Sent;
use crate::tasks::OnCancel;

pub(super) fn detect(facts: &Facts<'_>, seen: &mut Seen) {
    for (number, request) in facts.requests.iter().enumerate() {
        message(facts, request, seen);
        answer(facts, number, request, seen);
        cancelled(facts, number, request, seen);
        reused(facts, number, request, seen);
        if let Some(run) = facts.run_of(request) {
            ended(facts, request, run, seen);
        }
    }
    cancels(facts, seen);
    functions(facts, seen);
    extensions(facts, seen);
}

/// How a request came.
fn message(facts: &Facts<'_>, request: &Sent, seen: &mut Seen) {
    let length = request.message.len();
    let is_task = facts.task(request).is_some();
    let inside = |end: u64| end > request.bytes.start && end < request.bytes.end;
    let cuts = facts
        .sent_steps
        .iter()
        .filter(|(end, _)| inside(*end))
        .count();
    let encoded = request.bytes.end - request.bytes.start;
    seen.note(Reached::ManyPieces, cuts >= 2);
    seen.note(
        Reached::SmallBlocks,
        encoded > 6 + (length + length.div_ceil(255)) as u64,
    );
    seen.note(Reached::EmptyMessage, is_task && length == 0);
    seen.note(Reached::LongMessage, is_task && length > 64 << 10);
    let answered = facts.answer(request).is_some();
    let full = length > 0 && length == facts.config.message_limit(request.code);
    seen.note(Reached::MessageOfTheLimit, answered && full);
}

/// What was answered.
fn answer(facts: &Facts<'_>, number: usize, request: &Sent, seen: &mut Seen) {
    let Some(answer) = facts.answer(request) else {
        return;
    };
    let code = match answer.reply {
        Reply::Error { code, .. } => Some(code),
        _ => None,
    };
    let by_itself = facts
        .task(request)
        .is_some_and(|task| task.does != crate::Does::Fail);
    let function = request.function.is_some_and(|f| {
        facts.functions[f]
            .ended
            .is_some_and(|(_, how)| how == FunctionEnd::Dropped)
    });
    let limited = facts
        .task(request)
        .is_some_and(|task| task.run_limit_ms.is_some());
    seen.note(
        Reached::UnknownCode,
        code == Some(251) && request.code < 250,
    );
    seen.note(
        Reached::UnknownReservedCode,
        code == Some(251) && request.code >= 250,
    );
    seen.note(Reached::RunLimit, code == Some(253) && by_itself && limited);
    seen.note(Reached::TaskFunctionLimit, code == Some(253) && function);
    seen.note(
        Reached::NegotiateMalformed,
        code == Some(250) && request.code == 252,
    );
    let body = match &answer.reply {
        Reply::Ok { body, .. } => body.len(),
        _ => 0,
    };
    seen.note(Reached::BodyStreamed, body > 64 << 10);
    let earlier = facts.requests[..number]
        .iter()
        .filter_map(|other| facts.answer(other));
    seen.note(
        Reached::OutOfOrder,
        earlier
            .map(|other| other.first)
            .any(|first| first > answer.first),
    );
}

/// When a task was cancelled, and what came of it.
fn cancelled(facts: &Facts<'_>, number: usize, request: &Sent, seen: &mut Seen) {
    let Some(task) = facts.task(request) else {
        return;
    };
    let before = facts
        .answer(request)
        .map_or(usize::MAX, |answer| answer.first);
    let cancels: Vec<&Cancel> = facts.cancels_of(number, before).collect();
    let Some(first) = cancels.iter().min_by_key(|cancel| cancel.called) else {
        return;
    };
    let is_cancelled = matches!(
        facts.answer(request).map(|a| &a.reply),
        Some(Reply::Error { code: 255, .. })
    );
    seen.note(
        Reached::CancelInReceiving,
        first.called < request.end && is_cancelled,
    );
    seen.note(
        Reached::CancelOnWire,
        first.request.is_some() && is_cancelled,
    );
    seen.note(
        Reached::CancelByHandle,
        first.request.is_none() && first.target.is_some() && is_cancelled,
    );
    seen.note(Reached::CancelAll, first.target.is_none() && is_cancelled);
    let Some(run) = facts.run_of(request) else {
        let complete = facts.history.views.tasks == crate::View::Complete;
        seen.note(
            Reached::CancelBeforeFirstPoll,
            complete && is_cancelled && first.called > request.end,
        );
        return;
    };
    let ended = run.ended.map_or(usize::MAX, |(moment, _)| moment);
    let while_running = run.started < first.called && first.called < ended;
    let by_itself = run.ended.is_some_and(|(_, how)| how != RunEnd::Dropped);
    let together = run
        .ended
        .is_some_and(|(moment, _)| facts.us(moment) == facts.us(first.called));
    let cooperates = matches!(task.on_cancel, OnCancel::Cooperate { .. });
    let again = cancels
        .iter()
        .filter(|cancel| cancel.called < ended && cancel.called > run.started);
    seen.note(Reached::CancelInRunning, while_running && is_cancelled);
    seen.note(Reached::CancelInCancelling, cooperates && again.count() > 1);
    seen.note(
        Reached::CancelInResponding,
        first.called > ended && by_itself && !is_cancelled,
    );
    seen.note(Reached::CancelWins, together && by_itself && is_cancelled);
    seen.note(
        Reached::CompletionWins,
        together && by_itself && !is_cancelled,
    );
    seen.note(
        Reached::CooperatedInGrace,
        cooperates && while_running && by_itself && !is_cancelled,
    );
    seen.note(
        Reached::GraceOver,
        cooperates && while_running && is_cancelled,
    );
}

/// What became of cancels that found nothing, and of stuck tasks.
fn cancels(facts: &Facts<'_>, seen: &mut Seen) {
    for cancel in &facts.cancels {
        let is_target =
            |r: &Sent| cancel.target == Some(r.id) && r.first < cancel.called && !r.is_cancel();
        let none = !facts
            .requests
            .iter()
            .any(|r| is_target(r) && facts.task(r).is_some());
        seen.note(Reached::CancelOfNothing, none && cancel.target.is_some());
    }
    for (moment, observed) in facts.observed() {
        let Observed::Stuck { id } = observed else {
            continue;
        };
        let runs = facts.runs.iter().filter(|run| run.id == *id);
        let goes_on = |run: &&Run| run.ended.is_none_or(|(ended, _)| ended > moment);
        let late = runs.clone().filter(goes_on).any(|run| run.ended.is_some());
        let again = facts
            .requests
            .iter()
            .any(|r| r.id == *id && r.first > moment && r.answer.is_some());
        let over = facts.closed.is_some_and(|closed| moment < closed);
        seen.note(Reached::Stuck, true);
        seen.note(Reached::StuckReturnsLate, late);
        seen.note(
            Reached::StuckIdReused,
            again && runs.clone().any(|run| goes_on(&run)),
        );
        seen.note(
            Reached::StuckAtTheEnd,
            over && facts.report.is_some_and(|r| !r.stuck.is_empty()),
        );
    }
}

/// When an id was used again.
fn reused(facts: &Facts<'_>, number: usize, request: &Sent, seen: &mut Seen) {
    let before = facts.requests[..number]
        .iter()
        .rfind(|r| r.id == request.id && !r.is_cancel());
    let Some(before) = before.filter(|_| !request.is_cancel()) else {
        return;
    };
    let answer = facts.answer(before);
    let at_once = answer
        .is_some_and(|a| a.last < request.first && facts.us(a.last) == facts.us(request.first));
    let too_early = answer.is_some_and(|a| a.last > request.header) && request.answer.is_some();
    seen.note(Reached::IdReusedAtOnce, at_once);
    seen.note(Reached::IdReusedTooEarly, too_early);
}

/// How run functions and bodies ended.
fn ended(facts: &Facts<'_>, request: &Sent, run: &Run, seen: &mut Seen) {
    let Some((moment, how)) = run.ended else {
        return;
    };
    seen.note(Reached::Panic, how == RunEnd::Panicked);
    seen.note(Reached::CodedError, matches!(how, RunEnd::Coded { .. }));
    seen.note(Reached::UncodedError, how == RunEnd::Uncoded);
    let RunEnd::Streamed { bytes, then } = how else {
        return;
    };
    let begun = facts
        .task(request)
        .is_some_and(|task| bytes >= task.begin_after_bytes);
    let then = run.body.map_or(then, |(_, how)| how);
    seen.note(Reached::BodyTornBefore, then == BodyEnd::Torn && !begun);
    seen.note(Reached::BodyTornAfter, then != BodyEnd::Whole && begun);
    seen.note(
        Reached::BodyCoded,
        matches!(then, BodyEnd::Coded { .. }) && !begun,
    );
    seen.note(Reached::BodyPanic, then == BodyEnd::Panicked);
    let limit = matches!(
        facts.answer(request).map(|a| &a.reply),
        Some(Reply::Error { code: 253, .. })
    );
    seen.note(Reached::BodyLimit, then == BodyEnd::Stalls && limit);
    let together = facts.runs.iter().any(|other| {
        let streams = matches!(other.ended, Some((at, RunEnd::Streamed { .. })) if at < moment);
        streams
            && other
                .request
                .and_then(|r| facts.answer(&facts.requests[r]))
                .is_none_or(|a| a.last > moment)
    });
    seen.note(Reached::BodiesTogether, together);
}

/// How task functions ended, and what was listed.
fn functions(facts: &Facts<'_>, seen: &mut Seen) {
    let ends =
        |end| move |f: &crate::oracle::facts::Function| f.ended.is_some_and(|(_, how)| how == end);
    let any = |end| facts.functions.iter().any(ends(end));
    let demo = |does| {
        facts
            .requests
            .iter()
            .any(|r| r.answer.is_some() && facts.task(r).is_some_and(|t| t.does == does))
    };
    let failed = facts
        .report
        .is_some_and(|r| matches!(r.reason, crate::Reason::TaskFunction { .. }));
    seen.note(Reached::TaskFunctionPanic, any(FunctionEnd::Panicked));
    seen.note(
        Reached::TaskFunctionError,
        any(FunctionEnd::Failed) || failed,
    );
    seen.note(
        Reached::NoRunFunction,
        any(FunctionEnd::Nothing) || demo(crate::Does::Nothing),
    );
    let lists = facts.calls.iter().filter(|call| call.what == Call::List);
    let mut returned = lists.filter_map(|call| call.returned.as_ref());
    seen.note(
        Reached::ListedLive,
        returned.any(|(_, what)| matches!(what, Returned::Tasks(ids) if !ids.is_empty())),
    );
}

/// Section 5.
fn extensions(facts: &Facts<'_>, seen: &mut Seen) {
    let negotiates = |r: &&Sent| {
        r.code == 252 && matches!(facts.answer(r).map(|a| &a.reply), Some(Reply::Ok { .. }))
    };
    let granted = facts
        .requests
        .iter()
        .filter(negotiates)
        .filter(|r| r.message.get(1..5).is_some_and(|f| f != [0; 4]));
    let newer = facts
        .requests
        .iter()
        .filter(negotiates)
        .any(|r| r.message.first() > Some(&1));
    seen.note(Reached::Negotiated, granted.count() > 0);
    seen.note(Reached::NegotiateNewer, newer);
    seen.note(
        Reached::NegotiatedAgain,
        facts.requests.iter().filter(negotiates).count() > 1,
    );
    let stopped = facts.stopped_reading().unwrap_or(usize::MAX);
    for response in &facts.responses {
        match response.reply {
            Reply::Goodbye(accepted) => goodbye(facts, response, accepted as usize, seen),
            Reply::Processing(_) => {
                let same = |r: &&Received| {
                    r.request == response.request && matches!(r.reply, Reply::Processing(_))
                };
                seen.note(Reached::Processing, true);
                seen.note(
                    Reached::ProcessingAgain,
                    facts.responses.iter().filter(same).count() > 1,
                );
                seen.note(Reached::ProcessingDraining, response.first > stopped);
            }
            _ => {}
        }
    }
    let cut = matches!(facts.tail, Tail::Cut { ok: Some(_), .. });
    let deadline = facts.report.is_some_and(|report| report.deadline_reached);
    seen.note(Reached::DeadlineWhileStreaming, cut && deadline);
}

fn goodbye(facts: &Facts<'_>, goodbye: &Received, accepted: usize, seen: &mut Seen) {
    let sent = facts
        .requests
        .iter()
        .filter(|request| request.end < goodbye.first)
        .count();
    let tasks = facts.requests[..accepted.min(facts.requests.len())].iter();
    let tasks = tasks
        .filter(|request| facts.task(request).is_some())
        .count();
    let behind = facts
        .responses
        .iter()
        .any(|r| r.first > goodbye.first && r.reply.terminal_id().is_some());
    seen.note(Reached::GoodbyeNone, accepted == 1);
    seen.note(Reached::GoodbyeSome, accepted < sent);
    seen.note(Reached::GoodbyeAll, accepted == sent && tasks > 0);
    seen.note(Reached::GoodbyeBetween, behind);
}

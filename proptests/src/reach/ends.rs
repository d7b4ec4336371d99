//! States of the end of a connection.

use super::{Reached, Seen};
use crate::config::OnHalfClose;
use crate::history::{Call, RunEnd};
use crate::oracle::facts::{Called, Facts, Moment, ms};
use crate::report::Reason;

pub(super) fn detect(facts: &Facts<'_>, seen: &mut Seen) {
    disconnects(facts, seen);
    calls(facts, seen);
    client(facts, seen);
    let Some(report) = facts.report else {
        return;
    };
    let sent = facts.requests.len() as u64;
    seen.note(Reached::DeadlineReached, report.deadline_reached);
    seen.note(
        Reached::BytesDiscarded,
        report.accepted < sent && report.reason == Reason::GracefulDisconnect,
    );
    let drained = facts.requests.iter().any(|request| {
        let stopped = facts.stopped_reading().unwrap_or(Moment::MAX);
        request.end < stopped
            && facts
                .answer(request)
                .is_some_and(|answer| answer.first > stopped)
    });
    seen.note(
        Reached::Drained,
        drained && report.reason == Reason::GracefulDisconnect,
    );
    seen.note(
        Reached::DuplicateTaskId,
        matches!(report.reason, Reason::DuplicateTaskId { .. }),
    );
    let asked = facts.endings().next().is_some();
    let error = matches!(
        report.reason,
        Reason::RunFunction { .. } | Reason::Body { .. }
    );
    let failed = facts
        .runs
        .iter()
        .filter_map(|run| run.ended.filter(|(_, how)| *how == RunEnd::Uncoded));
    let behind = |moment: Moment| facts.endings().any(|(call, _)| call.called < moment);
    seen.note(
        Reached::ErrorInDraining,
        asked && error && failed.map(|(moment, _)| moment).any(behind),
    );
    linger(facts, seen);
}

/// Where in a request a disconnect came.
fn disconnects(facts: &Facts<'_>, seen: &mut Seen) {
    for (call, _) in facts.endings().filter(|(call, _)| call.what != Call::Close) {
        let sent = facts
            .sent_steps
            .iter()
            .rfind(|(_, moment)| *moment < call.called);
        let sent = sent.map_or(0, |(end, _)| *end);
        let whole = facts.requests.iter().map(|request| request.bytes.start);
        let mut starts = whole.chain(facts.partial.as_ref().map(|partial| partial.bytes.start));
        let ends = facts
            .requests
            .iter()
            .any(|request| request.bytes.end == sent);
        let start = starts.rfind(|start| *start < sent);
        let offset = start.filter(|_| !ends).map_or(0, |start| sent - start);
        let state = match offset {
            0 => Reached::DisconnectAtByte0,
            1 => Reached::DisconnectAtByte1,
            2 => Reached::DisconnectAtByte2,
            3 => Reached::DisconnectAtByte3,
            4 => Reached::DisconnectAtByte4,
            5 => Reached::DisconnectAtByte5,
            _ => Reached::DisconnectInMessage,
        };
        seen.note(state, facts.over().is_none_or(|over| call.called < over));
    }
}

/// What the server's program called.
fn calls(facts: &Facts<'_>, seen: &mut Seen) {
    let endings: Vec<(&Called, u64)> = facts.endings().collect();
    let deadline =
        |(call, after): &(&Called, u64)| facts.us(call.called).saturating_add(ms(*after));
    for (index, second) in endings.iter().enumerate().skip(1) {
        let first = endings[..index].iter().map(deadline).min();
        let is_open = facts.over().is_none_or(|over| second.0.called < over);
        let disconnects = second.0.what != Call::Close && is_open;
        seen.note(
            Reached::SecondShorter,
            disconnects && first > Some(deadline(second)),
        );
        seen.note(
            Reached::SecondLonger,
            disconnects && first < Some(deadline(second)),
        );
        seen.note(
            Reached::CloseInDraining,
            second.0.what == Call::Close && is_open,
        );
    }
    let aborted = facts
        .report
        .is_some_and(|report| report.reason == Reason::Aborted);
    seen.note(Reached::CloseInOpen, aborted);
    seen.note(
        Reached::Shutdown,
        endings
            .iter()
            .any(|(call, _)| matches!(call.what, Call::Shutdown { .. })),
    );
    seen.note(
        Reached::ContextEnded,
        endings
            .iter()
            .any(|(call, _)| call.what == Call::EndContext),
    );
}

/// What the client or the network did.
fn client(facts: &Facts<'_>, seen: &mut Seen) {
    let reason = facts.report.map(|report| report.reason);
    let interrupted = facts.report.is_some_and(|report| report.interrupted > 0);
    let drains = facts.config.on_half_close == OnHalfClose::Drain;
    let left = reason == Some(Reason::ClientClosed);
    let ended = facts.client_ended.unwrap_or(Moment::MAX);
    let later = facts
        .responses
        .iter()
        .any(|response| response.first > ended);
    seen.note(Reached::ClientClosed, left && !drains);
    seen.note(Reached::ClientLeftTasks, left && !drains && interrupted);
    seen.note(Reached::HalfCloseDrained, drains && later && !interrupted);
    let offset = match reason {
        Some(Reason::UnexpectedEnd { offset }) => offset,
        _ => 0,
    };
    seen.note(Reached::EndInHeader, (1..5).contains(&offset));
    seen.note(Reached::EndInMessage, offset >= 5);
    let Some(reset) = facts.client_reset else {
        return;
    };
    let draining = facts.endings().any(|(call, _)| call.called < reset);
    let transport = reason == Some(Reason::Transport);
    seen.note(Reached::ResetIdle, transport && !interrupted);
    seen.note(Reached::ResetWithTasks, transport && interrupted);
    seen.note(Reached::ResetInDraining, transport && draining);
}

/// How lingering ended.
fn linger(facts: &Facts<'_>, seen: &mut Seen) {
    let (Some(ended), Some(closed)) = (facts.server_ended, facts.closed) else {
        return;
    };
    let waited = facts.us(closed).saturating_sub(facts.us(ended)) + 5000
        >= ms(facts.config.timeouts.linger_ms);
    let client = facts.client_ended.is_some_and(|client| client < closed);
    let in_linger = facts
        .client_ended
        .is_some_and(|client| client > ended && client < closed);
    seen.note(Reached::LingerToTheEnd, waited && !client);
    seen.note(Reached::EndInLinger, in_linger);
}

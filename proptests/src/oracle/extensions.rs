//! Section 5: Negotiate, Goodbye, Processing.

use asyncserver::wire::{ErrorCode, TaskCode};

use super::facts::{Facts, Moment, ms};
use super::outcome::Outcome;
use super::received::{Received, Reply, Tail};
use super::rule::{Found, Rule};
use super::sent::Sent;
use crate::history::Direction;
use crate::report::Reason;

const GOODBYE: u32 = 1;
const PROCESSING: u32 = 2;

/// Judges what only a client that asked for it may be sent.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    let mut granted = 0;
    let mut goodbye: Option<&Received> = None;
    for response in &facts.responses {
        match response.reply {
            Reply::Goodbye(accepted) => {
                if granted & GOODBYE == 0 {
                    let allowed = "Goodbye only where it was granted";
                    found.broken(Rule::E4, "Goodbye came", allowed, [response.first]);
                } else if let Some(first) = goodbye {
                    found.broken(
                        Rule::E4,
                        "Goodbye came again",
                        "once",
                        [first.first, response.first],
                    );
                } else {
                    check_goodbye(facts, response, accepted, found);
                }
                goodbye = Some(response);
            }
            Reply::Processing(id) => {
                if granted & PROCESSING == 0 {
                    let allowed = "Processing only where it was granted";
                    found.broken(
                        Rule::E5,
                        format!("Processing {id} came"),
                        allowed,
                        [response.first],
                    );
                } else {
                    check_processing(facts, response, id, found);
                }
            }
            _ => granted = granted_by(facts, response).unwrap_or(granted),
        }
    }
    check_missing_goodbye(facts, granted, goodbye, found);
    check_missing_processing(facts, found);
}

/// What an answered Negotiate grants (E3); `None`: it is no such answer.
fn granted_by(facts: &Facts<'_>, response: &Received) -> Option<u32> {
    let request = &facts.requests[response.request?];
    let asked = asked(facts, request)?;
    matches!(response.reply, Reply::Ok { .. }).then_some(asked & (GOODBYE | PROCESSING))
}

/// The features that a well-formed Negotiate asks for.
fn asked(facts: &Facts<'_>, request: &Sent) -> Option<u32> {
    let [version, features @ ..] = request.message.first_chunk::<5>()?;
    let order: asyncserver::wire::ByteOrder = facts.config.byte_order.into();
    (request.code == TaskCode::NEGOTIATE.0 && *version != 0).then(|| order.decode_u32(*features))
}

/// E3: the answer to a Negotiate, byte for byte.
pub(crate) fn negotiated(facts: &Facts<'_>, request: &Sent) -> Outcome {
    let Some(asked) = asked(facts, request) else {
        return Outcome::Error(ErrorCode::MALFORMED.0);
    };
    let config = facts.config;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let seconds = |ms: u64| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX);
    let longest = config
        .tasks
        .iter()
        .map(|task| config.message_limit(task.code))
        .max();
    let fields = [
        asked & (GOODBYE | PROCESSING),
        number(config.limits.in_flight.max(1)),
        number(longest.unwrap_or(config.limits.message_bytes)),
        seconds(config.timeouts.wait_ms),
        // An interval of none would never come to an end: 1 ms is the shortest.
        seconds(config.timeouts.processing_ms.max(1)),
    ];
    let order: asyncserver::wire::ByteOrder = config.byte_order.into();
    let mut message = vec![1];
    message.extend(fields.into_iter().flat_map(|field| order.encode_u32(field)));
    Outcome::Ok(message)
}

/// E4: when, and with which count.
fn check_goodbye(facts: &Facts<'_>, response: &Received, accepted: u32, found: &mut Found<'_>) {
    let at = response.first;
    let name = format!("Goodbye after {accepted} requests came");
    let sent = facts
        .requests
        .iter()
        .filter(|request| request.end < at)
        .count();
    // mod 2³², which no history reaches.
    let accepted = accepted as usize;
    if accepted > sent {
        let allowed = format!("at most {sent}, for so many had been sent");
        return found.broken(Rule::E4, name, allowed, [at]);
    }
    let started = facts.requests.iter().enumerate().skip(accepted);
    let mut started = started.filter_map(|(_, r)| {
        Some((
            r,
            facts
                .run_of(r)
                .map(|run| run.started)
                .or(facts.answer(r).map(|a| a.first))?,
        ))
    });
    if let Some((request, moment)) = started.next_back() {
        let what = format!(
            "{name}, but the later request {} was started or answered",
            request.id
        );
        let allowed = format!("at least {}", facts.accepted_at_least());
        return found.broken(Rule::E4, what, allowed, [request.end, moment, at]);
    }
    if let Some(report) = facts.report
        && report.accepted as usize != accepted
    {
        let what = format!(
            "{name}, and the report says that {} were accepted",
            report.accepted
        );
        let shown = facts.closed.into_iter().chain([at]);
        return found.broken(Rule::E4, what, "the same count", shown);
    }
    if !may_end(facts, at) {
        found.broken(
            Rule::E4,
            name,
            "Goodbye only when the connection ends",
            [at],
        );
    }
}

/// Whether anything may have made the server stop reading before `at`.
fn may_end(facts: &Facts<'_>, at: Moment) -> bool {
    let early = ms(facts.config.tolerance.early_ms);
    let waited = facts.us(at) + early >= ms(facts.config.timeouts.wait_ms);
    let called = facts
        .endings()
        .any(|(call, _)| call.called < at && call.what != crate::Call::Close);
    let ended = facts.client_ended.is_some_and(|ended| ended < at);
    let stalled = facts.stalls.iter().any(|(_, from, _)| *from < at);
    let read = facts.us(at) + early
        >= ms(facts
            .config
            .timeouts
            .read_ms
            .min(facts.config.timeouts.write_ms));
    let error = facts.errors().any(|(moment, _)| moment < at) || uncoded(facts, at);
    super::clocks::may_be_slow(facts, at)
        || waited
        || called
        || ended
        || error
        || ((stalled || facts.config.tolerance.network_ms > 0) && read)
}

/// Whether a function may have failed without a code before `at`.
fn uncoded(facts: &Facts<'_>, at: Moment) -> bool {
    use crate::history::{BodyEnd, RunEnd};
    let scripted = |r: &&Sent| {
        facts
            .task(r)
            .is_some_and(|t| t.does == crate::Does::Scripted)
    };
    let unknown = facts.history.views.tasks == crate::View::Partial
        && facts
            .requests
            .iter()
            .any(|r| scripted(&r) && r.run.is_none());
    unknown || facts.runs.iter().any(|run| {
        let ended = run.ended.filter(|(moment, _)| *moment < at);
        matches!(ended, Some((_, RunEnd::Uncoded)))
            || matches!(ended, Some((_, RunEnd::Streamed { then, .. })) if then != BodyEnd::Whole)
    })
}

/// E4: where it was granted and the server could still write, it must come.
fn check_missing_goodbye(
    facts: &Facts<'_>,
    granted: u32,
    goodbye: Option<&Received>,
    found: &mut Found<'_>,
) {
    let (Some(report), Some(ended)) = (facts.report, facts.server_ended) else {
        return;
    };
    let drained = matches!(
        report.reason,
        Reason::GracefulDisconnect | Reason::TimeoutWaitingForTask | Reason::ClientClosed
    );
    let whole = matches!(facts.tail, Tail::Clean) && report.bytes_written == facts.received_bytes;
    let closed = facts
        .calls
        .iter()
        .any(|call| call.what == crate::Call::Close);
    // What L3 cuts off is not written (D8), Goodbye included.
    let network = ms(facts.config.tolerance.network_ms);
    let stalled = facts.stalls.iter().any(|(direction, from, to)| {
        let until = to.map_or(u64::MAX, |to| facts.us(to).saturating_add(network));
        *direction == Direction::ToClient && *from < ended && until >= facts.us(ended)
    });
    let negotiating = facts
        .requests
        .iter()
        .any(|r| r.code == TaskCode::NEGOTIATE.0 && r.answer.is_none());
    if granted & GOODBYE != 0
        && goodbye.is_none()
        && drained
        && whole
        && !closed
        && !report.deadline_reached
        && !negotiating
        && !stalled
    {
        let what = "the connection ended without the Goodbye that was granted";
        found.broken(
            Rule::E4,
            what,
            "Goodbye when the server stops reading",
            facts.closed.into_iter().chain([ended]),
        );
    }
}

/// E5: for which task, and not too often.
fn check_processing(facts: &Facts<'_>, response: &Received, id: u32, found: &mut Found<'_>) {
    let name = format!("Processing {id} came");
    let Some(number) = response
        .request
        .filter(|number| facts.task(&facts.requests[*number]).is_some())
    else {
        let allowed = "Processing only for an accepted task whose response has not begun";
        return found.broken(Rule::E5, name, allowed, [response.first]);
    };
    let same = |r: &&Received| r.request == Some(number) && matches!(r.reply, Reply::Processing(_));
    let before = facts
        .responses
        .iter()
        .filter(same)
        .filter(|r| r.first <= response.first);
    let nth = before.count() as u64;
    let end = facts.requests[number].end;
    let interval = ms(facts.config.timeouts.processing_ms);
    let earliest = facts.us(end).saturating_add(nth.saturating_mul(interval));
    let early = ms(facts.config.tolerance.early_ms) * nth;
    if facts.us(response.first) + early < earliest {
        let allowed = format!(
            "the {nth}. for this task {nth} intervals of {} ms after it was accepted",
            interval / 1000
        );
        found.broken(Rule::E5, name, allowed, [end, response.first]);
    }
}

/// E5: a task that runs long gets its signs of life.
fn check_missing_processing(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Some((granted, _)) = facts.responses.iter().find_map(|r| {
        let granted = granted_by(facts, r)?;
        (granted & PROCESSING != 0).then_some((r.last, granted))
    }) else {
        return;
    };
    let negotiates = facts
        .requests
        .iter()
        .filter(|r| r.code == TaskCode::NEGOTIATE.0)
        .count();
    let limits = &facts.config.limits;
    if negotiates != 1 || limits.unsent_bytes.min(limits.server_unsent_bytes) < 4096 {
        return;
    }
    let interval = ms(facts.config.timeouts.processing_ms).max(1);
    let late = ms(facts.config.tolerance.late_ms + facts.config.tolerance.network_ms);
    for (number, request) in facts.requests.iter().enumerate() {
        let (Some(run), Some(answer)) = (facts.run_of(request), facts.answer(request)) else {
            continue;
        };
        let from = facts.us(run.started).max(facts.us(granted));
        if !facts.flows(from, facts.us(answer.first)) {
            continue;
        }
        let due = facts
            .us(answer.first)
            .saturating_sub(from)
            .saturating_sub(late)
            / (interval + late);
        let came = facts
            .responses
            .iter()
            .filter(|r| r.request == Some(number) && matches!(r.reply, Reply::Processing(_)));
        let came = came.count() as u64;
        if came < due {
            let what = format!(
                "task {} had {came} Processing responses before its answer",
                request.id
            );
            let allowed = format!("one each {} ms, {due} in all", interval / 1000);
            found.broken(Rule::E5, what, allowed, [run.started, answer.first]);
        }
    }
}

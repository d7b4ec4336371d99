//! D9: a report adds up, and says what the client saw.

use std::collections::BTreeMap;

use asyncserver::wire::ErrorCode;

use super::facts::Facts;
use super::received::Reply;
use super::rule::{Found, Rule};
use crate::report::{Report, State};

/// Judges the closing report.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    let Some(report) = facts.report else {
        return;
    };
    let before = found.violations.len();
    check_sum(facts, report, found);
    check_bytes(facts, report, found);
    if found.violations.len() == before {
        check_counts(facts, report, found);
        check_interrupted(facts, report, found);
    }
}

fn broken(facts: &Facts<'_>, found: &mut Found<'_>, what: String, allowed: impl Into<String>) {
    found.broken(Rule::D9, what, allowed, facts.closed);
}

fn check_sum(facts: &Facts<'_>, report: &Report, found: &mut Found<'_>) {
    let sum = report.ok + report.errors + report.cancelled + report.interrupted + report.cancels;
    if report.accepted != sum {
        let what = format!(
            "{} were accepted, and the other counts make {sum}",
            report.accepted
        );
        broken(
            facts,
            found,
            what,
            "accepted = ok + errors + cancelled + interrupted + cancels",
        );
    }
    if report.interrupted != report.interrupted_tasks.len() as u64 {
        let what = format!(
            "{} were interrupted, and {} are named",
            report.interrupted,
            report.interrupted_tasks.len()
        );
        broken(facts, found, what, "every interrupted request named");
    }
    let sent = facts.requests.len() as u64;
    if report.accepted > sent {
        broken(
            facts,
            found,
            format!("{} were accepted", report.accepted),
            format!("at most the {sent} that were sent"),
        );
    }
}

fn check_bytes(facts: &Facts<'_>, report: &Report, found: &mut Found<'_>) {
    if report.bytes_read > facts.sent_bytes {
        let what = format!("{} bytes were read", report.bytes_read);
        broken(
            facts,
            found,
            what,
            format!("at most the {} that were sent", facts.sent_bytes),
        );
    }
    let accepted = (report.accepted as usize).min(facts.requests.len());
    let needed = facts.requests[..accepted]
        .last()
        .map_or(0, |request| request.bytes.end);
    if report.bytes_read < needed {
        let what = format!(
            "{} requests were accepted and {} bytes read",
            report.accepted, report.bytes_read
        );
        broken(
            facts,
            found,
            what,
            format!("at least {needed} bytes for so many requests"),
        );
    }
    let received = facts.received_bytes;
    // What the transport took need not have come, unless the stream ended well.
    let lost = report.bytes_written > received && facts.server_ended.is_some();
    if report.bytes_written < received || lost {
        let what = format!(
            "{} bytes were written and {received} received",
            report.bytes_written
        );
        broken(
            facts,
            found,
            what,
            "as many written as received, or more where the end of stream did not come",
        );
    }
}

/// The counts, against the responses that came.
fn check_counts(facts: &Facts<'_>, report: &Report, found: &mut Found<'_>) {
    let accepted = &facts.requests[..report.accepted as usize];
    let cancels = accepted
        .iter()
        .filter(|request| request.is_cancel())
        .count() as u64;
    if report.cancels != cancels {
        let what = format!("the report counts {} Cancels", report.cancels);
        broken(
            facts,
            found,
            what,
            format!("{cancels}, for so many are among the accepted requests"),
        );
    }
    let late = facts.requests[accepted.len()..]
        .iter()
        .find(|request| request.answer.is_some());
    if let Some(request) = late {
        let what = format!(
            "request {} was answered, which was not accepted",
            request.id
        );
        found.broken(
            Rule::T5,
            what,
            "answers for accepted requests only",
            [request.end].into_iter().chain(facts.closed),
        );
    }
    let (mut ok, mut errors, mut cancelled) = (0, 0, 0);
    for answer in accepted.iter().filter_map(|request| facts.answer(request)) {
        match answer.reply {
            Reply::Error { code, .. } if code == ErrorCode::CANCELLED.0 => cancelled += 1,
            Reply::Error { .. } => errors += 1,
            _ => ok += 1,
        }
    }
    let all_came = report.bytes_written == facts.received_bytes;
    let counts = [
        ("OK", report.ok, ok),
        ("errors", report.errors, errors),
        ("cancelled", report.cancelled, cancelled),
    ];
    for (name, reported, came) in counts {
        if reported < came || (all_came && reported != came) {
            let what =
                format!("the report counts {reported} {name}, and {came} such responses came");
            broken(facts, found, what, "as many as the transport took");
        }
    }
}

/// Every accepted request that was not answered is named, with its state.
fn check_interrupted(facts: &Facts<'_>, report: &Report, found: &mut Found<'_>) {
    let accepted = &facts.requests[..(report.accepted as usize).min(facts.requests.len())];
    let unanswered = accepted
        .iter()
        .filter(|request| request.answer.is_none() && !request.is_cancel());
    let mut owed = BTreeMap::new();
    for request in unanswered {
        *owed.entry((request.id, request.code)).or_insert(0) += 1;
    }
    for task in &report.interrupted_tasks {
        match owed.get_mut(&(task.id, task.code)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => {
                let what = format!("{} (code {}) is named as interrupted", task.id, task.code);
                broken(
                    facts,
                    found,
                    what,
                    "accepted requests without an answer only",
                );
            }
        }
        check_state(facts, task.id, task.state, found);
    }
    let forgotten = owed.iter().find(|(_, count)| **count > 0);
    if let Some(((id, code), _)) = forgotten
        && report.bytes_written == facts.received_bytes
    {
        let what =
            format!("request {id} (code {code}) was accepted, and neither answered nor named");
        found.broken(
            Rule::T5,
            what,
            "one terminal response, or its name in the report",
            facts.closed,
        );
    }
}

/// The state in which a task was interrupted, where the history shows it.
fn check_state(facts: &Facts<'_>, id: u32, state: State, found: &mut Found<'_>) {
    let request = facts
        .requests
        .iter()
        .rev()
        .find(|r| r.id == id && r.answer.is_none() && facts.task(r).is_some());
    let Some(request) = request else {
        return;
    };
    // One whose run function had started is not received any more.
    if state == State::Receiving && request.run.is_some() {
        let shown = facts
            .run_of(request)
            .map(|run| run.started)
            .into_iter()
            .chain(facts.closed);
        let what = format!("{id} was interrupted in Receiving, and its run function had started");
        found.broken(Rule::D9, what, "the state it was in", shown);
    }
    let unfinished = facts.run_of(request).is_some_and(|run| {
        run.ended.is_none_or(|(ended, how)| {
            how == crate::RunEnd::Dropped || facts.closed.is_some_and(|closed| ended > closed)
        })
    });
    let stuck = facts.stuck(id).is_some();
    if state == State::Responding && unfinished && !stuck {
        let shown = facts
            .run_of(request)
            .map(|run| run.started)
            .into_iter()
            .chain(facts.closed);
        let what =
            format!("{id} was interrupted in Responding, and its run function had not ended");
        found.broken(Rule::D9, what, "the state it was in", shown);
    }
}

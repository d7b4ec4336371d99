//! What comes from the server can be decoded, and stops where it stops: N8, L4.

use super::facts::Facts;
use super::received::Tail;
use super::rule::{Found, Rule};
use crate::history::What;

/// Judges the server's byte stream as such.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    if let Tail::Unknown { code, offset, at } = facts.tail {
        // Bytes of two responses that interleave show as this, sooner or later.
        let what = format!("{code} stands at byte {offset} of the stream");
        let before = facts.responses.last().map(|response| response.last);
        found.broken(
            Rule::N8,
            what,
            "a response code (0 to 3)",
            before.into_iter().chain([at]),
        );
    }
    if let Some(ended) = facts.server_ended.or(facts.server_reset) {
        let events = facts.history.events.iter().enumerate().skip(ended + 1);
        let mut after = events.filter(|(_, event)| matches!(event.what, What::Received(_)));
        if let Some((moment, _)) = after.next() {
            let allowed = "nothing behind the end of a stream";
            found.broken(
                Rule::Harness,
                "bytes were received after the end",
                allowed,
                [ended, moment],
            );
        }
    }
    check_message_limit(facts, found);
}

/// L4: a longer message is never taken, and ends the connection.
fn check_message_limit(facts: &Facts<'_>, found: &mut Found<'_>) {
    let reported = facts.report.map_or(0, |report| report.accepted as usize);
    let accepted = facts.accepted_at_least().max(reported);
    for (number, request) in facts.requests.iter().enumerate() {
        let limit = facts.config.message_limit(request.code);
        if request.message.len() > limit && accepted > number {
            let what = format!(
                "request {} with {} message bytes was accepted",
                request.id,
                request.message.len()
            );
            let answer = facts.answer(request).map(|answer| answer.first);
            let shown = [request.end].into_iter().chain(answer).chain(facts.closed);
            return found.broken(Rule::L4, what, format!("at most {limit} bytes"), shown);
        }
    }
}

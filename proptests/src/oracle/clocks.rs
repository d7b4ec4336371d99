//! The clocks of a connection: L1, L2, L3.

use super::credit::{Part, Slack, Whole, slack};
use super::facts::{Facts, Moment, Run, ms};
use super::rule::{Found, Rule};
use crate::history::{Direction, Event, RunEnd, What};
use crate::report::{Reason, Report};

type Impossible = (Rule, String);

/// Judges what should have ended the connection and did not.
pub(crate) fn check(facts: &Facts<'_>, found: &mut Found<'_>) {
    check_wait(facts, found);
    check_read(facts, found);
    check_write(facts, found);
}

/// Until when the server may have held the connection to be open, in microseconds:
/// the first sign of its end that was seen.
fn left_open_us(facts: &Facts<'_>) -> u64 {
    let goodbye = facts
        .responses
        .iter()
        .find(|r| matches!(r.reply, super::received::Reply::Goodbye(_)));
    let goodbye = goodbye.map_or(u64::MAX, |goodbye| facts.us(goodbye.first));
    goodbye.min(left_us(facts))
}

/// Until when it may have held the connection to be there, draining or not. A
/// reset by the client is a sign once it has come to the server, and may be
/// noticed late by one that pauses its reading.
fn left_us(facts: &Facts<'_>) -> u64 {
    let signs = [facts.closed, facts.server_ended];
    let signs = signs.into_iter().flatten().map(|moment| facts.us(moment));
    let network = ms(facts.config.tolerance.network_ms);
    let reset = facts.client_reset.map(|moment| facts.us(moment));
    let reset = reset.map(|came| (came, came.saturating_add(network)));
    let reset = reset.filter(|(came, noticed)| facts.reads_on(*came, *noticed));
    let reset = reset.map(|(_, noticed)| noticed);
    signs.chain(reset).min().unwrap_or(facts.history.end_us)
}

/// L1 as a reason: so long was nothing to do.
pub(crate) fn may_wait_out(facts: &Facts<'_>, report: &Report) -> Result<(), Impossible> {
    let accepted = (report.accepted as usize).min(facts.requests.len());
    let taken = facts.requests[..accepted].last().map(|request| request.end);
    let ran = facts.runs.iter().filter_map(|run| {
        let (ended, how) = run.ended?;
        // PROTOCOL T13: for the rest of the connection a stuck function is gone.
        let stuck = facts.stuck(run.id).is_some_and(|stuck| stuck < ended);
        (how != RunEnd::Dropped && !stuck).then_some((ended, how))
    });
    let busy = ran
        .map(|(moment, _)| moment)
        .chain(taken)
        .map(|moment| facts.us(moment))
        .max();
    let since = busy.unwrap_or(0);
    let until = left_open_us(facts) + ms(facts.config.tolerance.early_ms);
    if until < since.saturating_add(ms(facts.config.timeouts.wait_ms)) {
        let needed = format!(
            "{} ms with nothing to do; it had to do something at {} ms",
            facts.config.timeouts.wait_ms,
            since / 1000
        );
        return Err((Rule::L1, needed));
    }
    Ok(())
}

/// L1: with nothing to do for longer, the connection ends.
fn check_wait(facts: &Facts<'_>, found: &mut Found<'_>) {
    let is_activity = |what: &What| {
        matches!(
            what,
            What::Sent(_)
                | What::Received(_)
                | What::RunEnded { .. }
                | What::RunStarted { .. }
                | What::FunctionEnded { .. }
        )
    };
    let events = facts.history.events.iter().enumerate();
    let active: Vec<_> = events
        .filter(|(_, event)| is_activity(&event.what))
        .map(|(moment, _)| moment)
        .collect();
    let late = ms(facts.config.tolerance.late_ms + 2 * facts.config.tolerance.network_ms);
    for (index, last) in active.iter().enumerate() {
        let next = active
            .get(index + 1)
            .map_or(facts.history.end_us, |moment| facts.us(*moment));
        let until = facts
            .us(*last)
            .saturating_add(ms(facts.config.timeouts.wait_ms))
            .saturating_add(late);
        let ended = facts
            .stopped_reading()
            .into_iter()
            .chain(facts.over())
            .chain(facts.client_ended)
            .min();
        let ended = ended.map_or(u64::MAX, |moment| facts.us(moment));
        if next > until && ended > until && is_idle(facts, *last, until) {
            let what = format!(
                "the connection had nothing to do from {} ms on and goes on",
                facts.us(*last) / 1000
            );
            let allowed = format!("an end after {} ms", facts.config.timeouts.wait_ms);
            return found.broken(Rule::L1, what, allowed, [*last]);
        }
    }
}

/// Whether at that moment everything sent had been answered, and nothing stalled
/// until then.
fn is_idle(facts: &Facts<'_>, at: Moment, until_us: u64) -> bool {
    let answered = facts
        .requests
        .iter()
        .filter(|r| r.first <= at)
        .all(|request| {
            let answer = facts
                .answer(request)
                .is_some_and(|answer| answer.last <= at);
            request.end <= at && (answer || request.is_cancel())
        });
    let between = facts
        .partial
        .as_ref()
        .is_none_or(|partial| partial.first > at);
    answered && between && facts.flows(facts.us(at), until_us)
}

/// How close each request came to L2, with the time at which it began.
fn slacks<'f>(facts: &'f Facts<'_>, until_us: u64) -> impl Iterator<Item = (u64, Slack)> + 'f {
    let whole = facts
        .requests
        .iter()
        .map(|request| (request.bytes.clone(), request.first, Whole::Yes));
    let partial = facts
        .partial
        .iter()
        .map(|partial| (partial.bytes.clone(), partial.first, Whole::No));
    whole
        .chain(partial)
        .filter_map(move |(bytes, first, is_whole)| {
            let slack = slack(facts, bytes, is_whole, until_us)?;
            Some((facts.us(first), slack))
        })
}

/// Whether some request may have come so slowly that L2 ended the connection
/// before `at`.
pub(crate) fn may_be_slow(facts: &Facts<'_>, at: Moment) -> bool {
    let tolerance = &facts.config.tolerance;
    let jitter = ms(tolerance.early_ms + 2 * tolerance.network_ms) as i64;
    slacks(facts, facts.us(at)).any(|(_, slack)| slack.least_us <= jitter)
}

/// L2 as a reason: some request came so slowly, or stopped.
pub(crate) fn may_read_out(
    facts: &Facts<'_>,
    reason: Reason,
    closed: Moment,
) -> Result<(), Impossible> {
    let until = left_open_us(facts).min(facts.us(closed));
    // What a stall moves when is not known, in either direction (L7 pauses reading).
    if held_on_its_way(facts, until) {
        let long = until + ms(facts.config.tolerance.early_ms) >= ms(facts.config.timeouts.read_ms);
        return if long {
            Ok(())
        } else {
            Err((Rule::L2, "the read limit".into()))
        };
    }
    let tolerance = &facts.config.tolerance;
    let jitter = ms(tolerance.early_ms + 2 * tolerance.network_ms) as i64;
    let late = ms(tolerance.late_ms + 2 * tolerance.network_ms);
    let read = ms(facts.config.timeouts.read_ms);
    let mut needed = format!(
        "a request that came more slowly than L2 allows ({} ms)",
        facts.config.timeouts.read_ms
    );
    // An end that nobody saw may have come as long before as it lingers.
    let unseen = match facts.server_ended {
        Some(_) => 0,
        None => ms(facts.config.timeouts.linger_ms),
    };
    // What was written last may have come too late.
    let arrived = until.saturating_sub(ms(2 * tolerance.network_ms) + unseen);
    let moved = slacks(facts, arrived).map(|(_, slack)| slack.moved_us);
    let longest = moved.max().map_or(0, |moved| until.saturating_sub(moved));
    let close = slacks(facts, until).map(|(_, slack)| slack);
    for slack in close.filter(|slack| slack.least_us <= jitter) {
        // A header has its time in all; which of the two names its end has is open.
        let since = until.saturating_sub(slack.moved_us);
        let fits = match (slack.part, reason) {
            (Part::Header, _) => true,
            (Part::Body, Reason::ReadTimeout) => since.max(longest) + late >= read,
            (Part::Body, _) => since <= read + late + unseen,
        };
        if fits {
            return Ok(());
        }
        needed = format!(
            "the other name, for the last byte had come {} ms before",
            since / 1000
        );
    }
    Err((Rule::L2, needed))
}

/// L2: a request that came too slowly ends the connection.
fn check_read(facts: &Facts<'_>, found: &mut Found<'_>) {
    let tolerance = &facts.config.tolerance;
    let late = ms(tolerance.late_ms + 2 * tolerance.network_ms);
    let ends = facts
        .stopped_reading()
        .into_iter()
        .chain(facts.over())
        .chain(facts.client_ended)
        .min();
    let until = ends.map_or(facts.history.end_us, |moment| facts.us(moment));
    let error = facts
        .errors()
        .find_map(|(moment, request)| request.map(|_| moment));
    for (first, slack) in slacks(facts, until) {
        let before = error.is_some_and(|moment| facts.us(moment) <= slack.out_us);
        // L13: bytes that come in the turn in which it runs out still count.
        let is_out = slack.least_us + late.cast_signed() < 0;
        let over = slack.out_us + late;
        if is_out && over < until && !before && facts.reads_on(first, over) {
            let what = format!(
                "a request had not come at {} ms, and the connection goes on",
                slack.out_us / 1000
            );
            let allowed = format!("an end by L2 ({} ms)", facts.config.timeouts.read_ms);
            return found.broken(
                Rule::L2,
                what,
                allowed,
                [slack.moment].into_iter().chain(ends),
            );
        }
    }
}

/// Whether a direction stalled while some request was on its way or being read.
fn held_on_its_way(facts: &Facts<'_>, until_us: u64) -> bool {
    let network = ms(facts.config.tolerance.network_ms);
    let whole = facts.requests.iter().map(|r| (r.first, facts.us(r.end)));
    let partial = facts.partial.iter().map(|p| (p.first, until_us));
    let mut requests = whole.chain(partial);
    requests.any(|(first, end)| !facts.flows(facts.us(first), end.saturating_add(network)))
}

/// L3 as a reason: the client took nothing, or little, for so long, and not long ago.
pub(crate) fn may_write_out(facts: &Facts<'_>, closed: Moment) -> Result<(), Impossible> {
    let (timeouts, tolerance) = (&facts.config.timeouts, &facts.config.tolerance);
    let write = ms(timeouts.write_ms);
    // L3 runs in Draining, too.
    let until = left_us(facts).min(facts.us(closed)) + ms(tolerance.early_ms);
    // The end may be seen as late as the linger behind it is over (D8).
    let slack = ms(timeouts.linger_ms + tolerance.late_ms + tolerance.network_ms);
    let stalls = || {
        let is_it = |stall: &&Stall| stall.0 == Direction::ToClient;
        facts.stalls.iter().filter(is_it)
    };
    // A response that has begun keeps its credit from one stall to the next.
    let long = stalls().any(|stall| until >= facts.us(stall.1).saturating_add(write));
    let recent = stalls().any(|stall| {
        let flows = stall.2.map_or(u64::MAX, |flows| facts.us(flows));
        flows.saturating_add(slack) >= until
    });
    if (long && recent) || ms(tolerance.network_ms) >= write {
        return Ok(());
    }
    let needed = format!("a client that takes nothing for {} ms", write / 1000);
    Err((Rule::L3, needed))
}

type Stall = (Direction, Moment, Option<Moment>);

/// L3: a client that takes nothing ends, six limits after the last of it.
fn check_write(facts: &Facts<'_>, found: &mut Found<'_>) {
    let to_client = |stall: &&Stall| stall.0 == Direction::ToClient;
    for (_, stalled, flows) in facts.stalls.iter().filter(to_client) {
        let over = [*flows, facts.closed].into_iter().flatten().min();
        let over_us = over.map_or(facts.history.end_us, |over| facts.us(over));
        let Some((owed, last)) = owed_in(facts, *stalled, *flows) else {
            continue;
        };
        let limit = ms(6 * facts.config.timeouts.write_ms
            + facts.config.timeouts.linger_ms
            + facts.config.tolerance.late_ms);
        if over_us > facts.us(last).saturating_add(limit) {
            let until = facts.us(last).saturating_add(limit);
            let what = format!(
                "the client took nothing of {owed} bytes from {} ms on",
                facts.us(last) / 1000
            );
            let allowed = format!("an end by {} ms (L3)", until / 1000);
            let shown = [*stalled, last].into_iter().chain(over);
            return found.broken(Rule::L3, what, allowed, shown);
        }
    }
}

/// More bytes of responses than the transport takes, which nobody took while the
/// direction stalled; and since when it is so.
fn owed_in(facts: &Facts<'_>, stalled: Moment, flows: Option<Moment>) -> Option<(usize, Moment)> {
    let flows = flows.unwrap_or(Moment::MAX);
    // N8, L3: what is behind a response that is under way waits for its body.
    let may_hold_the_wire = |run: &Run| {
        let streams = |(moment, how): (Moment, RunEnd)| {
            moment < flows && matches!(how, RunEnd::Streamed { .. })
        };
        run.ended.is_some_and(streams) && run.body.is_none_or(|(ended, _)| ended > stalled)
    };
    if facts.runs.iter().any(may_hold_the_wire) {
        return None;
    }
    let (mut owed, mut last) = (0, stalled);
    for run in &facts.runs {
        let answer = run.request.map(|of| facts.answer(&facts.requests[of]));
        let unanswered = answer.is_some_and(|of| of.is_none_or(|answer| answer.first > flows));
        if let (Some((moment, RunEnd::Whole { bytes })), true) = (run.ended, unanswered)
            && moment < flows
            && owed <= facts.config.transport_buffer_bytes
        {
            owed += bytes;
            last = last.max(moment);
        }
    }
    // Each byte that moves gives credit.
    let is_received = |(_, event): &(Moment, &Event)| matches!(event.what, What::Received(_));
    let events = facts.history.events.iter().enumerate();
    let mut received = events.filter(is_received).map(|(moment, _)| moment);
    let taken = received.rfind(|moment| (stalled..flows).contains(moment));
    (owed > facts.config.transport_buffer_bytes).then_some((owed, last.max(taken.unwrap_or(0))))
}

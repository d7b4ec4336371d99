//! L2's clock: a header has its time in all, a body has credit.

use std::ops::Range;

use super::facts::{Facts, Moment, ms};

/// So many bytes add a second.
const BYTES_A_SECOND: i64 = 240;

/// How close the reading of one request came to its limit, by the times at
/// which its bytes were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slack {
    /// The least credit that was left when bytes came, in microseconds; negative:
    /// it had run out.
    pub(crate) least_us: i64,
    /// When the credit ran out or would have, in microseconds.
    pub(crate) out_us: u64,
    /// When the last byte before that was sent.
    pub(crate) moved_us: u64,
    pub(crate) part: Part,
    pub(crate) moment: Moment,
}

/// Which part of a request was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Header,
    Body,
}

/// The closest that the request at `bytes` came to L2, watched until `until_us`.
pub(crate) fn slack(
    facts: &Facts<'_>,
    bytes: Range<u64>,
    is_whole: Whole,
    until_us: u64,
) -> Option<Slack> {
    let limit = i64::try_from(ms(facts.config.timeouts.read_ms)).ok()?;
    let steps = facts
        .sent_steps
        .iter()
        .filter(|(end, _)| *end > bytes.start);
    let mut reading = Reading {
        credit: limit,
        last_us: 0,
        part: Part::Header,
        closest: None,
    };
    let mut from = bytes.start;
    for (end, moment) in steps {
        let now = facts.us(*moment);
        if from == bytes.start {
            reading.last_us = now;
        }
        if from >= bytes.end || now > until_us {
            break;
        }
        reading.pass(now, *moment);
        reading.take(from, (*end).min(bytes.end), bytes.start + 5, limit);
        from = (*end).min(bytes.end);
    }
    // What came later, or never, had not come when the watching ended.
    if is_whole == Whole::No || from < bytes.end {
        let last = facts
            .sent_steps
            .iter()
            .rfind(|(end, moment)| *end > bytes.start && facts.us(*moment) <= until_us)?;
        reading.pass(until_us.max(reading.last_us), last.1);
    }
    reading.closest
}

/// Whether the request's end was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Yes,
    No,
}

struct Reading {
    credit: i64,
    last_us: u64,
    part: Part,
    closest: Option<Slack>,
}

impl Reading {
    /// Time passes until `now`.
    fn pass(&mut self, now: u64, moment: Moment) {
        let left = self.credit - (now - self.last_us) as i64;
        // Of two that are as close the later one: behind the first bytes still came.
        if self.closest.is_none_or(|slack| left <= slack.least_us) {
            self.closest = Some(Slack {
                least_us: left,
                out_us: self.last_us.saturating_add_signed(self.credit),
                moved_us: self.last_us,
                part: self.part,
                moment,
            });
        }
        self.credit = left;
        self.last_us = now;
    }

    /// Bytes `from..to` of the stream come; the header ends at `header`.
    fn take(&mut self, from: u64, to: u64, header: u64, limit: i64) {
        if to < header {
            return;
        }
        if from < header {
            // The body's credit starts at the limit.
            self.part = Part::Body;
            self.credit = limit;
            return;
        }
        let bytes = i64::try_from(to - from).unwrap_or(i64::MAX);
        let earned = bytes.saturating_mul(1_000_000) / BYTES_A_SECOND;
        self.credit = limit.min(self.credit.saturating_add(earned));
    }
}

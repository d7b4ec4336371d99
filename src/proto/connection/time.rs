//! What time does to the connection (PROTOCOL section 7, E5).

use std::time::{Duration, Instant};

use super::current::Current;
use super::{Action, Connection, Flush};
use crate::canary::{Canary, planted};
use crate::proto::disconnect::Phase;
use crate::proto::ledger::TaskKey;
use crate::proto::pace::Exhausted;
use crate::proto::report::EndReason;
use crate::wire::Features;

impl<T> Connection<T> {
    /// The end of a turn: sets the clocks by what has happened in it, then acts
    /// on those that have run out, judged after the turn's bytes (L13). Returns the
    /// [`next_deadline`](Self::next_deadline).
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Instant> {
        // What the transport may still take of a closed connection is not waited for.
        if self.phase() == Phase::Closed {
            return self.next_deadline();
        }
        self.set_clocks(now);
        self.parts.forget_last_if_old(now);
        // A drain that this turn has finished was not cut short by a deadline of now.
        self.linger_if_done(now);
        let mut next = self.next_deadline();
        if next.is_some_and(|next| next <= now) {
            self.expire(now);
            self.say_processing(now);
            self.linger_if_done(now);
            next = self.next_deadline();
        }
        self.check_invariants();
        next
    }

    /// When `handle_timeout` has something to do, unless something else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.disconnect.next_deadline(),
            self.pace.next_deadline(),
            self.ledger.next_alarm(),
            self.reader_deadline,
            self.body_deadlines.values().min().copied(),
            self.next_processing().map(|(_, due)| due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn set_clocks(&mut self, now: Instant) {
        self.set_read_clock(now);
        let written = std::mem::take(&mut self.newly_written);
        let flushing = self.flush == Flush::Pending;
        let pending = !self.outbox.is_empty() || flushing;
        // PROTOCOL section 7: while a body's next bytes are awaited.
        let stands_still = self.outbox.writable() == 0 && !flushing;
        self.pace.wrote(written, pending, stands_still, now);
        let is_full = self.output_is_full();
        if is_full && !self.was_full {
            self.actions.push(Action::LimitReached("L7"));
        }
        self.was_full = is_full;
        let active = std::mem::take(&mut self.active);
        if self.phase() == Phase::Open {
            let unread = self.decoder.is_between_requests() || self.holds_header();
            let idle = unread && self.ledger.live() == 0 && self.outbox.is_empty();
            self.pace.set_idle(idle, active, now);
        }
    }

    fn holds_header(&self) -> bool {
        matches!(self.current, Current::Held(..))
    }

    fn set_read_clock(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.newly_read);
        let reading = self.phase() == Phase::Open
            && (self.pause_reason().is_none() || planted(Canary::ReadClockInPause))
            && !self.decoder.is_between_requests();
        if !reading {
            // PROTOCOL L12: it starts afresh when reading goes on.
            self.pace.stop_reading();
            self.read_afresh = true;
        } else if self.decoder.is_in_message() {
            self.pace.await_body(bytes, self.read_afresh, now);
            self.read_afresh = false;
        } else {
            self.pace.await_header(now);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.disconnect.handle_timeout(now);
        self.finish_if_closed(now);
        if self.phase() == Phase::Closed {
            return;
        }
        self.handle_alarms(now);
        if self.reader_deadline.is_some_and(|deadline| deadline <= now) {
            self.reader_deadline = None;
            self.drop_slow_reader(now);
        }
        self.end_slow_bodies(now);
        if self.phase() == Phase::Open {
            match self.pace.read_exhausted(now) {
                Some(exhausted) => {
                    self.actions.push(Action::LimitReached("L2"));
                    self.fail(read_reason(exhausted), now);
                }
                None if self.pace.wait_is_over(now) => {
                    self.actions.push(Action::LimitReached("L1"));
                    self.end_idle(now);
                }
                None => {}
            }
        }
        if let Some(exhausted) = self.pace.write_exhausted(now) {
            self.actions.push(Action::LimitReached("L3"));
            self.give_up_output(write_reason(exhausted), now);
        }
    }

    /// The task whose sign of life is due first, and when (E5).
    fn next_processing(&self) -> Option<(TaskKey, Instant)> {
        if !self.granted.contains(Features::PROCESSING) || self.output_is_full() {
            return None;
        }
        let (key, counted_from) = self.ledger.first_turn()?;
        let due = counted_from.checked_add(self.processing_interval())?;
        Some((key, due))
    }

    /// An interval of none would never come to an end.
    pub(super) fn processing_interval(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(1);
        self.settings.timeouts.processing_interval.max(SHORTEST)
    }

    fn say_processing(&mut self, now: Instant) {
        if !matches!(self.phase(), Phase::Open | Phase::Draining) {
            return;
        }
        while let Some((key, _)) = self.next_processing().filter(|(_, due)| *due <= now) {
            if let Some((id, code)) = self.ledger.identity(key) {
                self.outbox.push_processing(key, id, code);
            }
            // The next one is counted from this, and queued once this is taken.
            self.ledger.suspend_turn(key, now);
        }
    }

    /// Whether there is nothing to do but to wait for the client.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ledger.places() == 0 && self.outbox.is_empty()
    }

    /// Gives back memory that a burst left behind.
    pub fn shrink(&mut self) {
        self.parts.forget_last();
        if self.is_idle() {
            self.ledger.shrink_to_fit();
            self.outbox.shrink();
        }
    }
}

const fn read_reason(exhausted: Exhausted) -> EndReason {
    match exhausted {
        Exhausted::Timeout => EndReason::ReadTimeout,
        Exhausted::TooSlow => EndReason::ReadTooSlow,
    }
}

const fn write_reason(exhausted: Exhausted) -> EndReason {
    match exhausted {
        Exhausted::Timeout => EndReason::WriteTimeout,
        Exhausted::TooSlow => EndReason::WriteTooSlow,
    }
}

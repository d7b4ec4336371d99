//! Time: what has expired, and when to look again.

use std::task::Context;
use std::time::Instant;

use super::outcomes::timed_out;
use super::{Driver, Phase, Turn};
use crate::client::connection::{Connection, Progress};

impl Driver {
    /// Expired deadlines come last: what has come by now counts (PROTOCOL C4).
    pub(super) fn judge_clocks(&mut self, turn: &mut Turn, now: Instant) {
        let mut at = 0;
        while at < self.connections.len() {
            // Behind what cannot be written yet nothing more can: its waker is enough.
            let nothing_waited = !self.connections[at].calls.has_queued_output();
            let judged = self.connections[at].handle_timeout(now);
            self.settle_finished(at, now);
            let progress = match nothing_waited && self.connections[at].calls.has_queued_output() {
                true => Progress::More,
                false => Progress::Waiting,
            };
            at = self.next_behind(at, judged.map(|()| progress), turn, now);
        }
        for call in self.queue.expire(now) {
            let error = match self.current() {
                Some(_) => timed_out(&call),
                None => self.no_connection(&call),
            };
            call.fail(error);
        }
        if let Phase::Closing {
            deadline: Some(deadline),
        } = self.phase
            && deadline <= now
        {
            self.phase = Phase::Over;
        }
    }

    /// Sets the timer to the next deadline. One that has moved on is left
    /// where it was: waking up once too often is cheaper than setting it.
    pub(super) fn arm(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let closing = match self.phase {
            Phase::Closing { deadline } => deadline,
            Phase::Open | Phase::Over => None,
        };
        let connections = self.connections.iter();
        let deadline = connections
            .filter_map(Connection::next_deadline)
            .chain(self.queue.next_deadline())
            .chain(self.dialer.next_deadline(self.wants_connection()))
            .chain(closing)
            .min();
        let Some(deadline) = deadline else {
            return;
        };
        let at = match self.armed {
            Some(armed) if armed > now => armed.min(deadline),
            _ => deadline,
        };
        self.armed = Some(at);
        if self.timer.poll_until(at, cx).is_ready() {
            self.armed = None;
            turn.again();
        }
    }
}

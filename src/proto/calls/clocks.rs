//! The clocks of PROTOCOL C4.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::table::{Owner, RequestState};
use super::{CallOutcome, Calls, Expired, Started, State};
use crate::wire::TaskCode;

#[derive(Debug)]
pub(super) struct Clocks {
    /// When bytes last moved, in either direction.
    moved: Instant,
    /// When the output that the transport has not taken appeared.
    output_since: Instant,
    /// No response is due before this: a lower bound, so that a call that is
    /// answered in time, as nearly all are, costs nothing here.
    earliest_response: Option<Instant>,
    /// Since when no caller waits.
    unused_since: Option<Instant>,
    reading: Reading,
}

/// Whether input is taken; while it is not, nobody can be blamed for silence.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Going,
    Paused { since: Instant },
}

impl Clocks {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            moved: now,
            output_since: now,
            earliest_response: None,
            unused_since: Some(now),
            reading: Reading::Going,
        }
    }

    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    pub(super) fn output_appeared(&mut self, now: Instant) {
        self.output_since = now;
    }

    pub(super) fn expect_response(&mut self, deadline: Option<Instant>) {
        self.earliest_response = earlier(self.earliest_response, deadline);
    }

    pub(super) fn used(&mut self) {
        self.unused_since = None;
    }

    pub(super) fn unused(&mut self, now: Instant) {
        self.unused_since = Some(now);
    }

    pub(super) const fn is_unused(&self) -> bool {
        self.unused_since.is_some()
    }
}

impl<T> Calls<T> {
    /// When [`Calls::handle_timeout`] is to be called next, at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if matches!(self.clocks.reading, Reading::Paused { .. }) {
            return None;
        }
        [
            self.clocks.earliest_response,
            self.write_deadline(),
            self.keep_alive_due(),
            self.unused_deadline(),
        ]
        .into_iter()
        .fold(None, earlier)
    }

    /// Judges the clocks, behind the input that has come by `now`. Calls that
    /// have timed out are to be had from [`Calls::poll_finished`].
    ///
    /// # Errors
    /// [`Expired`]: the connection must be given up (PROTOCOL C3), or is to be
    /// closed because it is not used.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Expired> {
        if matches!(self.clocks.reading, Reading::Paused { .. }) {
            return Ok(());
        }
        if is_due(self.clocks.earliest_response, now) {
            self.expire_responses(now)?;
        }
        let timeouts = self.settings.timeouts;
        if is_due(self.write_deadline(), now) {
            let after = timeouts.write;
            return Err(Expired::Write { after });
        }
        if is_due(self.unused_deadline(), now) {
            let after = timeouts.unused;
            return Err(Expired::Unused { after });
        }
        if is_due(self.keep_alive_due(), now) {
            self.start_own(TaskCode::KEEP_ALIVE, Owner::KeepAlive, Bytes::new(), now);
        }
        self.check_invariants();
        Ok(())
    }

    /// Input is not taken from now on: the clocks stand still (PROTOCOL C8).
    pub fn pause_reading(&mut self, now: Instant) {
        if matches!(self.clocks.reading, Reading::Going) {
            self.clocks.reading = Reading::Paused { since: now };
        }
    }

    /// Input is taken again: the clocks go on where they stood.
    pub fn resume_reading(&mut self, now: Instant) {
        let Reading::Paused { since } = self.clocks.reading else {
            return;
        };
        self.clocks.reading = Reading::Going;
        self.clocks.moved = now;
        let paused = now.saturating_duration_since(since);
        let later = |deadline: &mut Option<Instant>| {
            *deadline = deadline.and_then(|deadline| deadline.checked_add(paused));
        };
        later(&mut self.clocks.earliest_response);
        for (_, entry) in self.table.iter_mut() {
            later(&mut entry.deadline);
        }
    }

    /// PROTOCOL C4: counted only while nothing moves in either direction.
    fn write_deadline(&self) -> Option<Instant> {
        let since = self.clocks.moved.max(self.clocks.output_since);
        let untaken = self.outgoing.has_untaken();
        untaken
            .then(|| since.checked_add(self.settings.timeouts.write))
            .flatten()
    }

    fn unused_deadline(&self) -> Option<Instant> {
        self.clocks
            .unused_since?
            .checked_add(self.settings.timeouts.unused)
    }

    fn keep_alive_due(&self) -> Option<Instant> {
        // One at a time, and none where no request may follow (PROTOCOL C2, C6)
        // or one is on its way and will be traffic itself.
        let wanted = self.state == State::Open && self.outgoing.is_idle();
        if !wanted || self.keep_alive_is_live() {
            return None;
        }
        self.clocks.moved.checked_add(self.keep_alive_after())
    }

    /// Half the server's idle limit, where that is shorter (PROTOCOL C7).
    fn keep_alive_after(&self) -> Duration {
        let configured = self.settings.timeouts.keep_alive;
        match self.negotiated() {
            Some(told) if told.idle_limit_s != u32::MAX => {
                let half = Duration::from_millis(500) * told.idle_limit_s;
                configured.min(half.max(Duration::from_millis(500)))
            }
            _ => configured,
        }
    }

    fn keep_alive_is_live(&self) -> bool {
        self.keep_alive
            .is_some_and(|id| self.table.slot(id).is_some())
    }

    fn expire_responses(&mut self, now: Instant) -> Result<(), Expired> {
        let mut expired = Vec::new();
        let mut earliest = None;
        for (slot, entry) in self.table.iter() {
            if is_due(entry.deadline, now) {
                expired.push((entry.started_as, slot));
            } else {
                earliest = earlier(earliest, entry.deadline);
            }
        }
        self.clocks.earliest_response = earliest;
        expired.sort_unstable();
        for (_, slot) in expired {
            self.expire_response(slot, now)?;
        }
        Ok(())
    }

    fn expire_response(&mut self, slot: usize, now: Instant) -> Result<(), Expired> {
        let Some(entry) = self.table.get_mut(slot) else {
            return Ok(());
        };
        entry.deadline = None;
        let (id, after) = (entry.id, entry.response_timeout);
        match entry.owner {
            Owner::KeepAlive => return Err(Expired::KeepAlive { after }),
            Owner::Negotiate => return Err(Expired::Negotiate { after }),
            Owner::Caller(_) | Owner::GivenUp => {}
        }
        let stalled = self.outgoing.is_streaming(slot);
        let queued = matches!(entry.request, RequestState::Queued(_));
        // What has begun is sent to its end, unless the connection ends with it.
        let started = if queued || stalled {
            Started::No
        } else {
            Started::Perhaps
        };
        let code = entry.code;
        if let Some(context) = self.give_up(id, now) {
            self.finished.push_back(super::Finished {
                id,
                context,
                outcome: CallOutcome::TimedOut { after, started },
            });
        }
        // A message once begun is never ended early (PROTOCOL C5), and this one
        // holds up all that follow.
        if stalled {
            return Err(Expired::Message { id, after });
        }
        // Whoever asked for it: a server that does not answer this answers nothing.
        if code == TaskCode::KEEP_ALIVE && !queued {
            return Err(Expired::KeepAlive { after });
        }
        Ok(())
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// The earlier of two deadlines, where `None` is never.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

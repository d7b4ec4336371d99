//! The clocks (PROTOCOL C4).

use super::*;

impl Calls {
    pub(super) fn write_deadline(&self) -> Option<Nanos> {
        // Counted only while nothing moves in either direction.
        let since = self.moved.max(self.output_since);
        let waits = self.put_out > self.taken && self.standing != Standing::Draining;
        later(since, self.settings.write).filter(|_| waits)
    }

    pub(super) fn unused_deadline(&self) -> Option<Nanos> {
        later(self.unused_since?, self.settings.unused)
    }

    pub(super) fn keep_alive_due(&self) -> Option<Nanos> {
        let is_one_live = self.calls.iter().any(|call| call.owner == Owner::KeepAlive);
        if self.standing != Standing::Open || !self.is_idle() || is_one_live {
            return None;
        }
        // C7: half the server's idle limit, where that is shorter.
        let mut after = self.settings.keep_alive;
        if let Some(told) = self.told.filter(|told| told.idle_limit != u32::MAX) {
            let half = u64::from(told.idle_limit) * (SECOND / 2);
            after = after.min(half.max(SECOND / 2));
        }
        later(self.moved, after)
    }

    /// When something is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let responses = self.calls.iter().filter_map(|call| call.deadline).min();
        earliest([
            responses,
            self.write_deadline(),
            self.unused_deadline(),
            self.keep_alive_due(),
        ])
    }

    /// Judges the clocks.
    ///
    /// # Errors
    /// [`End`]: the connection is given up.
    pub fn timeout(&mut self, now: Nanos) -> Result<(), End> {
        let is_late = |call: &&Call| has_come(call.deadline, now);
        let late = self.calls.iter().filter(is_late);
        for number in late.map(|call| call.number).collect::<Vec<_>>() {
            self.expire(number, now)?;
        }
        if has_come(self.write_deadline(), now) {
            return Err(End::Write);
        }
        if has_come(self.unused_deadline(), now) {
            return Err(End::Unused);
        }
        if has_come(self.keep_alive_due(), now) {
            self.reached.push("a KeepAlive is sent");
            self.start_own(250, Owner::KeepAlive, Vec::new(), now);
        }
        Ok(())
    }

    pub(super) fn expire(&mut self, number: usize, now: Nanos) -> Result<(), End> {
        let Some(call) = self.call_mut(number) else {
            return Ok(());
        };
        call.deadline = None;
        let (id, owner, code) = (call.id, call.owner, call.code);
        let is_queued = call.progress == Progress::Queued;
        match owner {
            Owner::KeepAlive => return Err(End::KeepAlive),
            Owner::Negotiate => return Err(End::Negotiate),
            Owner::Caller | Owner::GivenUp => {}
        }
        let streams = self.streams(number);
        // What has begun is sent to its end, unless the connection ends with it.
        let may_have_run = !is_queued && !streams;
        if self.give_up(id, now) {
            self.finished
                .push((number, id, Outcome::TimedOut(may_have_run)));
        }
        // C5: a message once begun is never ended early.
        if streams {
            Err(End::Message(id))
        } else if code == 250 && !is_queued {
            // Whoever asked for it.
            self.reached.push("a caller's KeepAlive is not answered");
            Err(End::KeepAlive)
        } else {
            Ok(())
        }
    }

    /// C8: reading stopped for so long, and the clocks stood still.
    pub fn stalled(&mut self, from: Nanos, until: Nanos) {
        self.moved = until;
        for call in &mut self.calls {
            call.deadline = call.deadline.map(|at| at + (until - from));
        }
    }
}

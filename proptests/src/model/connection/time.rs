//! The transport's progress, and time (PROTOCOL section 7, E5).

use super::*;

impl Connection {
    /// The transport took bytes.
    pub fn written(&mut self, bytes: usize) {
        self.bytes_written += bytes as u64;
        self.written_in_turn += bytes;
        for answer in self.outbox.taken(bytes) {
            // D9: answered once its last byte was taken.
            match answer {
                Answer::Ok => self.counts.ok += 1,
                Answer::Error => self.counts.errors += 1,
                Answer::Cancelled => self.counts.cancelled += 1,
            }
        }
    }

    /// The end of a turn (L13): the clocks are set by what happened in it, then
    /// judged.
    pub fn end_turn(&mut self, now: Nanos) {
        self.set_clocks(now);
        self.expire(now);
        self.say_processing(now);
        self.linger_if_done(now);
    }

    pub(super) fn set_clocks(&mut self, now: Nanos) {
        let bytes = std::mem::take(&mut self.read_in_turn);
        let is_read = self.phase() == Phase::Open && self.pause().is_none() && self.offset > 0;
        if !is_read {
            // L12: it starts afresh when reading goes on.
            self.pace.stop_reading();
            self.reads_afresh = true;
        } else if self.header.len() < 5 {
            self.pace.await_header(now);
        } else {
            self.pace.await_body(bytes, self.reads_afresh, now);
            self.reads_afresh = false;
        }
        // L3; while a body's next bytes are awaited it stands still.
        let bytes = std::mem::take(&mut self.written_in_turn);
        let is_pending = !self.outbox.is_empty();
        let stands_still = self.outbox.unsent() == 0;
        self.pace.wrote(bytes, is_pending, stands_still, now);
        let is_active = std::mem::take(&mut self.accepted_in_turn);
        if self.phase() == Phase::Open {
            // L1: no live task, no partly read request (a header held by a pause
            // is none) and nothing to write.
            let is_unread = self.offset == 0 || matches!(self.current, Current::Held { .. });
            let is_idle = is_unread && self.ledger.live_count() == 0 && self.outbox.is_empty();
            self.pace.set_idle(is_idle, is_active, now);
        }
    }

    /// *Choice*: the order in which deadlines of one turn are judged.
    pub(super) fn expire(&mut self, now: Nanos) {
        self.disconnect.timeout(now);
        self.finish_if_closed(now);
        if self.phase() == Phase::Closed {
            return;
        }
        while let Some((number, step)) = self.ledger.take_next_alarm(now) {
            self.act_on_alarm(number, step);
        }
        if has_come(self.reader_deadline, now) {
            // L14: dropped; the rest is discarded.
            self.acts.push(Act::Limit("L14"));
            self.acts.push(Act::DropReading);
            self.reader_is(Reader::Failed(253), now);
        }
        self.end_slow_bodies(now);
        if self.phase() == Phase::Open {
            match self.pace.read(now) {
                Some(Reached::Timeout) => self.fail(Reason::ReadTimeout, now),
                Some(Reached::TooSlow) => self.fail(Reason::ReadTooSlow, now),
                // L1 ends as `disconnect(linger)` does.
                None if self.pace.waited(now) => {
                    self.leave(Reason::WaitedTooLong, self.settings.linger, now);
                }
                None => {}
            }
        }
        match self.pace.written(now) {
            Some(Reached::Timeout) => self.give_up_output(Reason::WriteTimeout, now),
            Some(Reached::TooSlow) => self.give_up_output(Reason::WriteTooSlow, now),
            None => {}
        }
    }

    pub(super) fn act_on_alarm(&mut self, number: usize, step: OnAlarm) {
        match step {
            OnAlarm::Cancel(step) => self.act_on_cancel(number, step, Cause::Limit),
            OnAlarm::Drop => self.acts.push(Act::Drop(number)),
            OnAlarm::Answer(cause) => self.answer(number, cause.error_code()),
            OnAlarm::Stuck(cause) => {
                // T13: answered, reported, and it keeps its places.
                if let Some(task) = self.ledger.task(number) {
                    self.acts.push(Act::Stuck(task.id, task.code));
                    let error_code = cause.error_code();
                    self.outbox.push_error(task.id, task.code, error_code);
                }
                self.acts.push(Act::Drop(number));
            }
        }
    }

    /// L15: `Error DEADLINE` before the response has begun, else body error.
    pub(super) fn end_slow_bodies(&mut self, now: Nanos) {
        let is_late = |(_, at): &&(usize, Nanos)| *at <= now;
        let late = self.body_deadlines.iter().filter(is_late);
        let mut late: Vec<usize> = late.map(|(number, _)| *number).collect();
        late.sort_by_key(|number| self.ledger.task(*number).map(|task| task.rank));
        for number in late {
            self.acts.push(Act::Limit("L15"));
            self.body(number, BodyStep::Failed(Some(253)), now);
        }
    }

    pub(super) fn next_processing(&self) -> Option<(usize, Nanos)> {
        // E5: none is queued while L7 is reached.
        if self.granted & 2 == 0 || self.is_full() {
            return None;
        }
        let (number, since) = self.ledger.first_turn()?;
        Some((number, later(since, self.settings.interval)?))
    }

    pub(super) fn say_processing(&mut self, now: Nanos) {
        if !matches!(self.phase(), Phase::Open | Phase::Draining) {
            return;
        }
        while let Some((number, due)) = self.next_processing() {
            if due > now {
                return;
            }
            if let Some(task) = self.ledger.task(number) {
                if self.outbox.has_processing_of_another(task.id, number) {
                    self.known
                        .push("E5: a sign of life is withheld for another task's");
                }
                if self.outbox.unsent() > 0 && self.under_way.is_some() {
                    self.reached.push("Processing behind a body");
                }
                // *Choice*: one that is skipped, since another is unsent, counts
                // as queued.
                self.outbox.push_processing(task.id, task.code, number);
            }
            self.ledger.restart_turn(number, now);
        }
    }

    /// When `end_turn` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        earliest([
            self.disconnect.next(),
            self.pace.next(),
            self.ledger.next_alarm(),
            self.reader_deadline,
            self.body_deadlines.iter().map(|(_, at)| *at).min(),
            self.next_processing().map(|(_, due)| due),
        ])
    }
}

//! The transport's progress, and time (PROTOCOL section 7, E5).

use super::*;

impl Connection {
    /// The transport took bytes.
    pub fn written(&mut self, bytes: usize) {
        self.bytes_written += bytes as u64;
        self.written_in_turn += bytes;
        for taken in self.outbox.taken(bytes) {
            match taken {
                // D9: answered once its last byte was taken.
                Taken::Answer(Answer::Ok) => self.counts.ok += 1,
                Taken::Answer(Answer::Error) => self.counts.errors += 1,
                Taken::Answer(Answer::Cancelled) => self.counts.cancelled += 1,
                // E5: the next one has its turn again.
                Taken::Processing(number) => self.ledger.requeue_turn(number),
            }
        }
    }

    /// The end of a turn (L13): the clocks are set by what happened in it, then
    /// judged.
    pub fn end_turn(&mut self, now: Nanos) {
        if self.phase() == Phase::Closed {
            return;
        }
        self.set_clocks(now);
        // D2: a drain that is done was not cut short by a deadline of now.
        self.linger_if_done(now);
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
        let is_pending = !self.outbox.is_empty() || self.flush_pends;
        let stands_still = self.outbox.writable() == 0 && !self.flush_pends;
        if is_pending && stands_still && self.outbox.unsent() > 0 {
            self.reached
                .push("L3 stands still for a body, answers behind it");
        }
        if self.flush_pends && self.outbox.is_empty() {
            self.reached.push("nothing left but a flush");
        }
        self.pace.wrote(bytes, is_pending, stands_still, now);
        if self.is_full() && !self.was_full {
            self.acts.push(Act::Limit("L7"));
        }
        self.was_full = self.is_full();
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
            self.act_on_alarm(number, step, now);
        }
        if has_come(self.reader_deadline, now) {
            // L14: dropped; the rest is discarded.
            self.acts.push(Act::Limit("L14"));
            if let Some(number) = self.reading() {
                self.acts.push(Act::DropReading(number));
            }
            self.reader_is(Reader::Failed(253), now);
        }
        self.end_slow_bodies(now);
        if self.phase() == Phase::Open {
            match self.pace.read(now) {
                Some(reached) => {
                    self.acts.push(Act::Limit("L2"));
                    let reason = match reached {
                        Reached::Timeout => Reason::ReadTimeout,
                        Reached::TooSlow => Reason::ReadTooSlow,
                    };
                    self.fail(reason, now);
                }
                // L1 ends as `disconnect(linger)` does.
                None if self.pace.waited(now) => {
                    self.acts.push(Act::Limit("L1"));
                    self.leave(Reason::WaitedTooLong, self.settings.linger, now);
                }
                None => {}
            }
        }
        if let Some(reached) = self.pace.written(now) {
            self.acts.push(Act::Limit("L3"));
            let reason = match reached {
                Reached::Timeout => Reason::WriteTimeout,
                Reached::TooSlow => Reason::WriteTooSlow,
            };
            if self.flush_pends && self.outbox.is_empty() {
                self.reached.push("L3 of a flush");
            }
            self.give_up_output(reason, now);
        }
    }

    pub(super) fn act_on_alarm(&mut self, number: usize, step: OnAlarm, now: Nanos) {
        match step {
            OnAlarm::Cancel(step) => self.act_on_cancel(number, step, Cause::Limit, now),
            OnAlarm::Drop => self.acts.push(Act::Drop(number)),
            OnAlarm::Answer(cause) => self.answer_own(number, cause.error_code(), now),
            OnAlarm::Stuck(cause) => {
                // T13: answered, reported, and it keeps its places.
                if let Some((id, code)) = self.identity(number) {
                    self.acts.push(Act::Stuck(id, code));
                    let error = cause.error_code();
                    if self.is_watched {
                        let ending = self.own_ending(error);
                        self.acts.push(Act::Finished(id, code, ending));
                    }
                    self.send_own(id, code, error, now);
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
            self.body(number, BodyStep::Late, now);
        }
    }

    pub(super) fn next_processing(&self) -> Option<(usize, Nanos)> {
        // E5: none is queued while L7 is reached.
        if self.granted & 2 == 0 || self.is_full() {
            return None;
        }
        // E5: at most one per task is unsent.
        let is_unsent = |number| self.outbox.has_processing_of(number);
        let (number, since) = self.ledger.first_turn(is_unsent)?;
        let interval = self.settings.interval.max(SHORTEST_INTERVAL);
        Some((number, later(since, interval)?))
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
                    self.reached
                        .push("Processing of two tasks with one id unsent");
                }
                if task.counted_from.is_some_and(|(since, _)| {
                    later(since, self.settings.interval.max(SHORTEST_INTERVAL))
                        .is_some_and(|at| at < now)
                }) {
                    self.reached.push("an overdue Processing");
                }
                if self.outbox.unsent() > 0 && self.under_way.is_some() {
                    self.reached.push("Processing behind a body");
                }
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

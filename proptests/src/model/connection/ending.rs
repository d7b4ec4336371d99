//! The end (PROTOCOL section 8).

use super::*;

impl Connection {
    /// D1, D2.
    pub fn disconnect(&mut self, after: Nanos, now: Nanos) {
        self.leave(Reason::Graceful, after, now);
    }

    pub(super) fn leave(&mut self, reason: Reason, after: Nanos, now: Nanos) {
        if self.disconnect.disconnect(reason, after, now) {
            self.left_open();
        }
    }

    /// D5.
    pub fn close(&mut self, now: Nanos) {
        self.disconnect.close(Reason::Aborted);
        self.finish_if_closed(now);
    }

    /// D8.
    pub fn transport_error(&mut self, now: Nanos) {
        self.disconnect.close(Reason::Transport);
        self.finish_if_closed(now);
    }

    /// D1: reading has stopped.
    pub(super) fn left_open(&mut self) {
        self.pace.stop_reading();
        self.pace.set_idle(false, false, 0);
        match std::mem::replace(&mut self.current, Current::Between) {
            // It was accepted: its task function goes on.
            task @ Current::Task {
                has_ended: true, ..
            } => self.current = task,
            // A request not wholly read is not accepted, its task function is dropped.
            Current::Task {
                number,
                is_streamed,
                reader,
                ..
            } => {
                self.drop_reader(number, is_streamed, reader);
                self.retire(number, Ending::Silent);
            }
            Current::Held { .. } | Current::Discarding { .. } | Current::Between => {}
        }
        // E4: the count is of what was accepted up to here.
        self.said_goodbye = self.granted & 1 != 0;
        if self.said_goodbye {
            self.reached
                .push(match (self.under_way, self.counts.accepted) {
                    (Some(_), _) => "Goodbye behind a body",
                    (_, 1) => "Goodbye, Negotiate alone accepted",
                    _ => "Goodbye, some accepted",
                });
            self.outbox.push_goodbye(self.counts.accepted as u32);
        }
    }

    pub(super) fn drop_reader(&mut self, number: usize, is_streamed: bool, reader: Reader) {
        self.stop_reader();
        // *Choice*: what it had not been given yet, it does not see.
        while let Some(Event::Payload(_)) = self.events.last() {
            self.events.pop();
        }
        if is_streamed && matches!(reader, Reader::Reads | Reader::Run) {
            self.acts.push(Act::DropReading(number));
        }
    }

    /// D8: reading stops, live tasks are cancelled; what is queued is still
    /// written, up to a response that has begun and is not whole.
    pub(super) fn fail(&mut self, reason: Reason, now: Nanos) {
        let was_open = self.phase() == Phase::Open;
        if !self.disconnect.fail(reason) {
            return;
        }
        if was_open {
            self.left_open();
        }
        self.end_tasks(now);
        self.under_way = None;
        let lost = self.outbox.break_under_way();
        if !lost.is_empty() {
            self.reached.push("response broken, answers behind it lost");
        }
        self.lose(lost);
    }

    /// L3: what cannot be written is given up.
    pub(super) fn give_up_output(&mut self, reason: Reason, now: Nanos) {
        self.fail(reason, now);
        // Nor is it waited for what the transport took and does not pass on.
        self.flush_pends = false;
        let lost = self.outbox.abandon();
        self.lose(lost);
    }

    /// T5: every live task is interrupted.
    pub(super) fn end_tasks(&mut self, now: Nanos) {
        if let Current::Task {
            number,
            is_streamed,
            reader,
            ..
        } = std::mem::replace(&mut self.current, Current::Between)
        {
            self.drop_reader(number, is_streamed, reader);
        }
        self.body_deadlines.clear();
        let live: Vec<_> = self.ledger.tasks.clone();
        for task in live.iter().filter(|task| task.is_live()) {
            if task.accepted {
                self.interrupted.push((task.id, task.code, task.shown()));
                let ending = Ending::Interrupted;
                self.acts.push(Act::Finished(task.id, task.code, ending));
            }
            match self.ledger.orphan(task.number, now) {
                OnEnd::Nothing => {}
                OnEnd::Remove => self.retire(task.number, Ending::Silent),
                OnEnd::Drop => self.acts.push(Act::Drop(task.number)),
                OnEnd::Tell(until) => self.acts.push(Act::Orphan(task.number, until)),
            }
        }
    }

    /// D9: *Responding* while its response is queued.
    pub(super) fn lose(&mut self, lost: Vec<(u32, u8)>) {
        let lost = lost.into_iter();
        let lost = lost.map(|(id, code)| (id, code, "Responding"));
        self.interrupted.extend(lost);
    }

    pub(super) fn finish_if_closed(&mut self, now: Nanos) {
        if self.phase() == Phase::Closed && self.ended.is_none() {
            self.ended = Some(now);
            if self.disconnect.deadline_reached && self.under_way.is_some() {
                self.reached.push("deadline while a body streams");
            }
            if self.disconnect.deadline_reached && self.ledger.live_count() > 0 {
                self.reached.push("deadline while tasks run");
            }
            self.pace.stop();
            self.end_tasks(now);
            self.under_way = None;
            let lost = self.outbox.close();
            self.lose(lost);
        }
    }

    /// The driver writes no more: what the transport has not taken is lost.
    pub fn settle(&mut self) {
        let lost = self.outbox.abandon();
        self.lose(lost);
    }

    /// D3: the half-close with which Lingering begins is done.
    pub fn half_closed(&mut self, now: Nanos) {
        self.disconnect.half_closed();
        self.finish_if_closed(now);
    }

    /// D9: who would be interrupted if nothing more were taken.
    #[must_use]
    pub fn all_interrupted(&self) -> Vec<(u32, u8, &'static str)> {
        let lost = self.outbox.unanswered().into_iter();
        let lost = lost.map(|(id, code)| (id, code, "Responding"));
        self.interrupted.iter().copied().chain(lost).collect()
    }

    /// The transport has taken all, and passed it on.
    fn all_is_written(&self) -> bool {
        self.outbox.is_empty() && !self.flush_pends
    }

    /// D3.
    pub(super) fn linger_if_done(&mut self, now: Nanos) {
        let is_done = match self.phase() {
            Phase::Draining => self.ledger.live_count() == 0 && self.all_is_written(),
            Phase::Failing => self.all_is_written(),
            _ => false,
        };
        if is_done {
            self.pace.stop();
            self.disconnect.linger(self.settings.linger, now);
            self.finish_if_closed(now);
        }
    }
}

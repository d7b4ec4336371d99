//! Run functions, bodies and cancels (PROTOCOL T5–T10, L15).

use super::*;

impl Connection {
    /// Takes the entry away, and gives back its place of the server.
    pub(super) fn retire(&mut self, number: usize, ending: Ending) {
        if let Some((id, code)) = self.remove(number) {
            self.retired.push((id, code, ending));
        }
    }

    pub(super) fn remove(&mut self, number: usize) -> Option<(u32, u8)> {
        self.body_deadlines.retain(|(task, _)| *task != number);
        let task = self.ledger.remove(number)?;
        self.free_places += 1;
        Some((task.id, task.code))
    }

    pub(super) fn answer(&mut self, number: usize, error_code: u8) {
        if let Some(task) = self.ledger.task(number) {
            self.outbox.push_error(task.id, task.code, error_code);
        }
        self.retire(number, Ending::Error(error_code));
    }

    /// N8, L7: whether a response may begin.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.under_way.is_none() && !self.is_full()
    }

    /// L7: how many bytes of a body are wanted.
    #[must_use]
    pub fn body_room(&self) -> usize {
        if self.is_full() {
            0
        } else {
            self.settings.unsent.max(1) - self.outbox.unsent()
        }
    }

    /// A run function has ended (T6–T10).
    pub fn finished(&mut self, number: usize, outcome: &Outcome, now: Nanos) -> Finished {
        let Some(task) = self.ledger.task(number).cloned() else {
            return Finished::Unknown;
        };
        let counts = matches!(task.state, State::Running | State::Cooperating(_));
        if let Outcome::Whole(length) = outcome
            && *length <= BUFFER
            && counts
            && self.may_begin()
        {
            self.outbox.push_ok(task.id, task.code, &pattern(*length));
            self.remove(number);
            return Finished::Removed(Ending::Ok);
        }
        let error_code = match self.ledger.function_ended(number) {
            // T13: its late result is discarded.
            None => {
                self.remove(number);
                return Finished::Removed(Ending::Silent);
            }
            Some(Some(cause)) => cause.error_code(),
            Some(None) => match outcome {
                Outcome::Whole(_) | Outcome::Body => return Finished::Pull,
                Outcome::Error(error_code) => *error_code,
                Outcome::Panicked => 254,
                Outcome::Dropped => 255,
                Outcome::Fatal => {
                    let (id, code) = (task.id, task.code);
                    self.fail(Reason::RunFunction { id, code }, now);
                    return Finished::Unknown;
                }
            },
        };
        self.outbox.push_error(task.id, task.code, error_code);
        self.remove(number);
        Finished::Removed(Ending::Error(error_code))
    }

    /// T7: a body takes its turn on the wire.
    pub fn begin_body(&mut self, number: usize) -> bool {
        let Some((id, code)) = self.ledger.task(number).map(|task| (task.id, task.code)) else {
            return false;
        };
        if !self.may_begin() || !self.ledger.begin_response(number) {
            return false;
        }
        self.outbox.begin_body(id, code);
        self.under_way = Some(number);
        true
    }

    /// A step of a body (T7, T9, L15).
    pub fn body(&mut self, number: usize, step: BodyStep, now: Nanos) {
        let Some((id, code)) = self.ledger.task(number).map(|task| (task.id, task.code)) else {
            return;
        };
        let has_begun = self.under_way == Some(number);
        match step {
            BodyStep::Waiting => {
                let waits = self.body_deadlines.iter().any(|(task, _)| *task == number);
                if !waits {
                    let deadline = later(now, self.settings.body);
                    self.body_deadlines.extend(deadline.map(|at| (number, at)));
                }
                return;
            }
            BodyStep::NotWaiting => {}
            BodyStep::Bytes(length) => self.outbox.push_body(&pattern(length)),
            BodyStep::End => {
                self.outbox.end_body();
                self.under_way = None;
                self.retire(number, Ending::Ok);
            }
            BodyStep::Failed(Some(error_code)) if !has_begun => self.answer(number, error_code),
            BodyStep::Panicked if !has_begun => self.answer(number, 254),
            // T7: once it has begun, or without a code.
            BodyStep::Failed(_) | BodyStep::Panicked => self.fail(Reason::Body { id, code }, now),
        }
        self.body_deadlines.retain(|(task, _)| *task != number);
    }

    /// T10.
    pub fn cancel(&mut self, number: usize, cause: Cause, now: Nanos) {
        if self.phase() != Phase::Closed {
            let step = self.ledger.cancel(number, cause, now);
            self.act_on_cancel(number, step, cause);
        }
    }

    pub(super) fn act_on_cancel(&mut self, number: usize, step: OnCancel, cause: Cause) {
        if step == OnCancel::Nothing {
            return;
        }
        if let Some(task) = self.ledger.task(number) {
            self.acts.push(Act::Cancelled(task.id, task.code, cause));
        }
        match step {
            OnCancel::Nothing | OnCancel::Wait => {}
            OnCancel::Tell => self.acts.push(Act::Tell(number)),
            OnCancel::Drop => self.acts.push(Act::Drop(number)),
            OnCancel::Answer(cause) => self.answer(number, cause.error_code()),
            OnCancel::Unread => self.cancel_reading(),
        }
    }

    /// T10, Receiving: `Error CANCELLED` once the message is read. A panic or
    /// L14 that came before has decided already.
    pub(super) fn cancel_reading(&mut self) {
        self.stop_reader();
        let Current::Task {
            number,
            is_streamed,
            payload,
            has_ended,
            reader,
            ..
        } = &mut self.current
        else {
            return;
        };
        payload.clear();
        if !matches!(reader, Reader::Failed(_)) {
            *reader = Reader::Failed(255);
            if *is_streamed {
                self.acts.push(Act::DropReading);
            }
        }
        if let (true, Reader::Failed(error_code), number) = (*has_ended, *reader, *number) {
            self.current = Current::Between;
            self.answer(number, error_code);
        }
    }
}

//! Run functions, bodies and cancels (PROTOCOL T5–T10, L15).

use super::*;

impl Connection {
    /// Takes the entry away, and gives back its place of the server.
    pub(super) fn retire(&mut self, number: usize, ending: Ending) {
        let Some((id, code)) = self.remove(number) else {
            return;
        };
        // While watched it is told in its place among what else happened.
        if self.is_watched && ending != Ending::Silent {
            self.acts.push(Act::Finished(id, code, ending));
            self.retired.push((id, code, Ending::Silent));
        } else {
            self.retired.push((id, code, ending));
        }
    }

    pub(super) fn identity(&self, number: usize) -> Option<(u32, u8)> {
        self.ledger.task(number).map(|task| (task.id, task.code))
    }

    /// T3: the run function starts; or the cause for which it does not.
    pub(super) fn start(&mut self, number: usize, now: Nanos) -> Option<Cause> {
        let cancelled = self.ledger.start(number, now);
        if let (None, true, Some((id, code))) = (cancelled, self.is_watched, self.identity(number))
        {
            self.acts.push(Act::Started(id, code));
        }
        cancelled
    }

    pub(super) fn remove(&mut self, number: usize) -> Option<(u32, u8)> {
        self.body_deadlines.retain(|(task, _)| *task != number);
        let task = self.ledger.remove(number)?;
        self.free_places += 1;
        Some((task.id, task.code))
    }

    /// T8: the application's own error.
    pub(super) fn answer(&mut self, number: usize, error_code: u8) {
        if let Some((id, code)) = self.identity(number) {
            self.outbox.push_error(id, code, error_code);
        }
        self.retire(number, Ending::Error(error_code));
    }

    /// N9: one of the library's errors.
    pub(super) fn answer_own(&mut self, number: usize, error: u8, now: Nanos) {
        let identity = self.identity(number);
        self.retire(number, self.own_ending(error));
        if let Some((id, code)) = identity {
            self.send_own(id, code, error, now);
        }
    }

    pub(super) fn own_ending(&self, error: u8) -> Ending {
        match self.settings.answers.get(&error) {
            None => Ending::Error(error),
            Some(Instead::Code(sent)) => Ending::Error(*sent),
            Some(Instead::Close) => Ending::Interrupted,
        }
    }

    /// N9: the error, what the application sends for it, or the end.
    pub(super) fn send_own(&mut self, id: u32, code: u8, error: u8, now: Nanos) {
        match self.settings.answers.get(&error) {
            None => self.outbox.push_error(id, code, error),
            Some(Instead::Code(sent)) => {
                self.reached.push("another code sent");
                self.outbox.push_own_error(id, code, error, *sent);
            }
            Some(Instead::Close) => {
                self.interrupted.push((id, code, "Responding"));
                self.fail(Reason::Unanswered { id, code, error }, now);
            }
        }
    }

    /// N8, L7: whether a response may begin.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.under_way.is_none() && !self.is_full()
    }

    /// L7: how many bytes of the body under way are wanted. What waits behind it
    /// does not stop it. *Choice*: at the server's limit it goes on where it
    /// alone holds others up.
    #[must_use]
    pub fn body_room(&self) -> usize {
        let ahead = self.outbox.writable();
        match (self.server_full, self.outbox.unsent()) {
            (true, 1..) if ahead == 0 => BUFFER,
            (true, _) => 0,
            (false, _) => self
                .settings
                .unsent
                .clamp(1, BODY_AHEAD)
                .saturating_sub(ahead),
        }
    }

    /// L7: whether bodies are produced ahead of their turn.
    #[must_use]
    pub fn wants_bodies_ahead(&self) -> bool {
        !self.is_full()
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
        let own_error = match self.ledger.function_ended(number) {
            // T13: its late result is discarded.
            None => {
                self.remove(number);
                return Finished::Removed(Ending::Silent);
            }
            Some(Some(cause)) => cause.error_code(),
            Some(None) => match outcome {
                Outcome::Whole(_) | Outcome::Body => return Finished::Pull,
                Outcome::Error(error_code) => {
                    self.outbox.push_error(task.id, task.code, *error_code);
                    self.remove(number);
                    return Finished::Removed(Ending::Error(*error_code));
                }
                Outcome::Panicked => 254,
                Outcome::Dropped => 255,
                Outcome::Fatal => {
                    let (id, code) = (task.id, task.code);
                    self.fail(Reason::RunFunction { id, code }, now);
                    return Finished::Unknown;
                }
            },
        };
        self.remove(number);
        let ending = self.own_ending(own_error);
        self.send_own(task.id, task.code, own_error, now);
        Finished::Removed(ending)
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
            BodyStep::Panicked if !has_begun => self.answer_own(number, 254, now),
            // L15: before the response has begun.
            BodyStep::Late if !has_begun => self.answer_own(number, 253, now),
            // T7: once it has begun, or without a code.
            BodyStep::Failed(_) | BodyStep::Panicked | BodyStep::Late => {
                self.fail(Reason::Body { id, code }, now)
            }
        }
        self.body_deadlines.retain(|(task, _)| *task != number);
    }

    /// T10.
    pub fn cancel(&mut self, number: usize, cause: Cause, now: Nanos) {
        if self.phase() != Phase::Closed {
            let step = self.ledger.cancel(number, cause, now);
            self.act_on_cancel(number, step, cause, now);
        }
    }

    pub(super) fn act_on_cancel(
        &mut self,
        number: usize,
        step: OnCancel,
        cause: Cause,
        now: Nanos,
    ) {
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
            OnCancel::Answer(cause) => self.answer_own(number, cause.error_code(), now),
            OnCancel::Unread => self.cancel_reading(now),
        }
    }

    /// T10, Receiving: `Error CANCELLED` once the message is read. A panic or
    /// L14 that came before has decided already.
    pub(super) fn cancel_reading(&mut self, now: Nanos) {
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
                self.acts.push(Act::DropReading(*number));
            }
        }
        if let (true, Reader::Failed(error_code), number) = (*has_ended, *reader, *number) {
            self.current = Current::Between;
            self.answer_own(number, error_code, now);
        }
    }
}

//! What goes to the client: results, bodies, and the transport's progress
//! (PROTOCOL T5–T10, L7, L15).

use std::time::Instant;

use bytes::BytesMut;

use super::{Action, BodyStep, Connection, ErrorAnswer, Outcome, Retired, TaskFinished, Watching};
use crate::canary::{Canary, planted};
use crate::proto::disconnect::Phase;
use crate::proto::ledger::{AlarmStep, CancelCause, CancelStep, TaskKey, TaskState};
use crate::proto::outbox::{Taken, Terminal};
use crate::proto::report::{EndReason, InterruptedTask, TaskEnding};
use crate::wire::{ErrorCode, TaskCode, TaskId};

/// A whole body up to this size takes the wire at once; a longer one is pulled,
/// so that L7 bounds what is queued of it.
const WHOLE_AT_ONCE: usize = 64 << 10;

/// How much of the body that is under way waits for the transport at most:
/// enough to keep it busy, and all that a long body costs.
const BODY_AHEAD: usize = 256 << 10;

impl<T> Connection<T> {
    /// A run function has ended. A `Fatal` one ends the connection.
    pub fn finished(
        &mut self,
        key: TaskKey,
        outcome: Outcome<'_>,
        now: Instant,
    ) -> TaskFinished<T> {
        if let Outcome::Whole(payload) = outcome
            && let Some(retired) = self.complete(key, payload)
        {
            return TaskFinished::Removed(retired);
        }
        let Some((id, code)) = self.ledger.identity(key) else {
            return TaskFinished::Unknown;
        };
        let own_error = match self.ledger.function_ended(key) {
            // Stuck or orphaned: what was owed for it has been settled.
            None => return self.removed(key, None),
            Some(Some(cause)) => cause.error_code(),
            Some(None) => match outcome {
                // It could not be queued at once.
                Outcome::Whole(_) | Outcome::Body => return TaskFinished::Pull,
                Outcome::Error(error_code) => {
                    self.outbox.push_error(id, code, error_code);
                    return self.removed(key, Some(TaskEnding::Error(error_code)));
                }
                Outcome::Panicked => ErrorCode::PANICKED,
                Outcome::Dropped => ErrorCode::CANCELLED,
                Outcome::Fatal(reason) => {
                    self.fail(reason, now);
                    return self.removed(key, None);
                }
            },
        };
        let finished = self.removed(key, Some(self.own_ending(own_error)));
        self.push_own_error(id, code, own_error, now);
        finished
    }

    /// A whole result that can be queued at once, as nearly all can. `None`:
    /// nothing has changed, and it is one for [`finished`](Self::finished).
    #[inline(always)]
    pub fn complete(&mut self, key: TaskKey, payload: &[u8]) -> Option<Retired<T>> {
        if payload.len() > WHOLE_AT_ONCE || !self.may_begin() {
            return None;
        }
        let removed = self.ledger.complete(key)?;
        self.outbox.push_ok(removed.id, removed.code, payload);
        Some(Retired::new(removed, Some(TaskEnding::Ok)))
    }

    fn removed(&mut self, key: TaskKey, ending: Option<TaskEnding>) -> TaskFinished<T> {
        match self.remove(key, ending) {
            Some(retired) => TaskFinished::Removed(retired),
            None => TaskFinished::Unknown,
        }
    }

    fn remove(&mut self, key: TaskKey, ending: Option<TaskEnding>) -> Option<Retired<T>> {
        if !self.body_deadlines.is_empty() {
            self.body_deadlines.remove(&key);
        }
        Some(Retired::new(self.ledger.remove(key)?, ending))
    }

    pub(super) fn retire(&mut self, key: TaskKey, ending: Option<TaskEnding>) {
        let mut retired = self.remove(key, ending);
        // In its place among the actions: its id may be in use again before they are taken.
        if self.watching == Watching::Requests
            && let Some(retired) = &mut retired
            && let Some(ending) = retired.ending.take()
        {
            let finished = Action::Finished(retired.id, retired.code, ending);
            self.actions.push(finished);
        }
        self.retired.extend(retired);
    }

    /// Answers a task of which nothing runs any more with the application's error.
    fn answer_error(&mut self, key: TaskKey, error_code: ErrorCode) {
        if let Some((id, code)) = self.ledger.identity(key) {
            self.outbox.push_error(id, code, error_code);
        }
        self.retire(key, Some(TaskEnding::Error(error_code)));
    }

    /// Answers a task of which nothing runs any more with one of the library's errors.
    pub(super) fn answer_own_error(&mut self, key: TaskKey, error: ErrorCode, now: Instant) {
        let identity = self.ledger.identity(key);
        self.retire(key, Some(self.own_ending(error)));
        if let Some((id, code)) = identity {
            self.push_own_error(id, code, error, now);
        }
    }

    /// Queues one of the library's errors, or what stands in for it (PROTOCOL
    /// N9). A task that it ends is no longer in the ledger, or is stuck.
    pub(super) fn push_own_error(
        &mut self,
        id: TaskId,
        code: TaskCode,
        error: ErrorCode,
        now: Instant,
    ) {
        match self.settings.error_answers.of(error) {
            ErrorAnswer::Code(answer) => {
                self.outbox.push_own_error(id, code, error, answer);
            }
            ErrorAnswer::CloseConnection => {
                let state = TaskState::Responding;
                self.interrupted.push(InterruptedTask { id, code, state });
                self.fail(EndReason::Unanswered { id, code, error }, now);
            }
        }
    }

    /// How a task ends that one of the library's errors is the answer to.
    fn own_ending(&self, error: ErrorCode) -> TaskEnding {
        match self.settings.error_answers.of(error) {
            ErrorAnswer::Code(answer) => TaskEnding::Error(answer),
            ErrorAnswer::CloseConnection => TaskEnding::Interrupted,
        }
    }

    /// PROTOCOL T6: no run function.
    pub(super) fn complete_empty(&mut self, key: TaskKey) {
        if let Some((id, code)) = self.ledger.identity(key) {
            self.outbox.push_ok(id, code, &[]);
        }
        self.retire(key, Some(TaskEnding::Ok));
    }

    /// Whether a response may begin: none is under way (N8), and there is room (L7).
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.outbox.under_way().is_none() && !self.output_is_full()
    }

    /// How many bytes of the body that is under way are wanted (L7). What waits
    /// behind it does not stop it, for only its end lets that go.
    #[must_use]
    pub fn body_room(&self) -> usize {
        let writable = self.outbox.writable();
        if self.server_full {
            let holds_others_up = writable == 0 && self.outbox.unsent() > 0;
            return if holds_others_up { WHOLE_AT_ONCE } else { 0 };
        }
        let limit = self.settings.limits.unsent_limit_bytes.max(1);
        limit.min(BODY_AHEAD).saturating_sub(writable)
    }

    /// Whether bodies are wanted ahead of their turn: they pause with L7.
    #[must_use]
    pub fn wants_bodies_ahead(&self) -> bool {
        !self.output_is_full()
    }

    /// The task's body takes its turn (T7), if it may: its bytes follow as steps.
    pub fn begin_body(&mut self, key: TaskKey) -> bool {
        let Some((id, code)) = self.ledger.identity(key) else {
            return false;
        };
        if !self.may_begin() || !self.ledger.begin_response(key) {
            return false;
        }
        self.outbox.begin_body(key, id, code);
        true
    }

    /// A step of a body; those of a body that is no longer wanted do nothing.
    pub fn body(&mut self, key: TaskKey, step: BodyStep<'_>, now: Instant) {
        let Some((id, code)) = self.ledger.identity(key) else {
            return;
        };
        let begun = self.outbox.under_way() == Some(key);
        match step {
            BodyStep::Bytes(payload) if begun => self.outbox.push_body(payload),
            BodyStep::End if begun => {
                self.outbox.end_body();
                self.retire(key, Some(TaskEnding::Ok));
            }
            BodyStep::Bytes(_) | BodyStep::End => debug_assert!(false, "begin_body comes first"),
            BodyStep::Waiting => {
                if !self.body_deadlines.contains_key(&key)
                    && let Some(deadline) = now.checked_add(self.settings.timeouts.body)
                {
                    self.body_deadlines.insert(key, deadline);
                }
                return;
            }
            BodyStep::NotWaiting => {}
            BodyStep::Failed {
                code: Some(error_code),
                ..
            } if !begun => {
                self.answer_error(key, error_code);
            }
            BodyStep::Panicked if !begun => {
                self.answer_own_error(key, ErrorCode::PANICKED, now);
            }
            BodyStep::Late if !begun => self.answer_own_error(key, ErrorCode::DEADLINE, now),
            BodyStep::Failed { error, .. } => self.fail(EndReason::Body { id, code, error }, now),
            BodyStep::Panicked => {
                let error = "it panicked".into();
                self.fail(EndReason::Body { id, code, error }, now);
            }
            BodyStep::Late => {
                let error = "its next bytes did not come in time".into();
                self.fail(EndReason::Body { id, code, error }, now);
            }
        }
        self.body_deadlines.remove(&key);
    }

    /// L15 has passed for these bodies.
    pub(super) fn end_slow_bodies(&mut self, now: Instant) {
        let late: Vec<TaskKey> = self
            .body_deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            self.actions.push(Action::LimitReached("L15"));
            self.actions.push(Action::DropBody(key));
            self.body(key, BodyStep::Late, now);
        }
    }

    /// Cancels one task (T10).
    pub fn cancel(&mut self, key: TaskKey, cause: CancelCause, now: Instant) {
        if self.phase() == Phase::Closed {
            return;
        }
        let step = self.ledger.cancel(key, cause, now);
        self.act_on_cancel(key, step, cause, now);
    }

    fn act_on_cancel(&mut self, key: TaskKey, step: CancelStep, cause: CancelCause, now: Instant) {
        if step == CancelStep::Nothing {
            return;
        }
        if let Some((id, code)) = self.ledger.identity(key) {
            self.actions.push(Action::Cancelled(id, code, cause));
        }
        match step {
            CancelStep::Nothing | CancelStep::Wait => {}
            CancelStep::Unread => self.cancel_reading(key, now),
            CancelStep::Tell => self.actions.push(Action::Tell(key)),
            CancelStep::Drop => self.actions.push(Action::Drop(key)),
            CancelStep::Answer(cause) => {
                self.actions.push(Action::DropBody(key));
                self.answer_own_error(key, cause.error_code(), now);
            }
        }
    }

    /// Acts on the alarms of tasks that are due (T10, T12, T13).
    pub(super) fn handle_alarms(&mut self, now: Instant) {
        while let Some((key, step)) = self.ledger.take_alarm(now) {
            match step {
                AlarmStep::Cancel(step) => {
                    self.act_on_cancel(key, step, CancelCause::Limit, now);
                }
                AlarmStep::Drop => self.actions.push(Action::Drop(key)),
                AlarmStep::Answer(cause) => {
                    self.actions.push(Action::DropBody(key));
                    self.answer_own_error(key, cause.error_code(), now);
                }
                AlarmStep::Stuck(cause) => {
                    if let Some((id, code)) = self.ledger.identity(key) {
                        self.actions.push(Action::Stuck(id, code));
                        if self.watching == Watching::Requests {
                            let ending = self.own_ending(cause.error_code());
                            self.actions.push(Action::Finished(id, code, ending));
                        }
                        self.push_own_error(id, code, cause.error_code(), now);
                    }
                    // A thread is told once more: it may be waiting for it.
                    self.actions.push(Action::Drop(key));
                }
            }
        }
    }

    /// Moves what is queued behind what `into` still holds.
    pub fn poll_output(&mut self, into: &mut BytesMut) {
        if self.outbox.has_output() {
            self.outbox.fetch(into);
        }
    }

    /// Lends memory for what is answered next, which comes back with the output. It is
    /// taken where there is none.
    pub fn lend_output(&mut self, memory: &mut BytesMut) {
        self.outbox.lend(memory);
    }

    /// Gives it back where nothing was answered.
    pub fn give_back_output(&mut self, memory: &mut BytesMut) {
        if !self.outbox.has_output() && memory.capacity() == 0 {
            self.outbox.fetch(memory);
        }
    }

    /// Whether there is output that the driver has not fetched.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.outbox.has_output()
    }

    /// Bytes that the transport has not taken (L7).
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.outbox.unsent()
    }

    /// The transport took bytes.
    pub fn handle_written(&mut self, bytes: usize) {
        self.bytes_written += bytes as u64;
        self.newly_written += bytes;
        let (counts, ledger) = (&mut self.counts, &mut self.ledger);
        // What was given up meanwhile is no longer counted as queued.
        let queued = if planted(Canary::AnsweredTooEarly) {
            self.outbox.unsent()
        } else {
            bytes.min(self.outbox.unsent())
        };
        self.outbox.taken(queued, |taken| match taken {
            Taken::Answer(Terminal::Ok) => counts.ok += 1,
            Taken::Answer(Terminal::Error) => counts.errors += 1,
            Taken::Answer(Terminal::Cancelled) => counts.cancelled += 1,
            Taken::Processing(key) => ledger.resume_turn(key),
        });
    }
}

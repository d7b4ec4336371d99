//! The task function that reads a message (PROTOCOL T1–T3, L14).

use std::time::{Duration, Instant};

use super::current::{Current, Receiving, Returned};
use super::{Action, Connection, Delivery, Input, ReadOutcome, Watching};
use crate::canary::{Canary, planted};
use crate::proto::ledger::{CancelCause, TaskKey};
use crate::wire::{ErrorCode, RequestHeader};

/// How much payload a task function may leave untaken before reading pauses,
/// and the most that is delivered at once.
pub(super) const READER_BUFFER: usize = 64 << 10;

impl<T> Connection<T> {
    pub(super) fn chunk_is_full(&self) -> bool {
        let waiting = self.parts.len() + self.untaken;
        matches!(&self.current, Current::Task(task) if task.is_full(waiting))
    }

    /// Hands what has come to the task function.
    pub(super) fn deliver_chunk(&mut self) -> Option<Input> {
        let Current::Task(task) = &self.current else {
            return None;
        };
        if task.delivery == Delivery::Whole || self.parts.is_empty() {
            return None;
        }
        let payload = self.parts.take();
        self.untaken += payload.len();
        Some(Input::Payload { payload })
    }

    /// Whether the end of the task function's message has been looked at.
    #[must_use]
    pub fn message_has_ended(&self) -> bool {
        matches!(&self.current, Current::Task(task) if task.ended)
    }

    /// What is due once the message has ended and the task function returned:
    /// whether its run function starts.
    pub(super) fn conclude_reading(&mut self, task: Receiving, now: Instant) -> bool {
        let key = task.key;
        match task.returned {
            Returned::NotYet => self.current = Current::Task(task),
            Returned::Failed(code) => self.answer_own_error(key, code, now),
            Returned::Run => match self.start(key, task.run_limit, now) {
                Some(cause) => self.answer_own_error(key, cause.error_code(), now),
                None => return true,
            },
            // No run function (T6): none starts, and nobody is told that one does.
            Returned::Nothing => match self.ledger.start(key, None, now) {
                Some(cause) => self.answer_own_error(key, cause.error_code(), now),
                None => self.complete_empty(key),
            },
        }
        false
    }

    /// The task function took bytes.
    pub fn bytes_taken(&mut self, bytes: usize) {
        self.untaken = self.untaken.saturating_sub(bytes);
    }

    /// L14: the task function asked for bytes since the last call, or is
    /// waiting for some, or neither.
    pub fn reader_progress(&mut self, asked: bool, waiting: bool, now: Instant) {
        // A message that is collected is always asked for.
        let reading = matches!(
            &self.current,
            Current::Task(task)
                if task.delivery == Delivery::Streamed && task.returned == Returned::NotYet
        );
        if !reading || waiting {
            self.reader_deadline = None;
        } else if asked || self.reader_deadline.is_none() {
            self.reader_deadline = now.checked_add(self.settings.timeouts.task_function);
        }
    }

    /// L14 has passed: the task function is dropped.
    pub(super) fn drop_slow_reader(&mut self, now: Instant) {
        self.actions.push(Action::LimitReached("L14"));
        if let Current::Task(task) = &self.current {
            self.actions.push(Action::DropReading(task.key));
        }
        self.reader_returned(Returned::Failed(ErrorCode::DEADLINE), now);
    }

    /// The task function has returned, for the task with this key: whether its
    /// run function starts now. Otherwise it starts at [`Input::End`], or never.
    pub fn read_returned(&mut self, key: TaskKey, outcome: ReadOutcome, now: Instant) -> bool {
        // What was dropped for a cancel or L14 in the same moment comes too late.
        let awaited = matches!(
            &self.current,
            Current::Task(task) if task.key == key && task.returned == Returned::NotYet
        );
        if !awaited {
            return false;
        }
        match outcome {
            ReadOutcome::Run(kind) => {
                self.ledger.set_kind(key, kind);
                self.reader_returned(Returned::Run, now)
            }
            ReadOutcome::Nothing => self.reader_returned(Returned::Nothing, now),
            ReadOutcome::Panicked => {
                self.reader_returned(Returned::Failed(ErrorCode::PANICKED), now)
            }
            ReadOutcome::Error(reason) => {
                self.reject(key);
                self.fail(reason, now);
                false
            }
        }
    }

    /// PROTOCOL T3: a request whose task function failed was not accepted,
    /// unless a Goodbye has counted it.
    fn reject(&mut self, key: TaskKey) {
        if self.said_goodbye {
            return;
        }
        if self.ledger.is_accepted(key) {
            self.counts.accepted -= 1;
        }
        self.current = Current::Between;
        self.retire(key, None);
    }

    /// The task function is dropped, wherever it is.
    pub(super) fn forget_reading(&mut self, key: TaskKey) {
        self.actions.push(Action::DropReading(key));
        self.forget_untaken();
    }

    /// No task function takes more of the message.
    fn forget_untaken(&mut self) {
        self.parts.clear();
        self.untaken = 0;
        self.reader_deadline = None;
    }

    fn reader_returned(&mut self, returned: Returned, now: Instant) -> bool {
        self.forget_untaken();
        let Current::Task(task) = &mut self.current else {
            return false;
        };
        if task.returned == Returned::NotYet {
            task.returned = returned;
        }
        if !task.ended {
            return false;
        }
        match std::mem::replace(&mut self.current, Current::Between) {
            Current::Task(task) => self.conclude_reading(task, now),
            _ => false,
        }
    }

    /// A cancel came while the task function was reading (T10): it is dropped,
    /// and the answer follows the end of the message.
    pub(super) fn cancel_reading(&mut self, key: TaskKey, now: Instant) {
        self.forget_reading(key);
        if let Current::Task(task) = &mut self.current
            && task.key == key
        {
            if !matches!(task.returned, Returned::Failed(_)) {
                task.returned = Returned::Failed(ErrorCode::CANCELLED);
            }
            if task.ended || planted(Canary::AnsweredBeforeItsEnd) {
                let Returned::Failed(code) = task.returned else {
                    return;
                };
                self.current = Current::Between;
                self.answer_own_error(key, code, now);
            }
        }
    }

    /// The run function starts; or, after a cancel, its answer is due: returns the cause.
    pub(super) fn start(
        &mut self,
        key: TaskKey,
        run_limit: Option<Duration>,
        now: Instant,
    ) -> Option<CancelCause> {
        let cancelled = self.ledger.start(key, run_limit, now);
        if cancelled.is_none()
            && let Some((id, code)) = self.ledger.identity(key)
        {
            self.note_start(RequestHeader { code, id });
        }
        cancelled
    }

    /// A run function starts.
    #[inline]
    pub(super) fn note_start(&mut self, RequestHeader { code, id }: RequestHeader) {
        if self.watching == Watching::Requests {
            self.actions.push(Action::Started(id, code));
        }
    }
}

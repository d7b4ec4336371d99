//! How tasks end: completion, cancel, limit, grace, and the end of their
//! connection meet here, and the first to arrive decides (PROTOCOL T10, T12, T13).

use std::time::{Duration, Instant};

use super::Ledger;
use super::task::{CancelCause, Function, FunctionKind, OnCancel, Removed, Stage, TaskKey};
use crate::canary::{Canary, planted};

/// How long after its drop was ordered a function counts as stuck, and the
/// grace of a blocking function that was given none (PROTOCOL T13).
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(1);
/// What a cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelStep {
    /// It changed nothing.
    Nothing,
    /// No run function will start; the task function must be dropped.
    Unread,
    /// The run function must be told.
    Tell,
    /// The run function must be dropped.
    Drop,
    /// Nothing runs: answer, and remove the entry.
    Answer(CancelCause),
    /// Nothing runs, and its result may still begin within the grace.
    Wait,
}

/// What a task's alarm came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmStep {
    /// The run limit was reached: a cancel.
    Cancel(CancelStep),
    /// The grace is over: the run function must be dropped.
    Drop,
    /// The grace is over and nothing runs: answer, and remove the entry.
    Answer(CancelCause),
    /// It is stuck: answer, but keep the entry until it returns.
    Stuck(CancelCause),
}

/// What the end of the connection makes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanStep {
    /// Nothing runs: remove the entry.
    Remove,
    /// It was stuck or orphaned before.
    Nothing,
    /// The function must be told, and dropped at the instant, if there is one.
    Tell {
        /// When the grace ends; `None` for a thread.
        drop_at: Option<Instant>,
    },
    /// The function must be dropped.
    Drop,
}

impl<T> Ledger<T> {
    /// Cancels one task (T10): the first cancel counts.
    pub fn cancel(&mut self, key: TaskKey, cause: CancelCause, now: Instant) -> CancelStep {
        let Some(entry) = self.entry_mut(key) else {
            return CancelStep::Nothing;
        };
        match &mut entry.stage {
            Stage::Receiving { cancelled } if cancelled.is_none() => {
                *cancelled = Some(cause);
                CancelStep::Unread
            }
            Stage::Running => self.cancel_running(key, cause, now),
            _ => CancelStep::Nothing,
        }
    }

    pub(super) fn cancel_running(
        &mut self,
        key: TaskKey,
        cause: CancelCause,
        now: Instant,
    ) -> CancelStep {
        let Some(entry) = self.entry_mut(key) else {
            return CancelStep::Nothing;
        };
        let (stage, step, after) = match (entry.function, entry.grace.on_cancel()) {
            (Function::Queued, _) | (Function::Ended, OnCancel::Drop) => {
                return CancelStep::Answer(cause);
            }
            (Function::Ended, OnCancel::Cooperate { grace }) => {
                (Stage::Cooperating { cause }, CancelStep::Wait, grace)
            }
            (Function::Active, OnCancel::Cooperate { grace }) => {
                (Stage::Cooperating { cause }, CancelStep::Tell, grace)
            }
            (Function::Active, OnCancel::Drop) => {
                let step = match entry.kind {
                    FunctionKind::Async => CancelStep::Drop,
                    FunctionKind::Blocking => CancelStep::Tell,
                };
                (Stage::Dropping { cause }, step, STUCK_AFTER)
            }
        };
        entry.stage = stage;
        self.set_alarm(key, now.checked_add(after));
        if planted(Canary::IdFreedEarly) {
            self.forget_id(key);
        }
        step
    }

    /// Whether a cancel has come in Receiving.
    #[must_use]
    pub fn is_cancelled_unread(&self, key: TaskKey) -> bool {
        matches!(
            self.entry(key).map(|entry| entry.stage),
            Some(Stage::Receiving { cancelled: Some(_) })
        )
    }

    /// When the task's run limit ends it; `None` in every other state.
    #[must_use]
    pub fn run_deadline(&self, key: TaskKey) -> Option<Instant> {
        self.entry(key)
            .filter(|entry| entry.stage == Stage::Running)?
            .alarm
    }

    /// When the next alarm is due.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes one alarm that is due.
    pub fn take_alarm(&mut self, now: Instant) -> Option<(TaskKey, AlarmStep)> {
        let (_, key) = *self.alarms.first().filter(|(at, _)| *at <= now)?;
        self.set_alarm(key, None);
        let entry = self.entry_mut(key)?;
        let step = match (entry.stage, entry.kind) {
            (Stage::Cooperating { cause }, _) if entry.function == Function::Ended => {
                AlarmStep::Answer(cause)
            }
            (Stage::Cooperating { cause }, FunctionKind::Async) => {
                entry.stage = Stage::Dropping { cause };
                self.set_alarm(key, now.checked_add(STUCK_AFTER));
                AlarmStep::Drop
            }
            (Stage::Cooperating { cause } | Stage::Dropping { cause }, _) => {
                entry.stage = Stage::Stuck;
                self.forget_id(key);
                AlarmStep::Stuck(cause)
            }
            _ => AlarmStep::Cancel(self.cancel_running(key, CancelCause::Limit, now)),
        };
        Some((key, step))
    }

    /// The run function has ended, or was dropped. `None`: nothing is owed for
    /// it any more, and the entry is to be removed. Otherwise the cause for
    /// which its result no longer counts, if there is one.
    pub fn function_ended(&mut self, key: TaskKey) -> Option<Option<CancelCause>> {
        let entry = self.entry_mut(key)?;
        entry.function = Function::Ended;
        match entry.stage {
            Stage::Stuck if planted(Canary::DoubleAnswer) => Some(Some(CancelCause::Requested)),
            Stage::Stuck | Stage::Orphaned => None,
            Stage::Dropping { cause } => Some(Some(cause)),
            _ => Some(None),
        }
    }

    /// The response begins (T7), unless a cancel came first: returns whether it does.
    pub fn begin_response(&mut self, key: TaskKey) -> bool {
        let Some(entry) = self.entry_mut(key) else {
            return false;
        };
        match entry.stage {
            Stage::Running | Stage::Cooperating { .. } => entry.stage = Stage::Responding,
            _ => return false,
        }
        self.set_alarm(key, None);
        if !planted(Canary::ProcessingAfterResponse) {
            self.unlink(key.slot);
        }
        true
    }

    /// A whole result is queued at once: begins and ends the response in one
    /// step, unless a cancel came first.
    #[inline(always)]
    pub fn complete(&mut self, key: TaskKey) -> Option<Removed<T>> {
        match self.entry(key)?.stage {
            Stage::Running | Stage::Cooperating { .. } => self.remove(key),
            Stage::Dropping { .. } if planted(Canary::LateResultWins) => self.remove(key),
            _ => None,
        }
    }

    /// The connection has ended for this task (D4, D8).
    pub fn orphan(&mut self, key: TaskKey, now: Instant) -> OrphanStep {
        let pending = self.entry(key).and_then(|entry| entry.alarm);
        self.set_alarm(key, None);
        let Some(entry) = self.entry_mut(key) else {
            return OrphanStep::Nothing;
        };
        let step = match (entry.stage, entry.function, entry.grace.on_cancel()) {
            (Stage::Stuck | Stage::Orphaned, ..) => return OrphanStep::Nothing,
            (Stage::Receiving { .. } | Stage::Responding, ..)
            | (_, Function::Queued | Function::Ended, _) => return OrphanStep::Remove,
            _ if entry.kind == FunctionKind::Blocking => OrphanStep::Tell { drop_at: None },
            (Stage::Running, _, OnCancel::Cooperate { grace }) => OrphanStep::Tell {
                drop_at: now.checked_add(grace),
            },
            (Stage::Cooperating { .. }, ..) => OrphanStep::Tell { drop_at: pending },
            _ => OrphanStep::Drop,
        };
        entry.stage = Stage::Orphaned;
        self.forget_id(key);
        if planted(Canary::CooperatingForgotten) && matches!(step, OrphanStep::Tell { .. }) {
            return OrphanStep::Nothing;
        }
        step
    }

    pub(super) fn set_alarm(&mut self, key: TaskKey, at: Option<Instant>) {
        let Some(entry) = self.entry_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut entry.alarm, at);
        if let Some(before) = before {
            self.alarms.remove(&(before, key));
        }
        if let Some(at) = at {
            self.alarms.insert((at, key));
        }
    }
}

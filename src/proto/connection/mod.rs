//! The server's side of one connection: what comes in, what goes out, and when
//! it ends. `handle_*` takes what happened, `poll_*` and `take_*` say what to do.

mod admission;
mod current;
mod ending;
mod event;
mod input;
mod message;
mod output;
mod parts;
mod pauses;
mod reading;
mod reserved;
mod settings;
#[cfg(test)]
mod tests;
mod time;

// alloc's: nothing else of std's sync concerns the core.
use alloc::sync::Arc;
use std::collections::BTreeMap;
use std::time::Instant;

pub use self::admission::{Admission, Delivery, Found};
use self::current::Current;
pub use self::event::{
    Action, BodyStep, Flush, Input, Outcome, PauseReason, ReadOutcome, Reading, Retired,
    TaskFinished, Watching,
};
use self::parts::Parts;
pub use self::settings::{ErrorAnswer, ErrorAnswers, OnHalfClose, Settings};
use super::Timeouts;
use super::disconnect::{Disconnect, Phase};
use super::ledger::{Ledger, TaskKey, TaskState};
use super::outbox::Outbox;
use super::pace::Pace;
use super::report::{ConnectionReport, EndReason, InterruptedTask, RequestCounts, StuckTask};
use crate::wire::{Features, RequestDecoder, TaskCode, TaskId};

/// The server's side of one connection.
#[derive(Debug)]
pub struct Connection<T> {
    settings: Arc<Settings>,
    pub(crate) ledger: Ledger<T>,
    pub(crate) outbox: Outbox,
    disconnect: Disconnect,
    pace: Pace,
    decoder: RequestDecoder,
    current: Current<T>,
    parts: Parts,
    /// Payload bytes that were delivered and that the task function has not taken.
    untaken: usize,
    /// By when the task function must ask for bytes or return (L14).
    reader_deadline: Option<Instant>,
    /// By when bodies must give bytes (L15).
    body_deadlines: BTreeMap<TaskKey, Instant>,
    granted: Features,
    /// A Goodbye has been queued: what it counted stays accepted.
    said_goodbye: bool,
    /// The server's L7 is reached.
    server_full: bool,
    flush: Flush,
    /// L7 was reached at the end of the last turn: it is told of once.
    was_full: bool,
    /// Whether somebody wants to know of every request.
    watching: Watching,
    /// Panics of the tasks' code (T9).
    panics: u64,
    counts: RequestCounts,
    interrupted: Vec<InterruptedTask>,
    actions: Vec<Action>,
    retired: Vec<Retired<T>>,
    began: Instant,
    ended: Option<Instant>,
    bytes_read: u64,
    /// Bytes that the decoder has looked at, for errors.
    offset: u64,
    bytes_written: u64,
    /// Bytes written since the write clock was last looked at.
    newly_written: usize,
    /// Message bytes read since the read clock was last looked at.
    newly_read: usize,
    /// The message, or reading at all, began since then.
    read_afresh: bool,
    /// Something was accepted since the idle clock was last looked at.
    active: bool,
}

impl<T> Connection<T> {
    /// A connection on which nothing has happened yet. Many may share their settings.
    #[must_use]
    pub fn new(settings: impl Into<Arc<Settings>>, now: Instant) -> Self {
        let settings = settings.into();
        let Timeouts {
            wait, read, write, ..
        } = settings.timeouts;
        let mut pace = Pace::new(wait, read, write);
        pace.set_idle(true, true, now);
        Self {
            ledger: Ledger::new(),
            outbox: Outbox::new(settings.order),
            disconnect: Disconnect::new(),
            pace,
            decoder: RequestDecoder::new(settings.order),
            settings,
            current: Current::Between,
            parts: Parts::default(),
            untaken: 0,
            reader_deadline: None,
            body_deadlines: BTreeMap::new(),
            granted: Features::NONE,
            said_goodbye: false,
            server_full: false,
            flush: Flush::Done,
            was_full: false,
            watching: Watching::Nothing,
            panics: 0,
            counts: RequestCounts::default(),
            interrupted: Vec::new(),
            actions: Vec::new(),
            retired: Vec::new(),
            began: now,
            ended: None,
            bytes_read: 0,
            offset: 0,
            bytes_written: 0,
            newly_written: 0,
            newly_read: 0,
            read_afresh: true,
            active: false,
        }
    }

    /// Where in its life the connection is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.disconnect.phase()
    }

    /// Why it ended; `None` while it is open.
    #[must_use]
    pub const fn reason(&self) -> Option<&EndReason> {
        self.disconnect.reason()
    }

    /// What it was told at its start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tasks.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger<T> {
        &self.ledger
    }

    /// What the server keeps for a task.
    pub fn task_mut(&mut self, key: TaskKey) -> Option<&mut T> {
        self.ledger.task_mut(key)
    }

    /// All that the server keeps for tasks, that of a header included which waits for
    /// its places.
    pub fn tasks_mut(&mut self) -> impl Iterator<Item = (TaskCode, &mut T)> {
        let held = match &mut self.current {
            Current::Held(held) => Some((held.header.code, &mut held.task)),
            _ => None,
        };
        self.ledger.tasks_mut().chain(held)
    }

    /// A number that the server keeps with the task.
    pub fn tag_mut(&mut self, key: TaskKey) -> Option<&mut u32> {
        self.ledger.tag_mut(key)
    }

    /// A thread got to a blocking function: whether it shall run.
    pub fn start_blocking(&mut self, key: TaskKey) -> bool {
        self.ledger.start_blocking(key)
    }

    /// Whether the acceptance and start of every request are told as actions.
    pub const fn watch(&mut self, watching: Watching) {
        self.watching = watching;
    }

    /// What was last asked for by [`watch`](Self::watch).
    #[must_use]
    pub const fn watching(&self) -> Watching {
        self.watching
    }

    /// A task's code has panicked (T9).
    pub const fn count_panic(&mut self) {
        self.panics += 1;
    }

    /// What to do, or to know, since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is anything for the two `take_` methods to take.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty() || !self.retired.is_empty()
    }

    /// Whether there is anything for [`take_retired`](Self::take_retired) to take.
    #[must_use]
    pub const fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// What was kept for tasks that ended otherwise than by `finished`.
    pub fn take_retired(&mut self) -> Vec<Retired<T>> {
        std::mem::take(&mut self.retired)
    }

    /// What the driver does with the transport's input.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self.phase() {
            Phase::Open => match self.pause_reason() {
                Some(reason) => Reading::Paused(reason),
                None => Reading::Take,
            },
            Phase::Closed => Reading::Ended,
            _ => Reading::Discard,
        }
    }

    /// How the connection ended and what became of its requests (D9).
    #[must_use]
    pub fn report(&self) -> ConnectionReport {
        let mut interrupted = self.interrupted.clone();
        // What the transport may still take until the driver has left.
        interrupted.extend(self.outbox.unanswered().map(answer_lost));
        interrupted.sort_unstable_by_key(|task| (task.id, task.code));
        let reason = self.reason().cloned().unwrap_or(EndReason::Aborted);
        ConnectionReport {
            reason,
            counts: RequestCounts {
                interrupted: interrupted.len() as u64,
                ..self.counts
            },
            interrupted,
            stuck: self.stuck(),
            panics: self.panics,
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written,
            deadline_reached: self.disconnect.deadline_reached(),
            lasted: self
                .ended
                .unwrap_or(self.began)
                .saturating_duration_since(self.began),
        }
    }

    fn stuck(&self) -> Vec<StuckTask> {
        let stuck = self.ledger.stuck().into_iter();
        stuck.map(|(id, code)| StuckTask { id, code }).collect()
    }

    /// Checks, in debug builds, what every step must leave true.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.ledger.check_invariants();
        assert!(self.actions.len() < 1 << 20, "somebody takes the actions");
        if self.phase() == Phase::Closed {
            assert_eq!(
                self.ledger.live(),
                0,
                "no live task outlives its connection"
            );
            assert!(self.report().counts.add_up(), "{:?}", self.report());
        }
    }
}

/// A response that was queued and will not be sent (D9).
const fn answer_lost((id, code): (TaskId, TaskCode)) -> InterruptedTask {
    let state = TaskState::Responding;
    InterruptedTask { id, code, state }
}

//! The live tasks of one connection (PROTOCOL T5, T10–T13).
//!
//! ```text
//!  Receiving ──► Running ──────────────────► Responding ──► removed
//!                   │ cancel, limit             ▲
//!                   ├──► Cooperating ───────────┘
//!                   │        │ grace
//!                   └──► Dropping ──► removed
//!                            │ 1 s
//!                            └──► Stuck ──► removed      any ── end of the connection ──► Orphaned ──► removed
//! ```
//!
//! Whoever removes an entry has answered it; the ledger knows nothing of bytes.

mod cancel;
mod entries;
mod list;
mod task;
mod turns;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hashbrown::HashTable;

pub use self::cancel::{AlarmStep, CancelStep, OrphanStep};
use self::entries::Entries;
pub use self::task::{
    CancelCause, FunctionKind, NO_TAG, OnCancel, Policy, Removed, TaskKey, TaskMetadata, TaskState,
};
use self::task::{Entry, Function, Stage};
use self::turns::{NONE, Turn};
use crate::wire::{TaskCode, TaskId};

/// The live tasks of one connection, and the functions that outlive theirs.
#[derive(Debug)]
pub struct Ledger<T> {
    entries: Entries<T>,
    /// Slots of the live tasks by id; stuck and orphaned ones are not in it.
    index: HashTable<u32>,
    alarms: BTreeSet<(Instant, TaskKey)>,
    /// The ends of the list of turns.
    first: u32,
    last: u32,
    next_sequence: u64,
    held_bytes: usize,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Ids are the client's choice; whatever it chooses, it slows down only itself,
/// and no more than L5 allows.
fn hash(id: TaskId) -> u64 {
    u64::from(id.0).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<T> Ledger<T> {
    /// No tasks.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Entries::new(),
            index: HashTable::new(),
            alarms: BTreeSet::new(),
            first: NONE,
            last: NONE,
            next_sequence: 0,
            held_bytes: 0,
        }
    }

    /// How many tasks are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.index.len()
    }

    /// How many places of L5 are taken: live tasks and stuck ones.
    #[must_use]
    pub fn places(&self) -> usize {
        self.entries.len()
    }

    /// Message bytes that belong to tasks and were handed over whole (L16).
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The live task with this id.
    #[must_use]
    pub fn find(&self, id: TaskId) -> Option<TaskKey> {
        let entries = &self.entries;
        let slot = *self.index.find(hash(id), |slot| entries[*slot].id == id)?;
        let generation = entries[slot].generation();
        Some(TaskKey { slot, generation })
    }

    fn entry(&self, key: TaskKey) -> Option<&Entry<T>> {
        self.entries
            .get(key.slot)
            .filter(|entry| entry.generation() == key.generation)
    }

    fn entry_mut(&mut self, key: TaskKey) -> Option<&mut Entry<T>> {
        self.entries
            .get_mut(key.slot)
            .filter(|entry| entry.generation() == key.generation)
    }

    /// What the server keeps for the task.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&T> {
        self.entry(key)?.task.as_ref()
    }

    /// What the server keeps for the task.
    pub fn task_mut(&mut self, key: TaskKey) -> Option<&mut T> {
        self.entry_mut(key)?.task.as_mut()
    }

    /// What the server keeps for all tasks.
    pub fn tasks_mut(&mut self) -> impl Iterator<Item = (TaskCode, &mut T)> {
        let entries = self.entries.iter_mut();
        entries.filter_map(|entry| Some((entry.code, entry.task.as_mut()?)))
    }

    /// A number that the server keeps with the task, where a field of its own would
    /// cost more.
    pub fn tag_mut(&mut self, key: TaskKey) -> Option<&mut u32> {
        self.entry_mut(key).map(|entry| &mut entry.tag)
    }

    /// A task's header has been read and it has its place. The id must not be live.
    #[inline(always)]
    pub fn begin(
        &mut self,
        id: TaskId,
        code: TaskCode,
        policy: Policy,
        task: T,
        now: Instant,
    ) -> TaskKey {
        debug_assert!(self.find(id).is_none(), "PROTOCOL T11 is judged before");
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let (slot, entry) = self.entries.claim(now);
        entry.id = id;
        entry.code = code;
        entry.stage = Stage::Receiving { cancelled: None };
        entry.function = Function::of(policy.kind);
        entry.kind = policy.kind;
        entry.accepted = false;
        entry.tag = NO_TAG;
        entry.grace = policy.grace;
        entry.began = now;
        entry.sequence = sequence;
        entry.held_bytes = 0;
        entry.alarm = None;
        entry.turn = Turn::none(now);
        entry.task = Some(task);
        let entries = &self.entries;
        self.index
            .insert_unique(hash(id), slot, |slot| hash(entries[*slot].id));
        TaskKey {
            slot,
            generation: sequence as u32,
        }
    }

    /// The same of a task whose message lies whole in the read buffer: it is accepted
    /// (T3), holds its message (L16), and its run function starts (T12), in one step.
    #[inline(always)]
    pub fn begin_whole(
        &mut self,
        (id, code): (TaskId, TaskCode),
        policy: Policy,
        task: T,
        held_bytes: usize,
        run_limit: Option<Duration>,
        now: Instant,
    ) -> TaskKey {
        let key = self.begin(id, code, policy, task, now);
        let entry = &mut self.entries[key.slot];
        entry.stage = Stage::Running;
        entry.accepted = true;
        entry.held_bytes = held_bytes;
        self.held_bytes += held_bytes;
        self.link(key.slot, now);
        if let Some(limit) = run_limit {
            self.set_alarm(key, now.checked_add(limit));
        }
        key
    }

    /// The end of the task's message has been looked at (T3): its processing
    /// interval counts from now.
    pub fn accept(&mut self, key: TaskKey, now: Instant) {
        if let Some(entry) = self.entry_mut(key) {
            entry.accepted = true;
            self.link(key.slot, now);
        }
    }

    /// Whether the end of its message has been looked at.
    #[must_use]
    pub fn is_accepted(&self, key: TaskKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.accepted)
    }

    /// Counts message bytes that were handed over whole (L16).
    pub fn hold(&mut self, key: TaskKey, bytes: usize) {
        if let Some(entry) = self.entry_mut(key) {
            entry.held_bytes += bytes;
            self.held_bytes += bytes;
        }
    }

    /// Message bytes that the entry holds.
    #[must_use]
    pub fn held_by(&self, key: TaskKey) -> usize {
        self.entry(key).map_or(0, |entry| entry.held_bytes)
    }

    /// The kind of the run function is only known once the task function has returned.
    pub fn set_kind(&mut self, key: TaskKey, kind: FunctionKind) {
        if let Some(entry) = self.entry_mut(key) {
            entry.kind = kind;
            entry.function = Function::of(kind);
        }
    }

    /// The run function starts, and may take so long until the response begins
    /// (T12); or, after a cancel, its answer is due: returns the cause.
    pub fn start(
        &mut self,
        key: TaskKey,
        run_limit: Option<Duration>,
        now: Instant,
    ) -> Option<CancelCause> {
        let entry = self.entry_mut(key)?;
        let Stage::Receiving { cancelled } = entry.stage else {
            return None;
        };
        if cancelled.is_some() {
            return cancelled;
        }
        entry.stage = Stage::Running;
        if let Some(limit) = run_limit {
            self.set_alarm(key, now.checked_add(limit));
        }
        None
    }

    /// A thread got to a blocking function: whether it shall run.
    pub fn start_blocking(&mut self, key: TaskKey) -> bool {
        match self.entry_mut(key) {
            Some(entry) if entry.function == Function::Queued => {
                entry.function = Function::Active;
                true
            }
            _ => false,
        }
    }

    /// Removes the entry; whoever does has answered it.
    #[inline(always)]
    pub fn remove(&mut self, key: TaskKey) -> Option<Removed<T>> {
        let entry = self.entry_mut(key)?;
        let task = entry.task.take()?;
        let (id, code, tag) = (entry.id, entry.code, entry.tag);
        let (alarm, turn, held_bytes) = (entry.alarm, entry.turn, entry.held_bytes);
        let is_live = !matches!(entry.stage, Stage::Stuck | Stage::Orphaned);
        self.entries.release(key.slot);
        self.held_bytes -= held_bytes;
        if let Some(at) = alarm {
            self.alarms.remove(&(at, key));
        }
        if is_live {
            self.unlink_turn(turn);
            self.forget_index(id, key.slot);
        }
        if self.entries.is_oversized() {
            self.shrink_to_fit();
        }
        Some(Removed {
            id,
            code,
            task,
            tag,
        })
    }

    /// Gives back what a burst left behind; for when the connection turns idle.
    pub fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
        let entries = &self.entries;
        self.index.shrink_to_fit(|slot| hash(entries[*slot].id));
    }

    fn forget_id(&mut self, key: TaskKey) {
        self.unlink(key.slot);
        self.forget_index(self.entries[key.slot].id, key.slot);
    }

    fn forget_index(&mut self, id: TaskId, slot: u32) {
        if let Ok(found) = self.index.find_entry(hash(id), |other| *other == slot) {
            found.remove();
        }
    }
}

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

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use slab::Slab;

use crate::wire::{ErrorCode, TaskCode, TaskId};

/// How long after its drop was ordered a function counts as stuck, and the
/// grace of a blocking function that was given none (PROTOCOL T13).
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(1);

/// An entry's place, which no later entry shares: a late result finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    slot: u32,
    generation: u32,
}

/// What a cancel does to a running task (PROTOCOL T10).
///
/// ```
/// use std::time::Duration;
/// use asyncserver::server::OnCancel;
/// let tidy = OnCancel::Cooperate { grace: Duration::from_secs(1) };
/// assert_ne!(tidy, OnCancel::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCancel {
    /// The run function's future is dropped; the answer is `Error CANCELLED`.
    #[default]
    Drop,
    /// The run function is told, and what it returns within the grace is the
    /// answer; after that it is dropped.
    Cooperate {
        /// How long it may take.
        grace: Duration,
    },
}

/// On what a run function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A future, which can be dropped.
    Async,
    /// A thread, which cannot.
    Blocking,
}

/// What a registration says about its tasks.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What a cancel does.
    pub on_cancel: OnCancel,
    /// On what the run function runs.
    pub kind: FunctionKind,
    /// From the start of the run function to the beginning of the response (T12).
    pub run_limit: Option<Duration>,
}

/// Why a task is cancelled, which decides what it is answered.
///
/// ```
/// use asyncserver::{server::CancelCause, wire::ErrorCode};
/// assert_eq!(CancelCause::Requested.error_code(), ErrorCode::CANCELLED);
/// assert_eq!(CancelCause::Limit.error_code(), ErrorCode::DEADLINE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// Somebody asked for it (T10).
    Requested,
    /// It overran a limit (T12, L14, L15).
    Limit,
}

impl CancelCause {
    /// The error that the client is sent.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::Requested => ErrorCode::CANCELLED,
            Self::Limit => ErrorCode::DEADLINE,
        }
    }
}

/// What a live task is doing (PROTOCOL section 6).
///
/// ```
/// use asyncserver::server::TaskState;
/// assert_eq!(format!("{:?}", TaskState::Running), "Running");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Its message is being read.
    Receiving,
    /// Its run function runs, or what it returned waits for its turn.
    Running,
    /// It was told to end and has not ended yet.
    Cancelling,
    /// Its response is on its way.
    Responding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Receiving { cancelled: Option<CancelCause> },
    Running,
    Cooperating { cause: CancelCause },
    Dropping { cause: CancelCause },
    Responding,
    Stuck,
    Orphaned,
}

/// What is known of the run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// It waits for a thread.
    Queued,
    Active,
    Ended,
}

#[derive(Debug)]
struct Entry<T> {
    id: TaskId,
    code: TaskCode,
    generation: u32,
    stage: Stage,
    function: Function,
    policy: Policy,
    began: Instant,
    /// The order in which tasks were assigned.
    sequence: u64,
    /// Message bytes that were handed over whole (L16).
    held_bytes: usize,
    /// This entry's place in `alarms`.
    alarm: Option<Instant>,
    accepted: bool,
    turn: Turn,
    task: T,
}

/// Links of the list of accepted tasks, by when their next sign of life is due (E5).
#[derive(Clone, Copy, Debug)]
struct Turn {
    previous: u32,
    next: u32,
    /// From when the processing interval counts.
    counted_from: Instant,
    linked: bool,
}

/// No entry.
const NONE: u32 = u32::MAX;

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

/// What was an entry.
#[derive(Debug)]
pub struct Removed<T> {
    /// Its id.
    pub id: TaskId,
    /// Its code.
    pub code: TaskCode,
    /// What the server kept for it.
    pub task: T,
}

/// One live task, as lists show it.
///
/// ```
/// use asyncserver::server::{ClientHandle, TaskState};
/// fn running(client: &ClientHandle) -> usize {
///     client.tasks().into_iter()
///         .filter_map(|id| client.metadata(id))
///         .filter(|task| task.state == TaskState::Running)
///         .count()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetadata {
    /// The id that the client chose.
    pub id: TaskId,
    /// Its task code.
    pub code: TaskCode,
    /// What it is doing.
    pub state: TaskState,
    /// When its header was read.
    pub began: Instant,
}

/// The live tasks of one connection, and the functions that outlive theirs.
#[derive(Debug)]
pub struct Ledger<T> {
    entries: Slab<Entry<T>>,
    /// Slots of the live tasks by id; stuck and orphaned ones are not in it.
    index: HashTable<u32>,
    alarms: BTreeSet<(Instant, TaskKey)>,
    /// The ends of the list of turns.
    first: u32,
    last: u32,
    next_generation: u32,
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
            entries: Slab::new(),
            index: HashTable::new(),
            alarms: BTreeSet::new(),
            first: NONE,
            last: NONE,
            next_generation: 0,
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
        let slot = *self
            .index
            .find(hash(id), |slot| entries[*slot as usize].id == id)?;
        Some(TaskKey {
            slot,
            generation: entries[slot as usize].generation,
        })
    }

    fn entry(&self, key: TaskKey) -> Option<&Entry<T>> {
        self.entries
            .get(key.slot as usize)
            .filter(|entry| entry.generation == key.generation)
    }

    fn entry_mut(&mut self, key: TaskKey) -> Option<&mut Entry<T>> {
        self.entries
            .get_mut(key.slot as usize)
            .filter(|entry| entry.generation == key.generation)
    }

    /// What the server keeps for the task.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&T> {
        self.entry(key).map(|entry| &entry.task)
    }

    /// What the server keeps for the task.
    pub fn task_mut(&mut self, key: TaskKey) -> Option<&mut T> {
        self.entry_mut(key).map(|entry| &mut entry.task)
    }

    /// The task as lists show it; `None` for one that is no longer live.
    #[must_use]
    pub fn metadata(&self, key: TaskKey) -> Option<TaskMetadata> {
        let entry = self.entry(key)?;
        let state = match entry.stage {
            Stage::Receiving { .. } => TaskState::Receiving,
            Stage::Running => TaskState::Running,
            Stage::Cooperating { .. } | Stage::Dropping { .. } => TaskState::Cancelling,
            Stage::Responding => TaskState::Responding,
            Stage::Stuck | Stage::Orphaned => return None,
        };
        Some(TaskMetadata {
            id: entry.id,
            code: entry.code,
            state,
            began: entry.began,
        })
    }

    /// The id and code of an entry, live or not.
    #[must_use]
    pub fn identity(&self, key: TaskKey) -> Option<(TaskId, TaskCode)> {
        self.entry(key).map(|entry| (entry.id, entry.code))
    }

    /// Every live task, in the order in which they were assigned.
    #[must_use]
    pub fn list(&self) -> Vec<(TaskKey, TaskMetadata)> {
        let mut live: Vec<_> = self
            .keys()
            .into_iter()
            .filter_map(|key| Some((self.entry(key)?.sequence, key, self.metadata(key)?)))
            .collect();
        live.sort_unstable_by_key(|(sequence, ..)| *sequence);
        live.into_iter()
            .map(|(_, key, metadata)| (key, metadata))
            .collect()
    }

    fn keys(&self) -> Vec<TaskKey> {
        self.entries
            .iter()
            .map(|(slot, entry)| TaskKey {
                slot: slot as u32,
                generation: entry.generation,
            })
            .collect()
    }

    /// Stuck tasks, in the order in which they were assigned.
    #[must_use]
    pub fn stuck(&self) -> Vec<(TaskId, TaskCode)> {
        let mut stuck: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.stage == Stage::Stuck)
            .map(|(_, entry)| (entry.sequence, entry.id, entry.code))
            .collect();
        stuck.sort_unstable_by_key(|(sequence, ..)| *sequence);
        stuck.into_iter().map(|(_, id, code)| (id, code)).collect()
    }

    /// A task's header has been read and it has its place. The id must not be live.
    pub fn begin(
        &mut self,
        id: TaskId,
        code: TaskCode,
        policy: Policy,
        task: T,
        now: Instant,
    ) -> TaskKey {
        debug_assert!(self.find(id).is_none(), "PROTOCOL T11 is judged before");
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.entries.insert(Entry {
            id,
            code,
            generation,
            stage: Stage::Receiving { cancelled: None },
            function: match policy.kind {
                FunctionKind::Async => Function::Active,
                FunctionKind::Blocking => Function::Queued,
            },
            policy,
            began: now,
            sequence,
            held_bytes: 0,
            alarm: None,
            accepted: false,
            turn: Turn {
                previous: NONE,
                next: NONE,
                counted_from: now,
                linked: false,
            },
            task,
        }) as u32;
        let entries = &self.entries;
        self.index
            .insert_unique(hash(id), slot, |slot| hash(entries[*slot as usize].id));
        TaskKey { slot, generation }
    }

    /// The end of the task's message has been looked at (T3): its processing
    /// interval counts from now.
    pub fn accept(&mut self, key: TaskKey, now: Instant) {
        if let Some(entry) = self.entry_mut(key) {
            entry.accepted = true;
            self.link_last(key.slot, now);
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
            entry.policy.kind = kind;
            entry.function = match kind {
                FunctionKind::Async => Function::Active,
                FunctionKind::Blocking => Function::Queued,
            };
        }
    }

    /// The run function starts; or, after a cancel, its answer is due: returns the cause.
    pub fn start(&mut self, key: TaskKey, now: Instant) -> Option<CancelCause> {
        let entry = self.entry_mut(key)?;
        let Stage::Receiving { cancelled } = entry.stage else {
            return None;
        };
        if cancelled.is_some() {
            return cancelled;
        }
        entry.stage = Stage::Running;
        // PROTOCOL T12: from the start of the run function.
        if let Some(limit) = entry.policy.run_limit {
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

    /// Whether a cancel has come in Receiving.
    #[must_use]
    pub fn is_cancelled_unread(&self, key: TaskKey) -> bool {
        matches!(
            self.entry(key).map(|entry| entry.stage),
            Some(Stage::Receiving { cancelled: Some(_) })
        )
    }

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

    fn cancel_running(&mut self, key: TaskKey, cause: CancelCause, now: Instant) -> CancelStep {
        let Some(entry) = self.entry_mut(key) else {
            return CancelStep::Nothing;
        };
        let (stage, step, after) = match (entry.function, entry.policy.on_cancel) {
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
                let step = match entry.policy.kind {
                    FunctionKind::Async => CancelStep::Drop,
                    FunctionKind::Blocking => CancelStep::Tell,
                };
                (Stage::Dropping { cause }, step, STUCK_AFTER)
            }
        };
        entry.stage = stage;
        self.set_alarm(key, now.checked_add(after));
        step
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
        let step = match (entry.stage, entry.policy.kind) {
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
        self.unlink(key.slot);
        true
    }

    /// The connection has ended for this task (D4, D8).
    pub fn orphan(&mut self, key: TaskKey, now: Instant) -> OrphanStep {
        let pending = self.entry(key).and_then(|entry| entry.alarm);
        self.set_alarm(key, None);
        let Some(entry) = self.entry_mut(key) else {
            return OrphanStep::Nothing;
        };
        let step = match (entry.stage, entry.function, entry.policy.on_cancel) {
            (Stage::Stuck | Stage::Orphaned, ..) => return OrphanStep::Nothing,
            (Stage::Receiving { .. } | Stage::Responding, ..)
            | (_, Function::Queued | Function::Ended, _) => return OrphanStep::Remove,
            _ if entry.policy.kind == FunctionKind::Blocking => OrphanStep::Tell { drop_at: None },
            (Stage::Running, _, OnCancel::Cooperate { grace }) => OrphanStep::Tell {
                drop_at: now.checked_add(grace),
            },
            (Stage::Cooperating { .. }, ..) => OrphanStep::Tell { drop_at: pending },
            _ => OrphanStep::Drop,
        };
        entry.stage = Stage::Orphaned;
        self.forget_id(key);
        step
    }

    /// A whole result is queued at once: begins and ends the response in one
    /// step, unless a cancel came first.
    pub fn complete(&mut self, key: TaskKey) -> Option<Removed<T>> {
        match self.entry(key)?.stage {
            Stage::Running | Stage::Cooperating { .. } => self.remove(key),
            _ => None,
        }
    }

    /// Removes the entry; whoever does has answered it.
    pub fn remove(&mut self, key: TaskKey) -> Option<Removed<T>> {
        self.entry(key)?;
        let entry = self.entries.remove(key.slot as usize);
        if let Some(at) = entry.alarm {
            self.alarms.remove(&(at, key));
        }
        if !matches!(entry.stage, Stage::Stuck | Stage::Orphaned) {
            self.unlink_turn(entry.turn);
            self.forget_index(entry.id, key.slot);
        }
        self.held_bytes -= entry.held_bytes;
        if self.entries.is_empty() {
            self.shrink();
        }
        Some(Removed {
            id: entry.id,
            code: entry.code,
            task: entry.task,
        })
    }

    /// After a burst an idle connection must not keep tables for 1,024 tasks.
    fn shrink(&mut self) {
        const KEPT: usize = 64;
        if self.entries.capacity() > 4096 {
            self.entries = Slab::with_capacity(KEPT);
            self.index = HashTable::with_capacity(KEPT);
        }
    }

    /// Gives back what a burst left behind; for when the connection turns idle.
    pub fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
        let entries = &self.entries;
        self.index
            .shrink_to_fit(|slot| hash(entries[*slot as usize].id));
    }

    fn forget_id(&mut self, key: TaskKey) {
        self.unlink(key.slot);
        self.forget_index(self.entries[key.slot as usize].id, key.slot);
    }

    fn forget_index(&mut self, id: TaskId, slot: u32) {
        if let Ok(found) = self.index.find_entry(hash(id), |other| *other == slot) {
            found.remove();
        }
    }

    fn set_alarm(&mut self, key: TaskKey, at: Option<Instant>) {
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

    /// The accepted task whose sign of life is due first, and since when its
    /// interval counts (E5).
    #[must_use]
    pub fn first_turn(&self) -> Option<(TaskKey, Instant)> {
        let entry = self.entries.get(self.first as usize)?;
        let key = TaskKey {
            slot: self.first,
            generation: entry.generation,
        };
        Some((key, entry.turn.counted_from))
    }

    /// The task's interval counts from now: it goes to the end of the list.
    pub fn restart_turn(&mut self, key: TaskKey, now: Instant) {
        if self.entry(key).is_some_and(|entry| entry.turn.linked) {
            self.unlink(key.slot);
            self.link_last(key.slot, now);
        }
    }

    fn link_last(&mut self, slot: u32, counted_from: Instant) {
        let previous = self.last;
        self.entries[slot as usize].turn = Turn {
            previous,
            next: NONE,
            counted_from,
            linked: true,
        };
        match self.entries.get_mut(previous as usize) {
            Some(entry) => entry.turn.next = slot,
            None => self.first = slot,
        }
        self.last = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let turn = self.entries[slot as usize].turn;
        self.entries[slot as usize].turn.linked = false;
        self.unlink_turn(turn);
    }

    /// Closes the list over an entry that has left it, or that never was in it.
    fn unlink_turn(&mut self, turn: Turn) {
        if !turn.linked {
            return;
        }
        match self.entries.get_mut(turn.previous as usize) {
            Some(entry) => entry.turn.next = turn.next,
            None => self.first = turn.next,
        }
        match self.entries.get_mut(turn.next as usize) {
            Some(entry) => entry.turn.previous = turn.previous,
            None => self.last = turn.previous,
        }
    }

    /// Checks, in debug builds, what every step must leave true.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        assert!(self.index.len() <= self.entries.len());
        assert_eq!(self.first == NONE, self.last == NONE, "list of turns");
        // The rest costs a pass over all tasks: enough where there are few.
        if self.entries.len() > 32 {
            return;
        }
        let live = self
            .keys()
            .into_iter()
            .filter(|key| self.metadata(*key).is_some());
        assert_eq!(live.clone().count(), self.index.len(), "ids");
        for key in live {
            let found = self.entry(key).and_then(|entry| self.find(entry.id));
            assert_eq!(found, Some(key), "a live id finds its own entry");
        }
        let held: usize = self.entries.iter().map(|(_, entry)| entry.held_bytes).sum();
        assert_eq!(held, self.held_bytes, "held bytes");
        let alarms = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.alarm.is_some());
        assert_eq!(alarms.count(), self.alarms.len(), "alarms");
        let linked = self.entries.iter().filter(|(_, entry)| entry.turn.linked);
        let walk = std::iter::successors(self.entries.get(self.first as usize), |entry| {
            self.entries.get(entry.turn.next as usize)
        });
        assert_eq!(walk.count(), linked.count(), "list of turns");
    }
}

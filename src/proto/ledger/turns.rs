//! Whose sign of life is due first (PROTOCOL E5): accepted tasks in a list
//! through their entries, so that a turn costs the same however many there are.

use std::time::Instant;

use super::Ledger;
use super::task::{Stage, TaskKey};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Instead of a previous entry: it is not in the list. No slot is that high, or
/// the entries would take 500 GB.
const UNLINKED: u32 = u32::MAX - 1;

/// Links of the list of accepted tasks, by when their next sign of life is due (E5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    previous: u32,
    pub(super) next: u32,
    /// From when the processing interval counts.
    counted_from: Instant,
}

impl Turn {
    /// Of an entry that is not in the list.
    pub(super) const fn none(counted_from: Instant) -> Self {
        Self {
            previous: UNLINKED,
            next: NONE,
            counted_from,
        }
    }

    pub(super) const fn is_linked(&self) -> bool {
        self.previous != UNLINKED
    }
}

impl<T> Ledger<T> {
    /// The accepted task whose sign of life is due first, and since when its
    /// interval counts (E5).
    #[must_use]
    pub fn first_turn(&self) -> Option<(TaskKey, Instant)> {
        let entry = self.entries.get(self.first)?;
        let key = TaskKey {
            slot: self.first,
            generation: entry.generation(),
        };
        Some((key, entry.turn.counted_from))
    }

    /// A sign of life has been queued: the next interval counts from now, and
    /// the task has no turn until the transport has taken this one.
    pub fn suspend_turn(&mut self, key: TaskKey, now: Instant) {
        if self.entry(key).is_some_and(|entry| entry.turn.is_linked()) {
            self.unlink(key.slot);
            self.entries[key.slot].turn = Turn::none(now);
        }
    }

    /// The transport has taken the task's last sign of life.
    pub fn resume_turn(&mut self, key: TaskKey) {
        let Some(entry) = self.entry(key) else {
            return;
        };
        // Until its response begins, or it is answered as stuck, its task
        // function's time included (E5).
        let is_due = match entry.stage {
            Stage::Receiving { .. }
            | Stage::Running
            | Stage::Cooperating { .. }
            | Stage::Dropping { .. } => entry.accepted,
            Stage::Responding | Stage::Stuck | Stage::Orphaned => false,
        };
        if is_due && !entry.turn.is_linked() {
            let counted_from = entry.turn.counted_from;
            self.link(key.slot, counted_from);
        }
    }

    /// Links an entry by when its interval began: nearly always at the end.
    #[inline]
    pub(super) fn link(&mut self, slot: u32, counted_from: Instant) {
        let (mut previous, mut next) = (self.last, NONE);
        while let Some(entry) = self.entries.get(previous)
            && entry.turn.counted_from > counted_from
        {
            (previous, next) = (entry.turn.previous, previous);
        }
        self.entries[slot].turn = Turn {
            previous,
            next,
            counted_from,
        };
        match self.entries.get_mut(previous) {
            Some(entry) => entry.turn.next = slot,
            None => self.first = slot,
        }
        match self.entries.get_mut(next) {
            Some(entry) => entry.turn.previous = slot,
            None => self.last = slot,
        }
    }

    pub(super) fn unlink(&mut self, slot: u32) {
        let turn = &mut self.entries[slot].turn;
        let counted_from = turn.counted_from;
        let linked = std::mem::replace(turn, Turn::none(counted_from));
        self.unlink_turn(linked);
    }

    /// Closes the list over an entry that has left it, or that never was in it.
    pub(super) fn unlink_turn(&mut self, turn: Turn) {
        if !turn.is_linked() {
            return;
        }
        match self.entries.get_mut(turn.previous) {
            Some(entry) => entry.turn.next = turn.next,
            None => self.first = turn.next,
        }
        match self.entries.get_mut(turn.next) {
            Some(entry) => entry.turn.previous = turn.previous,
            None => self.last = turn.previous,
        }
    }
}

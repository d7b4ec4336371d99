//! Whose sign of life is due first (PROTOCOL E5): accepted tasks in a list
//! through their entries, so that a turn costs the same however many there are.

use std::time::Instant;

use super::Ledger;
use super::task::TaskKey;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Links of the list of accepted tasks, by when their next sign of life is due (E5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) previous: u32,
    pub(super) next: u32,
    /// From when the processing interval counts.
    pub(super) counted_from: Instant,
    pub(super) linked: bool,
}

impl<T> Ledger<T> {
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

    pub(super) fn link_last(&mut self, slot: u32, counted_from: Instant) {
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

    pub(super) fn unlink(&mut self, slot: u32) {
        let turn = self.entries[slot as usize].turn;
        self.entries[slot as usize].turn.linked = false;
        self.unlink_turn(turn);
    }

    /// Closes the list over an entry that has left it, or that never was in it.
    pub(super) fn unlink_turn(&mut self, turn: Turn) {
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
}

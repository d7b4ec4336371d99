//! The live requests of one connection, by slot and by id.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashTable;
use slab::Slab;

use crate::wire::{TaskCode, TaskId};

/// One live request (PROTOCOL N7), from its start to its terminal response.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) id: TaskId,
    pub(super) code: TaskCode,
    pub(super) owner: Owner<T>,
    pub(super) request: RequestState,
    pub(super) response: ResponseMode,
    pub(super) cancel: CancelState,
    /// Its place among the requests started: losses are told in this order.
    pub(super) started_as: u64,
    pub(super) response_timeout: Duration,
    /// When the wait for a sign of the response ends.
    pub(super) deadline: Option<Instant>,
}

impl<T> Entry<T> {
    pub(super) fn restart_clock(&mut self, now: Instant) {
        if !matches!(self.owner, Owner::GivenUp) {
            self.deadline = now.checked_add(self.response_timeout);
        }
    }
}

/// Who waits for a response.
#[derive(Debug)]
pub(super) enum Owner<T> {
    Caller(T),
    /// Nobody: the response is discarded, the id is live until then (PROTOCOL C5).
    GivenUp,
    /// The connection itself (PROTOCOL C4).
    KeepAlive,
    /// The connection itself (PROTOCOL C6).
    Negotiate,
}

/// How far a request is.
///
/// ```text
/// Queued ── header put out ──► Sending ── last byte put out ──► PutOut
/// ```
#[derive(Debug)]
pub(super) enum RequestState {
    Queued(RequestMessage),
    Sending {
        /// Its place among the requests put out, which is what Goodbye counts (PROTOCOL E4).
        sequence: u64,
    },
    PutOut {
        sequence: u64,
        /// Where it ends in the stream: taken by the transport up to here, it may have run.
        end: u64,
    },
}

/// Where a request's message comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestMessage {
    /// The message.
    Whole(Bytes),
    /// Piece by piece, when [`Calls::wanted_piece`](super::Calls::wanted_piece) asks.
    Streamed,
}

/// How a response is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// Whole, up to the limit.
    Whole,
    /// Piece by piece, by [`Calls::take_piece`](super::Calls::take_piece).
    Streamed,
}

/// Whether the task was, or is to be, cancelled by E2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CancelState {
    NotAsked,
    /// The message has begun: E2 follows its end (PROTOCOL C5).
    WhenPutOut,
    /// E2 waits for its turn, or is put out.
    Asked,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<Entry<T>>,
    slots_by_id: HashTable<usize>,
}

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            slots_by_id: HashTable::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry whose id is not in use.
    pub(super) fn insert(&mut self, entry: Entry<T>) -> usize {
        debug_assert!(self.slot(entry.id).is_none());
        let hash = hash(entry.id);
        let slot = self.entries.insert(entry);
        let entries = &self.entries;
        self.slots_by_id
            .insert_unique(hash, slot, |&slot| hash_of_slot(entries, slot));
        slot
    }

    pub(super) fn slot(&self, id: TaskId) -> Option<usize> {
        let is_it = |&slot: &usize| self.entries.get(slot).is_some_and(|entry| entry.id == id);
        self.slots_by_id.find(hash(id), is_it).copied()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Entry<T>> {
        self.entries.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry<T>> {
        self.entries.get_mut(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Entry<T>> {
        let entry = self.entries.try_remove(slot)?;
        if let Ok(found) = self
            .slots_by_id
            .find_entry(hash(entry.id), |&other| other == slot)
        {
            found.remove();
        }
        Some(entry)
    }

    /// In the order of the slots, which the order of starts and ends alone decides.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entry<T>)> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entry<T>)> {
        self.entries.iter_mut()
    }

    /// All entries in the order in which they were started.
    pub(super) fn drain(&mut self) -> Vec<Entry<T>> {
        self.slots_by_id.clear();
        let mut entries: Vec<_> = self.entries.drain().collect();
        entries.sort_unstable_by_key(|entry| entry.started_as);
        entries
    }

    pub(super) fn check_invariants(&self) {
        debug_assert_eq!(self.entries.len(), self.slots_by_id.len());
        for (slot, entry) in self.iter() {
            debug_assert_eq!(self.slot(entry.id), Some(slot));
        }
    }
}

fn hash_of_slot<T>(entries: &Slab<Entry<T>>, slot: usize) -> u64 {
    entries.get(slot).map_or(0, |entry| hash(entry.id))
}

/// Ids are chosen by this side, so that a multiplication spreads them well enough.
const fn hash(id: TaskId) -> u64 {
    (id.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

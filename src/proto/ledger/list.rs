//! The ledger as others see it: lists in the order of assignment, and what
//! must always be true of it.

use super::Ledger;
use super::task::{Stage, TaskKey, TaskMetadata, TaskState};
use super::turns::NONE;
use crate::wire::{TaskCode, TaskId};

impl<T> Ledger<T> {
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

    pub(super) fn keys(&self) -> Vec<TaskKey> {
        self.entries
            .iter()
            .map(|(slot, entry)| TaskKey {
                slot,
                generation: entry.generation(),
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
        let linked = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.turn.is_linked());
        let walk = std::iter::successors(self.entries.get(self.first), |entry| {
            self.entries.get(entry.turn.next)
        });
        assert_eq!(walk.count(), linked.count(), "list of turns");
    }
}

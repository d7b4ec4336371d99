//! Where entries are: in slots that are used again, and written field by field. A
//! slab would build each entry elsewhere and copy it here, and back again at its
//! end, which took a tenth of all that a small request costs.

use std::ops::{Index, IndexMut};
use std::time::Instant;

use super::task::Entry;
use super::turns::NONE;

#[derive(Debug)]
pub(super) struct Entries<T> {
    /// Vacant ones have no task, and the next vacant one as their turn's next.
    slots: Vec<Entry<T>>,
    first_vacant: u32,
    occupied: usize,
}

impl<T> Entries<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            first_vacant: NONE,
            occupied: 0,
        }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.occupied
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry<T>> {
        let entry = self.slots.get(slot as usize)?;
        entry.task.is_some().then_some(entry)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        let entry = self.slots.get_mut(slot as usize)?;
        entry.task.is_some().then_some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry<T>)> + Clone {
        let slots = self.slots.iter().enumerate();
        let occupied = slots.filter(|(_, entry)| entry.task.is_some());
        occupied.map(|(slot, entry)| (slot as u32, entry))
    }

    /// Vacant ones, too.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.slots.iter_mut()
    }

    /// A vacant slot, to be filled with a task and all else of an entry.
    #[inline]
    pub(super) fn claim(&mut self, now: Instant) -> (u32, &mut Entry<T>) {
        if self.first_vacant == NONE {
            self.grow(now);
        }
        let slot = self.first_vacant;
        let entry = &mut self.slots[slot as usize];
        self.first_vacant = entry.turn.next;
        self.occupied += 1;
        (slot, entry)
    }

    #[cold]
    fn grow(&mut self, now: Instant) {
        if self.slots.capacity() == 0 {
            // Many connections have one task at a time.
            self.slots.reserve_exact(1);
        }
        self.first_vacant = self.slots.len() as u32;
        self.slots.push(Entry::vacant(now));
    }

    /// The slot of an entry whose task has been taken is vacant again.
    #[inline]
    pub(super) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        debug_assert!(entry.task.is_none(), "its task has been taken");
        entry.turn.next = self.first_vacant;
        self.first_vacant = slot;
        self.occupied -= 1;
    }

    /// After a burst an idle connection must not keep slots for 1,024 tasks.
    pub(super) fn is_oversized(&self) -> bool {
        self.occupied == 0 && self.slots.capacity() > 4096
    }

    /// Gives back what is vacant behind the last entry.
    pub(super) fn shrink_to_fit(&mut self) {
        let last = self.slots.iter().rposition(|entry| entry.task.is_some());
        self.slots.truncate(last.map_or(0, |last| last + 1));
        self.slots.shrink_to_fit();
        self.first_vacant = NONE;
        for (slot, entry) in self.slots.iter_mut().enumerate().rev() {
            if entry.task.is_none() {
                entry.turn.next = self.first_vacant;
                self.first_vacant = slot as u32;
            }
        }
    }
}

impl<T> Index<u32> for Entries<T> {
    type Output = Entry<T>;

    fn index(&self, slot: u32) -> &Entry<T> {
        &self.slots[slot as usize]
    }
}

impl<T> IndexMut<u32> for Entries<T> {
    fn index_mut(&mut self, slot: u32) -> &mut Entry<T> {
        &mut self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied(entries: &Entries<char>) -> Vec<(u32, char)> {
        let tasks = entries.iter();
        let tasks = tasks.filter_map(|(slot, entry)| Some((slot, entry.task?)));
        tasks.collect()
    }

    fn put(entries: &mut Entries<char>, task: char) -> u32 {
        let (slot, entry) = entries.claim(Instant::now());
        entry.task = Some(task);
        slot
    }

    fn take(entries: &mut Entries<char>, slot: u32) {
        assert!(entries[slot].task.take().is_some());
        entries.release(slot);
    }

    #[test]
    fn the_slot_that_was_left_last_is_used_first() {
        let mut entries = Entries::new();
        let slots: Vec<_> = "abc".chars().map(|task| put(&mut entries, task)).collect();
        take(&mut entries, slots[0]);
        take(&mut entries, slots[2]);
        assert_eq!((entries.len(), occupied(&entries)), (1, vec![(1, 'b')]));
        assert!(entries.get(slots[0]).is_none() && entries.get_mut(slots[2]).is_none());
        assert_eq!(put(&mut entries, 'd'), slots[2]);
        assert_eq!(put(&mut entries, 'e'), slots[0]);
        assert_eq!(put(&mut entries, 'f'), 3);
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn what_is_vacant_behind_the_last_entry_is_given_back_and_the_rest_is_used_again() {
        let mut entries = Entries::new();
        for task in "abcde".chars() {
            put(&mut entries, task);
        }
        for slot in [4, 0, 3, 1] {
            take(&mut entries, slot);
        }
        entries.shrink_to_fit();
        assert_eq!(occupied(&entries), [(2, 'c')]);
        assert_eq!((entries.slots.len(), entries.slots.capacity()), (3, 3));
        let slots: Vec<_> = "fgh".chars().map(|task| put(&mut entries, task)).collect();
        assert_eq!(slots, [0, 1, 3]);
        for slot in 0..4 {
            take(&mut entries, slot);
        }
        entries.shrink_to_fit();
        assert_eq!(entries.slots.capacity(), 0);
    }

    #[test]
    fn only_empty_slots_of_a_large_burst_are_oversized() {
        let mut entries = Entries::new();
        assert!(!entries.is_oversized());
        let slots: Vec<_> = (0..4097).map(|_| put(&mut entries, 'a')).collect();
        for slot in &slots[1..] {
            take(&mut entries, *slot);
        }
        assert!(!entries.is_oversized(), "one is left");
        take(&mut entries, slots[0]);
        assert!(entries.is_oversized());
    }
}

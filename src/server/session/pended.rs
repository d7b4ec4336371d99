//! Run functions that did not end in place: whom to wake with an order for one of them.

use std::task::Waker;

use slab::Slab;

use crate::proto::NO_TAG;

/// In a task's tag: the rest of it is its group's place, not its own.
const IN_GROUP: u32 = 1 << 31;

#[derive(Default)]
pub(super) struct Pended {
    /// The wakers of those that wait by themselves, until there is an order for
    /// them; a task's tag says which is its. New ones come through the inbox.
    runners: Slab<Waker>,
    /// The wakers of groups that wait, until there is an order for a member, whose
    /// tag says which is its group's.
    groups: Slab<Option<Waker>>,
}

/// What the tag of a member is whose group has this place.
pub(super) const fn tag_of_group(place: u32) -> u32 {
    IN_GROUP | place
}

/// The place of its group, if it is in one that waits.
const fn group_of(tag: u32) -> Option<usize> {
    if tag != NO_TAG && tag & IN_GROUP != 0 {
        Some((tag & !IN_GROUP) as usize)
    } else {
        None
    }
}

impl Pended {
    pub(super) fn is_empty(&self) -> bool {
        self.runners.is_empty() && self.groups.is_empty()
    }

    /// Gives back what it does not need.
    pub(super) fn shrink(&mut self) {
        self.runners.shrink_to_fit();
        self.groups.shrink_to_fit();
    }

    /// One that waits by itself leaves its waker; returns the one that it left before.
    pub(super) fn leave_waker(&mut self, tag: &mut u32, waker: Waker) -> Option<Waker> {
        if let Some(runner) = self.runners.get_mut(*tag as usize) {
            return Some(std::mem::replace(runner, waker));
        }
        *tag = self.runners.insert(waker) as u32;
        None
    }

    /// A group leaves its waker; returns the one that it left before, if that is still here.
    pub(super) fn leave_group_waker(
        &mut self,
        place: &mut Option<u32>,
        waker: &Waker,
    ) -> Option<Waker> {
        if let Some(group) = place.and_then(|place| self.groups.get_mut(place as usize)) {
            return group.replace(waker.clone());
        }
        *place = Some(self.groups.insert(Some(waker.clone())) as u32);
        None
    }

    /// Whom to wake with an order for the task with this tag: itself or its group. One
    /// that does not wait yet looks for orders before it does.
    pub(super) fn take_waker(&mut self, tag: &mut u32) -> Option<Waker> {
        match group_of(*tag) {
            Some(group) => self.groups.get_mut(group)?.take(),
            None => self.forget_runner(std::mem::replace(tag, NO_TAG)),
        }
    }

    /// What one that waited by itself has left.
    pub(super) fn forget_runner(&mut self, tag: u32) -> Option<Waker> {
        self.runners.try_remove(tag as usize)
    }

    /// The group has ended.
    pub(super) fn forget_group(&mut self, place: u32) -> Option<Waker> {
        self.groups.try_remove(place as usize).flatten()
    }
}

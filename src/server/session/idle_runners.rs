//! Executor tasks whose run functions have ended: the connection's next ones run in them.

use super::inbox::Runners;
use super::{Finished, Session};
use crate::server::run::{GROUP, IdleGroup, IdleRunner, Single};

/// A connection keeps those that so many functions need at most, of each kind.
const MOST: usize = 1024;

#[derive(Default)]
pub(crate) struct Idle {
    singles: IdleRunners<IdleRunner<Single>>,
    groups: IdleRunners<IdleGroup>,
}

impl Idle {
    /// Keeps one more that runs one function at a time, unless there are enough.
    pub(crate) fn keep_single(&mut self, idle: impl FnOnce() -> IdleRunner<Single>) -> bool {
        self.singles.keep(MOST, idle)
    }

    /// Keeps one more that functions share, unless there are enough.
    pub(crate) fn keep_group(&mut self, idle: impl FnOnce() -> IdleGroup) -> bool {
        self.groups.keep(MOST / GROUP, idle)
    }

    fn is_empty(&self) -> bool {
        self.singles.idle.is_empty() && self.groups.idle.is_empty()
    }
}

/// The last one to have come is the first to be used.
struct IdleRunners<R> {
    idle: Vec<R>,
    /// The fewest that there were since they were last trimmed.
    least: usize,
}

impl<R> Default for IdleRunners<R> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            least: 0,
        }
    }
}

impl<R> IdleRunners<R> {
    fn keep(&mut self, most: usize, idle: impl FnOnce() -> R) -> bool {
        let has_room = self.idle.len() < most;
        if has_room {
            self.idle.push(idle());
        }
        has_room
    }

    fn take(&mut self, most: usize, into: &mut Vec<R>) {
        let left = self.idle.len().saturating_sub(most);
        into.extend(self.idle.drain(left..));
        self.least = self.least.min(left);
    }

    /// Moves out those that nobody has needed since the last time.
    fn trim(&mut self) -> Vec<R> {
        let unneeded = self.idle.drain(..self.least).collect();
        self.least = self.idle.len();
        unneeded
    }
}

impl Session {
    /// The last results of an executor task, which is idle from now on: it is to be kept
    /// then, and `false` says that it was not, for nobody needs it any more.
    pub(crate) fn finish_and_keep<B>(
        &self,
        batch: B,
        runners: Runners,
        keep: impl FnOnce(&mut Idle) -> bool,
    ) -> bool
    where
        B: AsMut<[Finished]> + IntoIterator<Item = Finished>,
    {
        let mut inbox = self.0.inbox.lock();
        let left = inbox.leave(batch, runners);
        let is_kept = !inbox.is_closed && keep(&mut inbox.idle);
        drop(inbox);
        self.see_to(left, runners);
        is_kept
    }

    /// Executor tasks for so many single runners, if there are.
    pub(crate) fn take_idle_runners(&self, most: usize, into: &mut Vec<IdleRunner<Single>>) {
        self.0.inbox.lock().idle.singles.take(most, into);
    }

    /// Executor tasks for so many groups, if there are.
    pub(crate) fn take_idle_groups(&self, most: usize, into: &mut Vec<IdleGroup>) {
        self.0.inbox.lock().idle.groups.take(most, into);
    }

    /// Whether there are any.
    pub(crate) fn has_idle_runners(&self) -> bool {
        !self.0.inbox.lock().idle.is_empty()
    }

    /// Ends those that nobody has needed since the last time.
    pub(crate) fn trim_idle_runners(&self) {
        let mut inbox = self.0.inbox.lock();
        let unneeded = (inbox.idle.singles.trim(), inbox.idle.groups.trim());
        // They are woken, and dropped, once the lock has been released.
        drop(inbox);
        drop(unneeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: usize) -> IdleRunners<()> {
        let mut runners = IdleRunners::default();
        for _ in 0..count {
            assert!(runners.keep(MOST, || ()));
        }
        runners
    }

    fn take(runners: &mut IdleRunners<()>, most: usize) -> usize {
        let mut taken = Vec::new();
        runners.take(most, &mut taken);
        taken.len()
    }

    #[test]
    fn so_many_are_kept_and_no_more_taken_than_there_are() {
        let mut runners = with(MOST);
        assert!(!runners.keep(MOST, || ()));
        assert_eq!(take(&mut runners, 1), 1);
        assert!(runners.keep(MOST, || ()));
        assert_eq!(take(&mut runners, MOST + 1), MOST);
        assert_eq!(take(&mut runners, 1), 0);
    }

    #[test]
    fn those_that_were_not_needed_between_two_times_go() {
        let mut runners = with(10);
        assert_eq!(runners.trim().len(), 0);
        // Seven are needed at once, and come back.
        assert_eq!(take(&mut runners, 4), 4);
        assert_eq!(take(&mut runners, 3), 3);
        for _ in 0..7 {
            assert!(runners.keep(MOST, || ()));
        }
        assert_eq!(runners.trim().len(), 3);
        assert_eq!(runners.trim().len(), 7);
        assert_eq!(runners.trim().len(), 0);
    }
}

//! Executor tasks whose run functions have ended: the connection's next ones run in them.

use super::Session;
use crate::server::run::IdleRunner;

/// A connection keeps so many at most.
const MOST: usize = 1024;

/// The last one to have come is the first to be used.
#[derive(Default)]
pub(super) struct IdleRunners {
    idle: Vec<IdleRunner>,
    /// The fewest that there were since they were last trimmed.
    least: usize,
}

impl IdleRunners {
    /// Keeps one more, unless there are enough.
    pub(super) fn keep(&mut self, idle: impl FnOnce() -> IdleRunner) -> bool {
        let has_room = self.idle.len() < MOST;
        if has_room {
            self.idle.push(idle());
        }
        has_room
    }

    fn take(&mut self, most: usize, into: &mut Vec<IdleRunner>) {
        let left = self.idle.len().saturating_sub(most);
        into.extend(self.idle.drain(left..));
        self.least = self.least.min(left);
    }

    /// Moves out those that nobody has needed since the last time.
    fn trim(&mut self) -> Vec<IdleRunner> {
        let unneeded = self.idle.drain(..self.least).collect();
        self.least = self.idle.len();
        unneeded
    }
}

impl Session {
    /// Executor tasks for so many single runners, if there are.
    pub(crate) fn take_idle_runners(&self, most: usize, into: &mut Vec<IdleRunner>) {
        self.0.inbox.lock().idle.take(most, into);
    }

    /// Whether there are any.
    pub(crate) fn has_idle_runners(&self) -> bool {
        !self.0.inbox.lock().idle.idle.is_empty()
    }

    /// Ends those that nobody has needed since the last time.
    pub(crate) fn trim_idle_runners(&self) {
        // They are woken, and dropped, once the lock has been released.
        let unneeded = self.0.inbox.lock().idle.trim();
        drop(unneeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: usize) -> IdleRunners {
        let mut runners = IdleRunners::default();
        for _ in 0..count {
            assert!(runners.keep(IdleRunner::gone));
        }
        runners
    }

    fn take(runners: &mut IdleRunners, most: usize) -> usize {
        let mut taken = Vec::new();
        runners.take(most, &mut taken);
        taken.len()
    }

    #[test]
    fn so_many_are_kept_and_no_more_taken_than_there_are() {
        let mut runners = with(MOST);
        assert!(!runners.keep(IdleRunner::gone));
        assert_eq!(take(&mut runners, 1), 1);
        assert!(runners.keep(IdleRunner::gone));
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
            assert!(runners.keep(IdleRunner::gone));
        }
        assert_eq!(runners.trim().len(), 3);
        assert_eq!(runners.trim().len(), 7);
        assert_eq!(runners.trim().len(), 0);
    }
}

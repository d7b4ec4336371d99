//! What run functions elsewhere leave for the driver, behind a lock that nobody holds
//! for long: by the thousand they would wait for one another, and for the driver, at
//! the session's.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use bytes::BytesMut;

use super::effects::{AfterUnlock, Unwanted};
use super::idle_runners::Idle;
use super::{Ended, Finished, Session, State, notice};
use crate::canary::{Canary, planted};
use crate::proto::TaskKey;
use crate::server::run::{Spares, drop_results};

/// Results that the driver commits in one turn, and bytes of theirs (L13).
const TURN_RESULTS: usize = 256;
const TURN_BYTES: usize = 64 << 10;

/// Wakers that lie here at most, as long as nobody comes for them: whoever has one
/// more takes the session's lock.
const WAKERS_MOST: usize = 256;

/// In what kind of executor tasks run functions ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runners {
    /// One for each, which counts as a single runner.
    Single,
    /// Any other.
    Other,
}

/// How much is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// What a turn of the driver may.
    Turn,
    All,
}

#[derive(Default)]
pub(super) struct Inbox {
    finished: VecDeque<Finished>,
    /// How many of them single runners have left.
    singles: usize,
    /// Of run functions that wait by themselves, for those who have an order for one.
    wakers: Vec<(TaskKey, Waker)>,
    /// Executor tasks whose run functions have ended.
    pub(super) idle: Idle,
    /// Nobody comes any more.
    pub(super) is_closed: bool,
}

/// What became of results.
pub(super) enum Left<B> {
    /// They are the first ones here: the driver has to be noticed.
    First,
    /// Who left the first ones sees to that.
    BehindOthers,
    /// Nobody would commit them from here.
    Refused(B),
}

impl Inbox {
    pub(super) fn leave<B>(&mut self, mut batch: B, runners: Runners) -> Left<B>
    where
        B: AsMut<[Finished]> + IntoIterator<Item = Finished>,
    {
        if self.is_closed {
            return Left::Refused(batch);
        }
        let is_first = self.finished.is_empty();
        if runners == Runners::Single {
            self.singles += batch.as_mut().len();
        }
        self.finished.extend(batch);
        match is_first {
            true => Left::First,
            false => Left::BehindOthers,
        }
    }

    /// Gives it back if it cannot be left here.
    fn leave_waker(&mut self, key: TaskKey, waker: Waker) -> Option<Waker> {
        if self.is_closed || self.wakers.len() >= WAKERS_MOST {
            return Some(waker);
        }
        self.wakers.push((key, waker));
        None
    }

    /// Moves the oldest results out; returns how many of them count as single runners'.
    fn take_finished(&mut self, share: Share, into: &mut Vec<Finished>) -> usize {
        let mut bytes = 0;
        let has_room = |finished: &&Finished| {
            let before = bytes;
            bytes += finished.ended.bytes();
            before < TURN_BYTES
        };
        let taken = match share {
            Share::Turn => {
                let oldest = self.finished.iter().take(TURN_RESULTS);
                oldest.take_while(has_room).count()
            }
            Share::All => self.finished.len(),
        };
        into.extend(self.finished.drain(..taken));
        let singles = taken.min(self.singles);
        self.singles -= singles;
        singles
    }

    /// Moves the wakers out, into an empty list.
    fn take_wakers(&mut self, into: &mut Vec<(TaskKey, Waker)>) {
        // A list that has memory is not left where nothing needs it.
        if !self.wakers.is_empty() {
            std::mem::swap(into, &mut self.wakers);
        }
    }

    /// Gives back what it does not need, runners to be dropped outside of the locks.
    fn shrink(&mut self) -> Idle {
        self.finished.shrink_to_fit();
        self.wakers.shrink_to_fit();
        std::mem::take(&mut self.idle)
    }
}

// What run functions leave.
impl Session {
    /// Results of run functions that ran elsewhere: the driver commits them.
    pub(crate) fn finish_batch<B>(&self, batch: B, runners: Runners)
    where
        B: AsMut<[Finished]> + IntoIterator<Item = Finished>,
    {
        let left = self.0.inbox.lock().leave(batch, runners);
        self.see_to(left, runners);
    }

    pub(super) fn see_to(&self, left: Left<impl AsMut<[Finished]>>, runners: Runners) {
        match left {
            Left::First if !planted(Canary::LostWakeUp) => self.wake_driver(),
            Left::First | Left::BehindOthers => {}
            Left::Refused(batch) => self.finish_behind_driver(batch, runners),
        }
    }

    /// The result of one.
    pub(crate) fn finish_one(&self, key: TaskKey, ended: Ended) {
        self.finish_batch([Finished::new(key, ended)], Runners::Other);
    }

    /// The driver has gone: its tasks still have places to give back.
    fn finish_behind_driver(&self, mut batch: impl AsMut<[Finished]>, runners: Runners) {
        let results = batch.as_mut();
        let now = self.client().server.clock.now();
        self.with(|state, after| {
            if runners == Runners::Single {
                state.single_runners -= results.len();
            }
            self.finish_each(state, results, now, after);
        });
        drop_results(results, &mut Spares::default());
    }

    /// Leaves the waker of a run function that waits by itself, and has seen so many
    /// orders; `false`: it has to look for one under the session's lock.
    pub(crate) fn leave_waker(&self, key: TaskKey, waker: &Waker, seen_orders: u32) -> bool {
        let waker = waker.clone();
        let refused = self.0.inbox.lock().leave_waker(key, waker);
        if refused.is_some() {
            self.with(|state, after| self.take_wakers(state, after));
            return false;
        }
        // Invariant 4: this comes last.
        self.orders() == seen_orders
    }
}

// What is made of it under the session's lock.
impl Session {
    /// Commits a turn's share of the results of what ran elsewhere, answers in memory
    /// from `output`. What is left of them is in `left`.
    pub(super) fn look_into_inbox(
        &self,
        state: &mut State,
        (left, output): (&mut Vec<Finished>, &mut BytesMut),
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        let deadline = state.connection.next_deadline();
        // Who came in time is not blamed for the server's own delay (L13).
        let share = match deadline.is_some_and(|deadline| deadline <= now) {
            true => Share::All,
            false => Share::Turn,
        };
        state.connection.lend_output(output);
        self.commit_results(state, share, left, now, after);
        state.connection.give_back_output(output);
        // Behind the results: most of those who left a waker have ended since.
        self.take_wakers(state, after);
    }

    /// [`with`](Self::with), behind all results that have come by now.
    pub(super) fn behind_results<R>(
        &self,
        now: Instant,
        change: impl FnOnce(&mut State, &mut AfterUnlock) -> R,
    ) -> R {
        let mut left = Vec::new();
        let result = self.with(|state, after| {
            self.commit_results(state, Share::All, &mut left, now, after);
            change(state, after)
        });
        drop_results(&mut left, &mut Spares::default());
        result
    }

    /// Nothing is left here from now on.
    pub(super) fn close_inbox(&self) {
        let mut inbox = self.0.inbox.lock();
        inbox.is_closed = true;
        let idle = inbox.shrink();
        drop(inbox);
        drop(idle);
    }

    /// Gives back what the inbox does not need.
    pub(super) fn shrink_inbox(&self) {
        let idle = self.0.inbox.lock().shrink();
        drop(idle);
    }

    fn commit_results(
        &self,
        state: &mut State,
        share: Share,
        left: &mut Vec<Finished>,
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        let mut inbox = self.0.inbox.lock();
        state.single_runners -= inbox.take_finished(share, left);
        if !inbox.finished.is_empty() {
            notice(state, after);
        }
        drop(inbox);
        self.finish_each(state, left, now, after);
    }

    pub(super) fn finish_each(
        &self,
        state: &mut State,
        results: &mut [Finished],
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        for Finished { key, ended, .. } in results {
            self.finish(state, *key, ended, now, after);
        }
    }

    /// Puts the wakers that run functions have left where an order finds them.
    pub(super) fn take_wakers(&self, state: &mut State, after: &mut AfterUnlock) {
        self.0.inbox.lock().take_wakers(&mut after.waiting);
        for (key, waker) in after.waiting.drain(..) {
            let unwanted = match state.connection.tag_mut(key) {
                Some(tag) => state.pended.get_or_insert_default().leave_waker(tag, waker),
                None => Some(waker),
            };
            after.unwanted.extend(unwanted.map(Unwanted::Waker));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(count: usize) -> Vec<Finished> {
        let result = || Finished::new(TaskKey::default(), Ended::Dropped);
        std::iter::repeat_with(result).take(count).collect()
    }

    #[test]
    fn who_leaves_the_first_results_is_told_so_and_single_runners_count_once() {
        let mut inbox = Inbox::default();
        let left = inbox.leave(results(3), Runners::Single);
        assert!(matches!(left, Left::First));
        let left = inbox.leave(results(2), Runners::Other);
        assert!(matches!(left, Left::BehindOthers));
        let mut taken = Vec::new();
        assert_eq!(inbox.take_finished(Share::Turn, &mut taken), 3);
        assert_eq!(taken.len(), 5);
        let left = inbox.leave(results(1), Runners::Other);
        assert!(matches!(left, Left::First));
        assert_eq!(inbox.take_finished(Share::All, &mut taken), 0);
    }

    #[test]
    fn a_turn_takes_so_many_results_and_so_many_bytes() {
        let mut inbox = Inbox::default();
        let take = |inbox: &mut Inbox, share| {
            let mut taken = Vec::new();
            let singles = inbox.take_finished(share, &mut taken);
            assert_eq!(singles, taken.len());
            taken.len()
        };
        inbox.leave(results(TURN_RESULTS + 2), Runners::Single);
        assert_eq!(take(&mut inbox, Share::Turn), TURN_RESULTS);
        assert_eq!(take(&mut inbox, Share::Turn), 2);
        inbox.leave(results(TURN_RESULTS + 2), Runners::Single);
        assert_eq!(take(&mut inbox, Share::All), TURN_RESULTS + 2);
        let half = || Ended::Response(vec![0; TURN_BYTES / 2].into());
        let halves = std::iter::repeat_with(|| Finished::new(TaskKey::default(), half()));
        inbox.leave(halves.take(3).collect::<Vec<_>>(), Runners::Single);
        assert_eq!(take(&mut inbox, Share::Turn), 2);
        assert_eq!(take(&mut inbox, Share::Turn), 1);
    }

    #[test]
    fn nothing_is_left_in_an_inbox_that_is_closed_nor_wakers_in_one_that_is_full() {
        let mut inbox = Inbox::default();
        let leave_waker =
            |inbox: &mut Inbox| inbox.leave_waker(TaskKey::default(), Waker::noop().clone());
        for _ in 0..WAKERS_MOST {
            assert!(leave_waker(&mut inbox).is_none());
        }
        assert!(leave_waker(&mut inbox).is_some());
        let mut taken = Vec::new();
        inbox.take_wakers(&mut taken);
        assert_eq!(taken.len(), WAKERS_MOST);
        assert!(leave_waker(&mut inbox).is_none());
        inbox.is_closed = true;
        assert!(leave_waker(&mut inbox).is_some());
        match inbox.leave(results(1), Runners::Single) {
            Left::Refused(refused) => assert_eq!(refused.len(), 1),
            Left::First | Left::BehindOthers => panic!("nobody would commit it"),
        }
    }
}

//! The driver parks, is woken, and leaves.

use std::task::Waker;

use super::effects::AfterUnlock;
use super::{Driver, News, Noticed, Session, State};
use crate::proto::{ConnectionReport, Phase};
use crate::server::registry::Table;

/// Invariant 3: a parked driver is woken once, a busy one looks again.
pub(super) fn notice(state: &mut State, after: &mut AfterUnlock) {
    match state.driver {
        Driver::Parked => after.wakers.extend(state.driver_waker.take()),
        Driver::Busy(_) => {}
        Driver::Gone => return,
    }
    state.driver = Driver::Busy(Noticed::Something);
}

impl Session {
    /// Parks the driver unless something was noticed since its turn began.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if matches!(state.driver, Driver::Busy(Noticed::Something)) {
            return false;
        }
        state.driver = Driver::Parked;
        let kept = state.driver_waker.as_ref();
        if kept.is_some_and(|kept| kept.will_wake(waker)) {
            return true;
        }
        let other = state.driver_waker.replace(waker.clone());
        drop(state);
        drop(other);
        true
    }

    /// The connection is over, or is from now on: nobody wakes its driver any
    /// more. Also what had come for the driver meanwhile.
    pub(crate) fn leave(&self) -> (ConnectionReport, News) {
        self.close_inbox();
        let now = self.client().server.clock.now();
        let (gone, waker) = self.behind_results(now, |state, after| {
            state.driver = Driver::Gone;
            self.take_wakers(state, after);
            let waker = state.driver_waker.take();
            if state.connection.phase() != Phase::Closed {
                state.connection.close(now);
            }
            state.connection.settle();
            let news = state.for_driver.take();
            let gone = (state.connection.report(), news);
            (gone, waker)
        });
        drop(waker);
        self.change_table(&Table::default());
        gone
    }

    /// Wakes the driver, whatever it is doing.
    pub(crate) fn wake_driver(&self) {
        self.with(notice);
    }
}

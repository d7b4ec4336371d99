//! When the driver is woken for a deadline.

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::runtime::Timer;

/// A deadline nearer than this is asked for in each turn, so that a timer may be a
/// little early.
const NEAR: Duration = Duration::from_millis(10);

/// A timer that is polled as rarely as can be: what it holds is in nobody's cache.
pub(super) struct Alarm {
    timer: Box<dyn Timer>,
    /// When it wakes, and whom; it is re-armed only for earlier.
    armed: Option<(Instant, Waker)>,
}

impl Alarm {
    pub(super) const fn new(timer: Box<dyn Timer>) -> Self {
        Self { timer, armed: None }
    }

    /// Sees to it that the driver is woken at `deadline`; whether it has come already.
    pub(super) fn is_due(
        &mut self,
        deadline: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(deadline) = deadline else {
            return false;
        };
        let armed = self.armed.as_ref().filter(|(at, _)| *at <= deadline);
        let wakes = armed.is_some_and(|(_, waker)| waker.will_wake(cx.waker()));
        let at = armed.map_or(deadline, |(at, _)| *at);
        if wakes && at.saturating_duration_since(now) > NEAR {
            return false;
        }
        if self.timer.poll_until(at, cx).is_ready() {
            self.armed = None;
            return true;
        }
        if !wakes {
            self.armed = Some((at, cx.waker().clone()));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Poll, Wake};

    use super::*;

    /// Counts its polls; it is due once `at` has come, by a clock that stands still.
    struct Counted {
        polls: Arc<AtomicUsize>,
        now: Instant,
    }

    impl Timer for Counted {
        fn poll_until(&mut self, deadline: Instant, _: &mut Context<'_>) -> Poll<()> {
            self.polls.fetch_add(1, Ordering::Relaxed);
            match deadline <= self.now {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_timer_is_polled_for_what_it_does_not_know_and_for_what_is_near() {
        let (polls, now) = (Arc::default(), Instant::now());
        let timer = Counted {
            polls: Arc::clone(&polls),
            now,
        };
        let mut alarm = Alarm::new(Box::new(timer));
        let [one, other] = [(); 2].map(|()| Waker::from(Arc::new(Nobody)));
        let mut polled = |deadline: Option<Instant>, now, waker: &Waker| {
            let is_due = alarm.is_due(deadline, now, &mut Context::from_waker(waker));
            (is_due, polls.swap(0, Ordering::Relaxed))
        };
        assert_eq!(polled(None, now, &one), (false, 0));
        let at = now + 2 * SECOND;
        assert_eq!(polled(Some(at), now, &one), (false, 1), "the first");
        assert_eq!(polled(Some(at), now, &one), (false, 0), "the same");
        assert_eq!(polled(Some(at + SECOND), now, &one), (false, 0), "later");
        assert_eq!(polled(None, now, &one), (false, 0));
        assert_eq!(polled(Some(at), now, &other), (false, 1), "another waker");
        assert_eq!(polled(Some(at), now, &other), (false, 0), "the same");
        let earlier = at - SECOND;
        assert_eq!(polled(Some(earlier), now, &other), (false, 1), "earlier");
        assert_eq!(polled(Some(earlier), now, &other), (false, 0), "the same");
        let soon = earlier - NEAR;
        assert_eq!(polled(Some(earlier), soon, &other), (false, 1), "near");
        assert_eq!(polled(Some(earlier), soon, &other), (false, 1), "still");
        assert_eq!(polled(Some(now), now, &other), (true, 1), "due");
        assert_eq!(polled(Some(at), now, &other), (false, 1), "armed anew");
    }
}

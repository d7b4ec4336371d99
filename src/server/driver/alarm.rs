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

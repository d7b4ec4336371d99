//! Two clocks: one that stands still, and one that a model moves.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use asyncserver::runtime::{Clock, Timer};

use crate::shim::RwLock;

/// When all time begins.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Time stands still: no deadline ever comes, and whoever needs one waits for ever.
#[derive(Clone, Copy, Debug)]
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Instant {
        start()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(Self)
    }
}

impl Timer for StillClock {
    fn poll_until(&mut self, _: Instant, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Time passes when the model says so, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MovedClock(Arc<RwLock<Moved>>);

#[derive(Debug)]
struct Moved {
    now: Instant,
    next_timer: usize,
    armed: Vec<(usize, Instant, Waker)>,
}

impl MovedClock {
    /// At the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Moved {
            now: start(),
            next_timer: 0,
            armed: Vec::new(),
        })))
    }

    /// Time passes, and wakes whose deadline has come.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut moved = self.0.write();
            moved.now += by;
            let now = moved.now;
            let (due, armed) = std::mem::take(&mut moved.armed)
                .into_iter()
                .partition(|(_, at, _)| *at <= now);
            moved.armed = armed;
            due
        };
        wake_all(due);
    }
}

fn wake_all(due: Vec<(usize, Instant, Waker)>) {
    for (_, _, waker) in due {
        waker.wake();
    }
}

impl Default for MovedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Instant {
        self.0.read().now
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn timer(&self) -> Box<dyn Timer> {
        let mut moved = self.0.write();
        moved.next_timer += 1;
        Box::new(MovedTimer {
            clock: self.clone(),
            name: moved.next_timer,
        })
    }
}

struct MovedTimer {
    clock: MovedClock,
    name: usize,
}

impl Timer for MovedTimer {
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = self.clock.0.write();
        moved.armed.retain(|(name, ..)| *name != self.name);
        if deadline <= moved.now {
            return Poll::Ready(());
        }
        moved.armed.push((self.name, deadline, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for MovedTimer {
    fn drop(&mut self) {
        let mut moved = self.clock.0.write();
        moved.armed.retain(|(name, ..)| *name != self.name);
    }
}

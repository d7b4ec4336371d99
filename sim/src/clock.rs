//! The clock of a host: virtual time, and a wall clock that jumps when told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use asyncserver::runtime::{Clock, Timer, TokioClock};

use crate::time::SimTime;

/// The wall clock of every world at its start: 2020-01-01, 00:00 UTC.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_577_836_800);

/// A host's clock. A clone is the same clock.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver::runtime::Clock;
/// use asyncserver_sim::{SimClock, SimTime, WallJump};
/// use std::time::Duration;
///
/// let clock = SimClock::new(SimTime::from_now());
/// let (now, wall) = (clock.now(), clock.wall());
/// clock.jump(WallJump::Back(Duration::from_secs(3600)));
/// assert_eq!(clock.now(), now);
/// assert_eq!(clock.wall(), wall - Duration::from_secs(3600));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct SimClock {
    time: SimTime,
    /// Where the wall clock would have started, had it never jumped.
    origin: Arc<Mutex<SystemTime>>,
}

/// A jump of a wall clock.
///
/// ```
/// use asyncserver_sim::WallJump;
/// let summer = WallJump::Forward(std::time::Duration::from_secs(3600));
/// # drop(summer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WallJump {
    /// To a later time.
    Forward(Duration),
    /// To an earlier time.
    Back(Duration),
}

impl SimClock {
    /// A clock whose wall time is 2020-01-01 at the start of `time`.
    #[must_use]
    pub fn new(time: SimTime) -> Self {
        let origin = SystemTime::UNIX_EPOCH + EPOCH;
        Self {
            time,
            origin: Arc::new(Mutex::new(origin)),
        }
    }

    /// The wall clock jumps. It stays where it is if it cannot go there.
    pub fn jump(&self, jump: WallJump) {
        let mut origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        let jumped = match jump {
            WallJump::Forward(by) => origin.checked_add(by),
            WallJump::Back(by) => origin.checked_sub(by),
        };
        *origin = jumped.unwrap_or(*origin);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        TokioClock.now()
    }

    fn wall(&self) -> SystemTime {
        let origin = *self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        origin + self.time.elapsed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        TokioClock.timer()
    }
}

//! Virtual time since the start of a world, and how much happened at one instant.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::trace::Trace;

/// How long a world has existed, by the time of the runtime that it runs in.
///
/// Hosts of turmoil have a runtime each, and the clocks of these share no
/// origin: whatever two hosts share must speak of durations since the start,
/// never of instants.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// let time = asyncserver_sim::SimTime::from_now();
/// tokio::time::sleep(Duration::from_millis(5)).await;
/// assert_eq!(time.elapsed(), Duration::from_millis(5));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct SimTime {
    source: Source,
    /// What it was last: turmoil tells none while it drops a host.
    latest_nanos: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Source {
    Tokio { start: tokio::time::Instant },
    Turmoil,
}

impl SimTime {
    /// The time of the Tokio runtime within which it is called, from now on.
    #[must_use]
    pub fn from_now() -> Self {
        let start = tokio::time::Instant::now();
        Self::new(Source::Tokio { start })
    }

    /// The time of the turmoil simulation within which it is used.
    #[must_use]
    pub fn of_turmoil() -> Self {
        Self::new(Source::Turmoil)
    }

    fn new(source: Source) -> Self {
        let latest_nanos = Arc::new(AtomicU64::new(0));
        Self {
            source,
            latest_nanos,
        }
    }

    /// How long it has been since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.source {
            Source::Tokio { start } => start.elapsed(),
            Source::Turmoil => {
                let latest = || Duration::from_nanos(self.latest_nanos.load(Ordering::Relaxed));
                // A host that crashes drops its tasks outside its runtime, where
                // turmoil would subtract virtual time from real time.
                if tokio::runtime::Handle::try_current().is_err() {
                    return latest();
                }
                let Some(elapsed) = turmoil::sim_elapsed() else {
                    return latest();
                };
                let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
                self.latest_nanos.store(nanos, Ordering::Relaxed);
                elapsed
            }
        }
    }
}

/// What every part of a world reports to: the time, the trace, and the count of
/// polls at one instant.
///
/// A clone is the same probe.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver_sim::{Probe, SimTime, Trace};
/// let probe = Probe::new(SimTime::from_now(), Trace::full());
/// probe.record("example", format_args!("it happened"));
/// assert_eq!(probe.trace().text(), "0.000000 example it happened\n");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    time: SimTime,
    trace: Trace,
    budget: Arc<Mutex<PollBudget>>,
}

/// Polls that are allowed while virtual time stands still.
pub(crate) const POLLS_AT_ONE_INSTANT: u64 = 1_000_000;

#[derive(Debug)]
struct PollBudget {
    limit: u64,
    instant: Duration,
    polls: u64,
    exceeded: Option<Livelock>,
}

/// Virtual time stood still while things went on being polled.
///
/// ```
/// fn show(livelock: &asyncserver_sim::Livelock) { println!("{livelock}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{polls} polls at {at:?} without time passing, the last one of {last}")]
pub struct Livelock {
    /// When, since the start.
    pub at: Duration,
    /// How many polls there were.
    pub polls: u64,
    /// What was polled last.
    pub last: String,
}

impl Probe {
    /// A probe of this time that writes to this trace.
    #[must_use]
    pub fn new(time: SimTime, trace: Trace) -> Self {
        let budget = PollBudget {
            limit: POLLS_AT_ONE_INSTANT,
            instant: Duration::ZERO,
            polls: 0,
            exceeded: None,
        };
        Self {
            time,
            trace,
            budget: Arc::new(Mutex::new(budget)),
        }
    }

    /// Sets how many polls are allowed at one instant. Default 1,000,000.
    #[must_use]
    pub fn poll_limit(self, limit: u64) -> Self {
        self.locked().limit = limit;
        self
    }

    /// How long the world has existed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.time.elapsed()
    }

    /// The world's time.
    #[must_use]
    pub const fn time(&self) -> &SimTime {
        &self.time
    }

    /// Where events are written.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes an event of `who` to the trace.
    pub fn record(&self, who: &str, event: std::fmt::Arguments<'_>) {
        if self.trace.is_on() {
            self.trace.record(self.elapsed(), who, event);
        }
    }

    /// Counts a poll of `who`; `Frozen` once there were too many at one instant,
    /// from when on nothing may wake itself any more.
    #[must_use]
    pub fn count_poll(&self, who: &str) -> Going {
        let now = self.elapsed();
        let mut budget = self.locked();
        if budget.exceeded.is_some() {
            return Going::Frozen;
        }
        if budget.instant != now {
            budget.instant = now;
            budget.polls = 0;
        }
        budget.polls += 1;
        if budget.polls <= budget.limit {
            return Going::On { now };
        }
        budget.exceeded = Some(Livelock {
            at: now,
            polls: budget.polls,
            last: who.to_owned(),
        });
        Going::Frozen
    }

    /// The livelock, if there was one.
    #[must_use]
    pub fn livelock(&self) -> Option<Livelock> {
        self.locked().exceeded.clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, PollBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the world still goes on.
///
/// ```
/// use asyncserver_sim::Going;
/// fn stands(going: Going) -> bool { going == Going::Frozen }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It does.
    On {
        /// How long it has existed.
        now: Duration,
    },
    /// It is in a livelock, and stands.
    Frozen,
}

//! What the servers' functions do before they answer.

use std::hint::black_box;
use std::time::{Duration, Instant};

use asyncserver::wire::TaskCode;

/// What a request asks for. Every function answers with the message it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Is ready at once.
    Ready,
    /// Lets others go first, once.
    Yield,
    /// Waits for 1 ms.
    Sleep,
    /// Computes for 50 µs.
    Burn,
    /// Waits until it is cancelled.
    Wait,
}

/// How long [`Handler::Sleep`] waits.
pub(crate) const SLEEP: Duration = Duration::from_millis(1);
/// How long [`Handler::Burn`] computes.
const BURN: Duration = Duration::from_micros(50);

impl Handler {
    /// What it does, for titles.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Ready => "ready at once",
            Self::Yield => "yielding once",
            Self::Sleep => "sleeping 1 ms",
            Self::Burn => "computing 50 µs",
            Self::Wait => "waiting until cancelled",
        }
    }

    pub(crate) const fn code(self) -> TaskCode {
        TaskCode(match self {
            Self::Ready => 1,
            Self::Yield => 2,
            Self::Sleep => 3,
            Self::Burn => 4,
            Self::Wait => 5,
        })
    }
}

/// Takes a message as it comes, and answers with its length: eight bytes, big endian.
pub(crate) const COUNT: TaskCode = TaskCode(6);
/// The same with the message as a whole.
pub(crate) const COUNT_WHOLE: TaskCode = TaskCode(7);
/// Answers with a body as long as the message says, in the same eight bytes.
pub(crate) const PRODUCE: TaskCode = TaskCode(8);
/// The same with a body that is there as a whole.
pub(crate) const PRODUCE_WHOLE: TaskCode = TaskCode(9);

/// How much [`Handler::Burn`] computes: the same for all contenders of a run,
/// whatever their threads are interrupted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BurnSteps(pub(crate) u64);

impl BurnSteps {
    /// As many as take this machine 50 µs.
    pub(crate) fn calibrate() -> Self {
        const STEPS: u64 = 100_000;
        let least = (0..50).map(|_| {
            let began = Instant::now();
            Self(STEPS).burn();
            began.elapsed()
        });
        let least = least.min().unwrap_or(BURN).max(Duration::from_nanos(1));
        Self((STEPS as f64 * BURN.as_secs_f64() / least.as_secs_f64()) as u64)
    }

    pub(crate) fn burn(self) {
        let mut value = 1_u64;
        for step in 0..self.0 {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005) ^ step);
        }
    }
}

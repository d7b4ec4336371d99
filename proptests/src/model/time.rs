//! Virtual time: nanoseconds since the case began.

use std::time::{Duration, Instant};

/// A point in time, or a length of time, in nanoseconds.
pub type Nanos = u64;

/// A duration that no clock can add (PROTOCOL D2: "is no deadline").
pub const NEVER: Nanos = u64::MAX;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// `now` and `after` later; `None` if the clock cannot add that.
#[must_use]
pub const fn later(now: Nanos, after: Nanos) -> Option<Nanos> {
    if after == NEVER {
        None
    } else {
        Some(now + after)
    }
}

/// Whether `at` has come by `now`.
#[must_use]
pub fn has_come(at: Option<Nanos>, now: Nanos) -> bool {
    at.is_some_and(|at| at <= now)
}

/// The earliest of some points in time.
#[must_use]
pub fn earliest(points: impl IntoIterator<Item = Option<Nanos>>) -> Option<Nanos> {
    points.into_iter().flatten().min()
}

/// The library's clock beside the model's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        // Any instant does: only differences are ever looked at.
        Self {
            base: Instant::now(),
        }
    }
}

impl Clock {
    /// The library's name for a point in time.
    #[must_use]
    pub fn at(&self, nanos: Nanos) -> Instant {
        self.base + Duration::from_nanos(nanos)
    }

    /// The model's name for a point in time.
    #[must_use]
    pub fn nanos(&self, at: Instant) -> Nanos {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(NEVER)
    }

    /// As [`nanos`](Self::nanos), of a deadline.
    #[must_use]
    pub fn deadline(&self, at: Option<Instant>) -> Option<Nanos> {
        at.map(|at| self.nanos(at))
    }
}

/// The library's form of a length of time.
#[must_use]
pub const fn duration(nanos: Nanos) -> Duration {
    if nanos == NEVER {
        Duration::MAX
    } else {
        Duration::from_nanos(nanos)
    }
}

/// How far the clock goes: by itself, or to a deadline, just before it or just
/// behind it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub enum Jump {
    /// By this much.
    By(Nanos),
    /// To the next deadline, and so many nanoseconds further.
    ToDeadline(i8),
}

impl Jump {
    /// The time after it; without a deadline nothing changes.
    #[must_use]
    pub fn from(self, now: Nanos, deadline: Option<Nanos>) -> Nanos {
        let at = match self {
            Self::By(nanos) => now.saturating_add(nanos),
            Self::ToDeadline(further) => {
                let at = deadline.unwrap_or(now);
                at.saturating_add_signed(i64::from(further))
            }
        };
        // A case never comes near to what the clock cannot add.
        at.clamp(now, now.max(1 << 58))
    }
}

/// Jumps around deadlines, and small ones.
pub fn jumps() -> impl proptest::strategy::Strategy<Value = Jump> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (-1..=1_i8).prop_map(Jump::ToDeadline),
        2 => (0..4_u64).prop_map(Jump::By),
        2 => (0..3 * SECOND).prop_map(Jump::By),
        1 => prop::sample::select(vec![1_000_000, SECOND, 5 * SECOND]).prop_map(Jump::By),
    ]
}

/// Lengths of time: none, very short ones, those of the defaults, never.
pub fn lengths() -> impl proptest::strategy::Strategy<Value = Nanos> {
    use proptest::prelude::*;
    prop_oneof![
        1 => Just(0_u64),
        2 => 1..4_u64,
        4 => prop::sample::select(vec![1_000_000, SECOND / 2, SECOND, 2 * SECOND, 5 * SECOND]),
        1 => 0..10 * SECOND,
        1 => Just(NEVER),
    ]
}

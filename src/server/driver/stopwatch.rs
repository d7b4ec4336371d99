//! How long run functions hold up the driver that polls them in place.

use std::time::Instant;

use crate::runtime::Clock;
use crate::server::registration::Registered;
use crate::server::run::SLOW_POLL;

/// Polls between two looks at the clock: a look each time would cost a good
/// part of what most functions do.
const UNWATCHED: u32 = 8;

/// Finds out whose polls in place are slow: looks now and then, from turn to
/// turn, and closely for as long as they are.
pub(super) struct Stopwatch {
    looked_at: Instant,
    polls: u32,
    looks_closely: bool,
}

impl Stopwatch {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            looked_at: now,
            polls: 0,
            looks_closely: false,
        }
    }

    /// What has passed before a turn is nobody's poll.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.looked_at = now;
    }

    /// A run function of this registration has been polled.
    pub(super) fn polled(&mut self, registered: &Registered, clock: &dyn Clock) {
        self.polls = self.polls.wrapping_add(1);
        if !self.looks_closely && !self.polls.is_multiple_of(UNWATCHED) {
            return;
        }
        let now = clock.now();
        let was_slow = now.saturating_duration_since(self.looked_at) > SLOW_POLL;
        self.looked_at = now;
        if self.looks_closely {
            registered.note_poll(was_slow);
        }
        self.looks_closely = was_slow;
    }
}

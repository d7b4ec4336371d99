//! Whether a direction keeps to the time that it takes by itself, which is what
//! whoever judges a connection may rely on.

use std::time::Duration;

use super::{Flow, Hold, Pipe};

/// Never, by time alone.
pub(crate) const FOR_EVER: Duration = Duration::MAX;

/// What a reader does with what has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Appetite {
    /// It takes it at once.
    #[default]
    Hungry,
    /// It takes it later, or not at all.
    Slow,
}

/// Whether the writer has more than there is room for.
///
/// ```text
/// None ── a write finds no room ──► Waiting ◄── no room again ──┐
///                                      └──── a read makes room ──┴► Relieved
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Crowd {
    #[default]
    None,
    Waiting,
    /// All that waited has found room then, unless a write says otherwise.
    Relieved {
        at: Duration,
    },
}

impl Pipe {
    /// Until when bytes may come out later than the direction's own time says;
    /// `None`: they are in time.
    pub(crate) fn late_until(&self, now: Duration) -> Option<Duration> {
        let is_held = self.hold == Hold::Held || self.flow == Flow::Silent;
        let is_slow = self.faults.limits_rate() || self.appetite == Appetite::Slow;
        if is_held || is_slow || self.crowd == Crowd::Waiting {
            return Some(FOR_EVER);
        }
        let mut until = self.struck.readable_from();
        if let Crowd::Relieved { at } = self.crowd
            && at >= now
        {
            return Some(until.max(at));
        }
        // What a limited rate has put off, once the rate is not limited any more.
        if self.last_due > now + self.promised {
            until = until.max(self.last_due);
        }
        Some(until).filter(|until| *until > now)
    }

    /// What the writer writes is swallowed from now on.
    pub(crate) const fn is_truncated(&self) -> bool {
        matches!(self.flow, Flow::Truncated { .. })
    }

    /// Whether its end is on its way to the reader, sent by the writer or made by a fault.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.flow, Flow::Finished { due } | Flow::Truncated { due } if due < FOR_EVER)
    }

    pub(crate) const fn set_appetite(&mut self, appetite: Appetite) {
        self.appetite = appetite;
    }

    /// A write has found no room. Without delays it finds some as soon as the
    /// reader reads; with them, the rest sets out later than it was given.
    pub(super) fn waits_for_room(&mut self) {
        if !self.promised.is_zero() {
            self.crowd = Crowd::Waiting;
        }
    }

    /// A read has made room.
    pub(super) fn makes_room(&mut self, now: Duration) {
        if self.crowd == Crowd::Waiting {
            self.crowd = Crowd::Relieved { at: now };
        }
    }
}

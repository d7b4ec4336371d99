//! How a direction behaves by itself, from its first byte on: sizes, times and
//! rates.
//!
//! To add one: a field of [`LinkFaults`] with its default, what it does in one
//! of the questions that the pipe asks, and its chance in `random_delays`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FaultAtByte;
use crate::rng::Rng;

/// How one direction of a connection behaves, from its first byte on.
///
/// The default is a fast and faithful direction. All of it is plain data: what
/// is random within it comes from the link's own stream of numbers.
///
/// ```
/// use asyncserver_sim::LinkFaults;
/// let faults: LinkFaults = serde_json::from_str(r#"{"latency_ms": 20}"#).unwrap();
/// assert_eq!(faults.latency_ms, 20);
/// assert_eq!(faults.write_at_most_bytes, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFaults {
    /// A write takes a random number of bytes up to this; `None`: all that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_at_most_bytes: Option<u32>,
    /// A read brings a random number of bytes up to this; `None`: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at_most_bytes: Option<u32>,
    /// Bytes on their way, those that wait for the reader too; with so many,
    /// writes wait. 0 counts as 1.
    pub buffer_bytes: u32,
    /// The time that each byte takes.
    #[serde(skip_serializing_if = "is_zero")]
    pub latency_ms: u32,
    /// A random time up to this comes on top of it, for each write anew. Bytes
    /// never overtake each other.
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter_ms: u32,
    /// Bytes per second that the direction carries; `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u32>,
    /// Bytes per second that the reader takes; `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<u32>,
    /// In how many of a thousand polls that would wait the task is woken for nothing.
    #[serde(skip_serializing_if = "is_zero_permille")]
    pub spurious_wake_permille: u16,
    /// Faults that strike when the writer has written so many bytes, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_bytes: Vec<FaultAtByte>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero_permille(value: &u16) -> bool {
    *value == 0
}

/// A tolerance of more would leave little to judge.
const MOST_QUEUED: Duration = Duration::from_secs(1);

impl Default for LinkFaults {
    fn default() -> Self {
        Self {
            write_at_most_bytes: None,
            read_at_most_bytes: None,
            buffer_bytes: 64 << 10,
            latency_ms: 0,
            jitter_ms: 0,
            bytes_per_second: None,
            read_bytes_per_second: None,
            spurious_wake_permille: 0,
            at_bytes: Vec::new(),
        }
    }
}

impl LinkFaults {
    /// Random behaviour that loses nothing: sizes, times and wake-ups alone.
    #[must_use]
    pub fn random_delays(rng: &mut Rng) -> Self {
        let mut faults = Self::default();
        if rng.chance(500) {
            faults.write_at_most_bytes = u32::try_from(rng.size(4096)).ok();
        }
        if rng.chance(500) {
            faults.read_at_most_bytes = u32::try_from(rng.size(4096)).ok();
        }
        if rng.chance(500) {
            faults.buffer_bytes = u32::try_from(rng.size(16 << 10)).unwrap_or(1);
        }
        if rng.chance(700) {
            faults.latency_ms = u32::try_from(rng.size(64)).unwrap_or(1);
            faults.jitter_ms = u32::try_from(rng.below(u64::from(faults.latency_ms))).unwrap_or(0);
        }
        if rng.chance(150) {
            faults.bytes_per_second = u32::try_from(rng.between(2_000, 200_000)).ok();
        }
        if rng.chance(100) {
            faults.read_bytes_per_second = u32::try_from(rng.between(2_000, 200_000)).ok();
        }
        if rng.chance(300) {
            faults.spurious_wake_permille = u16::try_from(rng.between(1, 300)).unwrap_or(0);
        }
        faults
    }

    /// The same, and perhaps faults that end the connection, or make it as good as dead.
    #[must_use]
    pub fn random_failures(rng: &mut Rng) -> Self {
        let mut faults = Self::random_delays(rng);
        if rng.chance(400) {
            faults.at_bytes.push(FaultAtByte::random_ending(rng));
        }
        faults
    }

    // What the pipe asks. Each draws in the same order for the same plan, and
    // nothing where nothing is random: a calm link costs nothing.

    /// The longest time that the last byte takes behind all that waits with it, as far
    /// as that is worth allowing for.
    pub(crate) fn longest_behind_others(&self) -> Duration {
        let rate = self.bytes_per_second;
        let queued = rate.map(|rate| time_of(self.buffer_limit(), rate));
        self.longest_on_the_way() + queued.unwrap_or_default().min(MOST_QUEUED)
    }

    /// The longest time that a byte takes, where its rate is not limited.
    pub(crate) fn longest_on_the_way(&self) -> Duration {
        Duration::from_millis(u64::from(self.latency_ms) + u64::from(self.jitter_ms))
    }

    /// Whether bytes take longer than that.
    pub(crate) const fn limits_rate(&self) -> bool {
        self.bytes_per_second.is_some() || self.read_bytes_per_second.is_some()
    }

    pub(crate) const fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms as u64)
    }

    pub(crate) fn wakes_for_nothing(&self, rng: &mut Rng) -> bool {
        self.spurious_wake_permille > 0 && rng.chance(self.spurious_wake_permille)
    }

    pub(crate) fn buffer_limit(&self) -> usize {
        usize::try_from(self.buffer_bytes.max(1)).unwrap_or(usize::MAX)
    }

    /// How many bytes a write takes of so many that there is room for.
    pub(crate) fn write_size(&self, rng: &mut Rng, room: usize) -> usize {
        match self.write_at_most_bytes {
            Some(most) if room > 1 => room.min(random_size(rng, most)),
            _ => room,
        }
    }

    /// How many bytes a read brings at most into so much room.
    pub(crate) fn read_size(&self, rng: &mut Rng, room: usize) -> usize {
        match self.read_at_most_bytes {
            Some(most) if room > 0 => room.min(random_size(rng, most)),
            _ => room,
        }
    }

    /// When bytes that are written now arrive, behind what arrives at `last_due`.
    pub(crate) fn due(
        &self,
        rng: &mut Rng,
        now: Duration,
        last_due: Duration,
        bytes: usize,
    ) -> Duration {
        let mut due = now + self.latency();
        if self.jitter_ms > 0 {
            due += rng.up_to_ms(self.jitter_ms);
        }
        due = due.max(last_due);
        if let Some(rate) = self.bytes_per_second {
            due += time_of(bytes, rate);
        }
        due
    }

    /// When a reader that has taken so many bytes now takes more.
    pub(crate) fn reads_again_at(&self, now: Duration, bytes: usize) -> Option<Duration> {
        let rate = self.read_bytes_per_second?;
        Some(now + time_of(bytes, rate))
    }
}

fn random_size(rng: &mut Rng, most: u32) -> usize {
    let size = rng.between(1, u64::from(most.max(1)));
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn time_of(bytes: usize, per_second: u32) -> Duration {
    let nanos = bytes as u64 * 1_000_000_000 / u64::from(per_second.max(1));
    Duration::from_nanos(nanos)
}

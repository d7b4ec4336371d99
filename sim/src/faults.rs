//! What can go wrong with a connection, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
            let fault = match rng.below(8) {
                0..4 => Fault::Reset,
                4 => Fault::Truncate,
                5 => Fault::SilentDeath,
                6 => Fault::HalfClose,
                _ => Fault::Stall {
                    ms: u32::try_from(rng.between(1, 3000)).unwrap_or(1),
                },
            };
            let byte = rng.size(8192);
            faults.at_bytes.push(FaultAtByte { byte, fault });
        }
        faults
    }

    pub(crate) const fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms as u64)
    }
}

/// A fault that strikes once the writer has written so many bytes.
///
/// ```
/// use asyncserver_sim::{Fault, FaultAtByte};
/// let third_byte_flipped = FaultAtByte { byte: 2, fault: Fault::Corrupt { xor: 0xff } };
/// let json = serde_json::to_string(&third_byte_flipped).unwrap();
/// assert_eq!(json, r#"{"byte":2,"fault":{"Corrupt":{"xor":255}}}"#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultAtByte {
    /// How many bytes come through before it.
    pub byte: u64,
    /// What happens.
    pub fault: Fault,
}

/// Something that happens to one direction of a connection.
///
/// ```
/// use asyncserver_sim::Fault;
/// assert_ne!(Fault::Reset, Fault::SilentDeath);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset, both directions of it: whatever waits fails at
    /// once, and what was on its way is lost. Struck at a byte, it waits until
    /// the bytes before have arrived.
    Reset,
    /// The writer's end is closed as if it had closed it itself: the reader
    /// gets what is on its way, then the end of the stream; writes fail.
    HalfClose,
    /// The reader gets what is on its way, then the end of the stream; what the
    /// writer writes is swallowed until the buffer is full.
    Truncate,
    /// From now on nothing comes out: reads wait for ever, writes are swallowed
    /// until the buffer is full, and the other end's closing is not noticed.
    SilentDeath,
    /// The next byte that is written is changed by an exclusive or.
    Corrupt {
        /// The bits that are flipped.
        xor: u8,
    },
    /// Nothing comes out for so long.
    Stall {
        /// How long, in milliseconds.
        ms: u32,
    },
    /// From now on the reader takes no more than so many bytes a second.
    SlowReader {
        /// Bytes per second. 0 counts as 1.
        bytes_per_second: u32,
    },
    /// The writer's next flush fails, once.
    FlushFails,
    /// The writer's next shutdown of its direction fails, once.
    ShutdownFails,
    /// Whoever waits at either end of the direction is woken for nothing.
    SpuriousWake,
}

//! What strikes one direction of a connection, at a byte or at any time.
//!
//! To add one, here and nowhere else:
//! 1. a variant of [`Fault`], which says what it does;
//! 2. what it does at once, in [`Pipe::strike`];
//! 3. what it leaves behind, if anything: a field of [`Struck`], and its effect
//!    in one of the questions that the pipe asks there;
//! 4. its chance in [`Fault::random`].

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pipe::Pipe;
use crate::rng::Rng;

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

impl FaultAtByte {
    /// A fault that ends the connection, or makes it as good as dead, somewhere.
    pub(crate) fn random_ending(rng: &mut Rng) -> Self {
        let fault = match rng.below(8) {
            0..4 => Fault::Reset,
            4 => Fault::Truncate,
            5 => Fault::SilentDeath,
            6 => Fault::HalfClose,
            _ => Fault::stall(rng),
        };
        let byte = rng.size(8192);
        Self { byte, fault }
    }
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
    /// The connection is reset, both directions of it: whatever waits goes on at
    /// once. What had arrived may still be read, the rest is lost. Each end is
    /// given one error, after which reads find the end of the stream, and writes
    /// a broken pipe. Struck at a byte, it waits until the bytes before have arrived.
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

impl Fault {
    /// Any of them but [`Fault::Corrupt`], which no peer is bound to survive.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        match rng.below(9) {
            0 => Self::Reset,
            1 => Self::HalfClose,
            2 => Self::Truncate,
            3 => Self::SilentDeath,
            4 => Self::stall(rng),
            5 => Self::SlowReader {
                bytes_per_second: u32::try_from(rng.between(2_000, 200_000)).unwrap_or(1),
            },
            6 => Self::FlushFails,
            7 => Self::ShutdownFails,
            _ => Self::SpuriousWake,
        }
    }

    pub(crate) const fn reach(self) -> Reach {
        match self {
            Self::Reset => Reach::Connection,
            _ => Reach::Direction,
        }
    }

    fn stall(rng: &mut Rng) -> Self {
        let ms = u32::try_from(rng.between(1, 3000)).unwrap_or(1);
        Self::Stall { ms }
    }
}

/// How much of a connection a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Direction,
    /// All of it: both halves, where a transport lies between two.
    Connection,
}

/// What faults that have struck a direction left behind in it.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    stalled_until: Duration,
    corrupt_next: u8,
    flush: Coming,
    shutdown: Coming,
}

/// How the next flush, or shutdown, ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coming {
    #[default]
    Success,
    Failure,
}

/// What a fault does to the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    ResetAt(Duration),
}

impl Pipe {
    /// The fault strikes the direction, now.
    pub(crate) fn strike(&mut self, fault: Fault, now: Duration) -> Consequence {
        let struck = &mut self.struck;
        match fault {
            Fault::Reset => return Consequence::ResetAt(now),
            Fault::HalfClose => drop(self.finish(now)),
            Fault::Truncate => self.truncate(now),
            Fault::SilentDeath => self.fall_silent(),
            Fault::Corrupt { xor } => struck.corrupt_next = xor,
            Fault::Stall { ms } => {
                let until = now + Duration::from_millis(u64::from(ms));
                struck.stalled_until = struck.stalled_until.max(until);
            }
            Fault::SlowReader { bytes_per_second } => {
                self.faults.read_bytes_per_second = Some(bytes_per_second);
            }
            Fault::FlushFails => struck.flush = Coming::Failure,
            Fault::ShutdownFails => struck.shutdown = Coming::Failure,
            // The link wakes both ends after any fault.
            Fault::SpuriousWake => {}
        }
        Consequence::None
    }
}

/// What the pipe asks, at each step of a byte's way.
impl Struck {
    /// Bytes of one write, before they set out.
    pub(crate) fn alter(&mut self, bytes: &mut [u8]) {
        if let Some(first) = bytes.first_mut() {
            *first ^= std::mem::take(&mut self.corrupt_next);
        }
    }

    /// Nothing may be read before this.
    pub(crate) const fn readable_from(&self) -> Duration {
        self.stalled_until
    }

    /// How the writer's flush ends.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.flush).end()
    }

    /// How the writer's shutdown of its direction ends.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.shutdown).end()
    }
}

impl Coming {
    fn end(self) -> io::Result<()> {
        match self {
            Self::Success => Ok(()),
            Self::Failure => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Seed;

    /// The compiler asks here for a fault that was added.
    const fn number(fault: Fault) -> u8 {
        match fault {
            Fault::Reset => 0,
            Fault::HalfClose => 1,
            Fault::Truncate => 2,
            Fault::SilentDeath => 3,
            Fault::Stall { .. } => 4,
            Fault::SlowReader { .. } => 5,
            Fault::FlushFails => 6,
            Fault::ShutdownFails => 7,
            Fault::SpuriousWake => 8,
            Fault::Corrupt { .. } => 9,
        }
    }

    #[test]
    fn every_fault_but_corruption_comes_at_random() {
        let mut rng = Seed(1).stream();
        let seen: BTreeSet<_> = (0..500).map(|_| number(Fault::random(&mut rng))).collect();
        assert_eq!(seen, (0..9).collect());
    }
}

//! One direction of a connection: which bytes are on their way, when they may
//! be read, and what has gone wrong. Pure: time is an argument, a duration
//! since the start of the world.

use std::collections::VecDeque;
use std::time::Duration;

use crate::faults::{Consequence, LinkFaults, Struck};
use crate::rng::Rng;
use altered::Altered;
use pace::Crowd;

pub(crate) use pace::{Appetite, FOR_EVER};

/// One direction, from its writer to its reader.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// How it behaves by itself.
    pub(crate) faults: LinkFaults,
    /// What faults that struck it left behind.
    pub(crate) struck: Struck,
    rng: Rng,
    /// How many of `faults.at_bytes` have struck.
    strikes: usize,
    /// Bytes that the writer has written, swallowed ones too.
    written: u64,
    read: u64,
    on_their_way: VecDeque<Parcel>,
    buffered_bytes: usize,
    /// Nothing written later arrives before this.
    last_due: Duration,
    hold: Hold,
    /// A slow reader takes nothing before this.
    read_not_before: Duration,
    flow: Flow,
    writer: Writer,
    reader: Reader,
    altered: Altered,
    appetite: Appetite,
    crowd: Crowd,
    /// The longest time that a byte takes by itself.
    promised: Duration,
}

/// Bytes of one write.
#[derive(Debug)]
struct Parcel {
    due: Duration,
    bytes: Vec<u8>,
    /// What the writer had written, where that is something else.
    written: Option<Vec<u8>>,
    taken: usize,
}

/// ```text
/// Open ── shutdown, half-close, writer gone ──► Finished
///   ├──── truncated ──────────────────────────► Truncated
///   └──── silent death ───────────────────────► Silent     (from any)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The end of the stream is behind what is on its way, and arrives then.
    Finished {
        due: Duration,
    },
    /// The same to the reader; the writer has noticed nothing.
    Truncated {
        due: Duration,
    },
    Silent,
}

/// Whether a network that is cut holds everything back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Released,
    Held,
}

/// Whether it may still be written, whatever becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    There,
    /// What arrives is answered with a reset.
    Gone,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Taken {
        bytes: usize,
        /// The connection is to be reset then.
        reset: Option<(ResetBy, Duration)>,
    },
    /// The buffer is full.
    Full,
    /// The direction is closed.
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(usize),
    EndOfStream,
    /// Nothing before then; `None`: not by time alone.
    Nothing(Option<Duration>),
}

/// What resets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetBy {
    /// A fault, which both ends notice whatever the network is like.
    Fault,
    /// A packet of the other end's, which a cut or dead direction holds back.
    Packet,
}

impl Pipe {
    pub(crate) fn new(faults: LinkFaults, rng: Rng) -> Self {
        Self {
            promised: faults.longest_on_the_way(),
            faults,
            struck: Struck::default(),
            rng,
            strikes: 0,
            written: 0,
            read: 0,
            on_their_way: VecDeque::new(),
            buffered_bytes: 0,
            last_due: Duration::ZERO,
            hold: Hold::Released,
            read_not_before: Duration::ZERO,
            flow: Flow::Open,
            writer: Writer::Open,
            reader: Reader::There,
            altered: Altered::default(),
            appetite: Appetite::default(),
            crowd: Crowd::default(),
        }
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// How many faults at a byte have struck.
    pub(crate) const fn strikes(&self) -> usize {
        self.strikes
    }

    pub(crate) const fn read_bytes(&self) -> u64 {
        self.read
    }

    pub(crate) const fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    pub(crate) const fn latency(&self) -> Duration {
        self.faults.latency()
    }

    pub(crate) fn wakes_for_nothing(&mut self) -> bool {
        self.faults.wakes_for_nothing(&mut self.rng)
    }

    // The writer's side.

    pub(crate) fn write(&mut self, now: Duration, bytes: &[u8]) -> Written {
        if self.writer == Writer::Closed {
            return Written::Closed;
        }
        let mut reset = None;
        if let Consequence::ResetAt(at) = self.strike_at_this_byte(now) {
            reset = Some((ResetBy::Fault, at));
            if matches!(self.flow, Flow::Open) {
                // What follows the byte never arrives.
                self.flow = Flow::Truncated { due: Duration::MAX };
            }
        }
        if self.writer == Writer::Closed {
            return Written::Closed;
        }
        let taken = self.room_for(bytes.len());
        // Not even nothing is taken by a full buffer, as by a kernel's.
        if taken == 0 && (!bytes.is_empty() || self.buffered_bytes >= self.faults.buffer_limit()) {
            return match reset {
                // The buffer is full, yet the fault is to be told.
                Some(_) => Written::Taken { bytes: 0, reset },
                None => {
                    self.waits_for_room();
                    Written::Full
                }
            };
        }
        if self.reader == Reader::Gone && self.flow != Flow::Silent {
            let answered = now.max(self.last_due) + self.latency() * 2;
            reset = reset.or(Some((ResetBy::Packet, answered)));
        }
        self.carry(now, &bytes[..taken]);
        Written::Taken {
            bytes: taken,
            reset,
        }
    }

    fn room_for(&mut self, bytes: usize) -> usize {
        let room = self.faults.buffer_limit();
        let mut room = bytes.min(room.saturating_sub(self.buffered_bytes));
        if let Some(strike) = self.faults.at_bytes.get(self.strikes) {
            let before = strike.byte.saturating_sub(self.written);
            room = room.min(usize::try_from(before).unwrap_or(usize::MAX));
        }
        self.faults.write_size(&mut self.rng, room)
    }

    fn carry(&mut self, now: Duration, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.buffered_bytes += bytes.len();
        self.altered.set_out = self.is_truncated().then(Vec::new);
        let goes_nowhere = self.is_truncated() || self.reader == Reader::Gone;
        if goes_nowhere && self.flow != Flow::Silent {
            // It fills the buffer, or a writer could go on for ever at one instant.
            return;
        }
        let mut out = bytes.to_vec();
        self.struck.alter(&mut out);
        let written = self.altered.note(bytes, &out);
        let bytes = out;
        let due = (self.faults).due(&mut self.rng, now, self.last_due, bytes.len());
        self.last_due = due;
        self.on_their_way.push_back(Parcel {
            due,
            bytes,
            written,
            taken: 0,
        });
    }

    /// Faults whose byte has come, in their order.
    fn strike_at_this_byte(&mut self, now: Duration) -> Consequence {
        while let Some(strike) = self.faults.at_bytes.get(self.strikes).copied() {
            if strike.byte > self.written {
                break;
            }
            self.strikes += 1;
            let arrived = now.max(self.last_due);
            if let Consequence::ResetAt(_) = self.strike(strike.fault, now) {
                return Consequence::ResetAt(arrived);
            }
        }
        Consequence::None
    }

    /// The writer ends the stream; whether it does, or had been ended before.
    pub(crate) fn finish(&mut self, now: Duration) -> bool {
        let ends = self.flow == Flow::Open;
        if ends {
            let due = self.last_due.max(now + self.latency());
            self.flow = Flow::Finished { due };
            self.writer = Writer::Closed;
        }
        ends
    }

    /// The reader hears the end; the writer notices nothing.
    pub(crate) fn truncate(&mut self, now: Duration) {
        if self.flow == Flow::Open {
            let due = self.last_due.max(now + self.latency());
            self.flow = Flow::Truncated { due };
        }
    }

    /// From now on nobody hears anything.
    pub(crate) const fn fall_silent(&mut self) {
        self.flow = Flow::Silent;
    }

    // What happens to it.

    pub(crate) fn set_hold(&mut self, hold: Hold, now: Duration) {
        if std::mem::replace(&mut self.hold, hold) == Hold::Held {
            // What was held back arrives now.
            let parcels = self.on_their_way.iter_mut().map(|parcel| &mut parcel.due);
            let end = match &mut self.flow {
                Flow::Finished { due } | Flow::Truncated { due } => Some(due),
                Flow::Open | Flow::Silent => None,
            };
            for due in parcels.chain(end).chain([&mut self.last_due]) {
                *due = now.max(*due);
            }
        }
    }

    /// Whether packets of the other end's do not come through.
    pub(crate) fn holds_back(&self) -> bool {
        self.hold == Hold::Held || self.is_silent()
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.flow == Flow::Silent
    }

    /// From now on it behaves as it should; what has been lost stays lost.
    pub(crate) fn calm(&mut self, now: Duration) {
        let buffer_bytes = self.faults.buffer_bytes;
        self.faults = LinkFaults::default();
        if self.is_truncated() {
            // Nothing makes room any more where nothing goes.
            self.faults.buffer_bytes = buffer_bytes;
        }
        self.struck = Struck::default();
        self.strikes = 0;
        self.crowd = Crowd::None;
        self.read_not_before = now;
    }
}

mod altered;
mod pace;
mod reading;
#[cfg(test)]
mod tests;

//! One direction of a connection: which bytes are on their way, when they may
//! be read, and what has gone wrong. Pure: time is an argument, a duration
//! since the start of the world.

use std::collections::VecDeque;
use std::time::Duration;

use crate::faults::{Fault, LinkFaults};
use crate::rng::Rng;

/// One direction, from its writer to its reader.
#[derive(Debug)]
pub(crate) struct Pipe {
    faults: LinkFaults,
    rng: Rng,
    /// How many of `faults.at_bytes` have struck.
    struck: usize,
    /// Bytes that the writer has written, swallowed ones too.
    written: u64,
    read: u64,
    on_their_way: VecDeque<Parcel>,
    buffered_bytes: usize,
    /// Nothing written later arrives before this.
    last_due: Duration,
    stalled_until: Duration,
    hold: Hold,
    /// A slow reader takes nothing before this.
    read_not_before: Duration,
    flow: Flow,
    reader: Reader,
    corrupt_next: u8,
    flush: Coming,
    shutdown: Coming,
}

/// Bytes of one write.
#[derive(Debug)]
struct Parcel {
    due: Duration,
    bytes: Vec<u8>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    There,
    /// What arrives is answered with a reset.
    Gone,
}

/// How the next flush, or shutdown, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Success,
    Failure,
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

/// What a fault does to the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    None,
    ResetAt(Duration),
}

impl Pipe {
    pub(crate) fn new(faults: LinkFaults, rng: Rng) -> Self {
        Self {
            faults,
            rng,
            struck: 0,
            written: 0,
            read: 0,
            on_their_way: VecDeque::new(),
            buffered_bytes: 0,
            last_due: Duration::ZERO,
            stalled_until: Duration::ZERO,
            hold: Hold::Released,
            read_not_before: Duration::ZERO,
            flow: Flow::Open,
            reader: Reader::There,
            corrupt_next: 0,
            flush: Coming::Success,
            shutdown: Coming::Success,
        }
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
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
        // Nothing is drawn where nothing is wanted: a calm link costs nothing.
        self.faults.spurious_wake_permille > 0
            && self.rng.chance(self.faults.spurious_wake_permille)
    }

    // The writer's side.

    pub(crate) fn write(&mut self, now: Duration, bytes: &[u8]) -> Written {
        if matches!(self.flow, Flow::Finished { .. }) {
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
        if matches!(self.flow, Flow::Finished { .. }) {
            return Written::Closed;
        }
        let taken = self.room_for(bytes.len());
        if taken == 0 && !bytes.is_empty() {
            return match reset {
                // The buffer is full, yet the fault is to be told.
                Some(_) => Written::Taken { bytes: 0, reset },
                None => Written::Full,
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
        let limit = usize::try_from(self.faults.buffer_bytes.max(1)).unwrap_or(usize::MAX);
        let mut room = bytes.min(limit.saturating_sub(self.buffered_bytes));
        if let Some(strike) = self.faults.at_bytes.get(self.struck) {
            let before = strike.byte.saturating_sub(self.written);
            room = room.min(usize::try_from(before).unwrap_or(usize::MAX));
        }
        match self.faults.write_at_most_bytes {
            Some(most) if room > 1 => room.min(self.random_size(most)),
            _ => room,
        }
    }

    fn random_size(&mut self, most: u32) -> usize {
        let size = self.rng.between(1, u64::from(most.max(1)));
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn carry(&mut self, now: Duration, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.buffered_bytes += bytes.len();
        let goes_nowhere =
            matches!(self.flow, Flow::Truncated { .. }) || self.reader == Reader::Gone;
        if goes_nowhere && self.flow != Flow::Silent {
            // It fills the buffer, or a writer could go on for ever at one instant.
            return;
        }
        let mut bytes = bytes.to_vec();
        if let Some(first) = bytes.first_mut() {
            *first ^= std::mem::take(&mut self.corrupt_next);
        }
        let mut due = now + self.latency();
        if self.faults.jitter_ms > 0 {
            due += self.rng.up_to_ms(self.faults.jitter_ms);
        }
        due = due.max(self.last_due);
        if let Some(rate) = self.faults.bytes_per_second {
            due += time_of(bytes.len(), rate);
        }
        self.last_due = due;
        self.on_their_way.push_back(Parcel {
            due,
            bytes,
            taken: 0,
        });
    }

    /// Faults whose byte has come, in their order.
    fn strike_at_this_byte(&mut self, now: Duration) -> Consequence {
        while let Some(strike) = self.faults.at_bytes.get(self.struck).copied() {
            if strike.byte > self.written {
                break;
            }
            self.struck += 1;
            let arrived = now.max(self.last_due);
            if let Consequence::ResetAt(_) = self.strike(strike.fault, now) {
                return Consequence::ResetAt(arrived);
            }
        }
        Consequence::None
    }

    pub(crate) fn finish(&mut self, now: Duration) {
        if self.flow == Flow::Open {
            let due = self.last_due.max(now + self.latency());
            self.flow = Flow::Finished { due };
        }
    }

    pub(crate) fn take_flush_failure(&mut self) -> bool {
        std::mem::replace(&mut self.flush, Coming::Success) == Coming::Failure
    }

    pub(crate) fn take_shutdown_failure(&mut self) -> bool {
        std::mem::replace(&mut self.shutdown, Coming::Success) == Coming::Failure
    }

    // The reader's side.

    pub(crate) fn read(&mut self, now: Duration, room: usize, mut into: impl FnMut(&[u8])) -> Read {
        if self.flow == Flow::Silent || self.hold == Hold::Held {
            return Read::Nothing(None);
        }
        let earliest = self.stalled_until.max(self.read_not_before);
        if earliest > now {
            return Read::Nothing(Some(earliest));
        }
        match self.on_their_way.front() {
            Some(first) if first.due > now => return Read::Nothing(Some(first.due)),
            Some(_) => {}
            None => return self.read_end(now),
        }
        let mut most = room;
        if let Some(limit) = self.faults.read_at_most_bytes
            && room > 0
        {
            most = room.min(self.random_size(limit));
        }
        let bytes = self.take(now, most, &mut into);
        if let Some(rate) = self.faults.read_bytes_per_second {
            self.read_not_before = now + time_of(bytes, rate);
        }
        Read::Bytes(bytes)
    }

    fn read_end(&self, now: Duration) -> Read {
        match self.flow {
            Flow::Finished { due } | Flow::Truncated { due } if due <= now => Read::EndOfStream,
            Flow::Finished { due } | Flow::Truncated { due } => {
                Read::Nothing(Some(due).filter(|due| *due < Duration::MAX))
            }
            Flow::Open | Flow::Silent => Read::Nothing(None),
        }
    }

    fn take(&mut self, now: Duration, most: usize, into: &mut impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        while let Some(parcel) = self.on_their_way.front_mut()
            && parcel.due <= now
            && total < most
        {
            let rest = &parcel.bytes[parcel.taken..];
            let piece = rest.len().min(most - total);
            into(&rest[..piece]);
            parcel.taken += piece;
            total += piece;
            if parcel.taken == parcel.bytes.len() {
                self.on_their_way.pop_front();
            }
        }
        self.buffered_bytes -= total;
        self.read += total as u64;
        total
    }

    /// The reader has closed; says when its answer to bytes that it will never
    /// read sets out, if there are any.
    pub(crate) fn reader_left(&mut self, now: Duration) -> Option<Duration> {
        self.reader = Reader::Gone;
        if self.flow == Flow::Silent {
            return None;
        }
        // What has arrived is answered at once, else the first of what will.
        let lost = self.on_their_way.front().map(|first| first.due.max(now));
        self.lose_everything();
        lost
    }

    pub(crate) fn lose_everything(&mut self) {
        self.on_their_way.clear();
        self.buffered_bytes = 0;
    }

    // What happens to it.

    pub(crate) fn strike(&mut self, fault: Fault, now: Duration) -> Consequence {
        match fault {
            Fault::Reset => return Consequence::ResetAt(now),
            Fault::HalfClose => self.finish(now),
            Fault::Truncate => {
                if self.flow == Flow::Open {
                    let due = self.last_due.max(now + self.latency());
                    self.flow = Flow::Truncated { due };
                }
            }
            Fault::SilentDeath => self.flow = Flow::Silent,
            Fault::Corrupt { xor } => self.corrupt_next = xor,
            Fault::Stall { ms } => {
                let until = now + Duration::from_millis(u64::from(ms));
                self.stalled_until = self.stalled_until.max(until);
            }
            Fault::SlowReader { bytes_per_second } => {
                self.faults.read_bytes_per_second = Some(bytes_per_second);
            }
            Fault::FlushFails => self.flush = Coming::Failure,
            Fault::ShutdownFails => self.shutdown = Coming::Failure,
            // The link wakes both ends after any fault.
            Fault::SpuriousWake => {}
        }
        Consequence::None
    }

    pub(crate) const fn set_hold(&mut self, hold: Hold) {
        self.hold = hold;
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
        self.faults = LinkFaults::default();
        self.struck = 0;
        self.stalled_until = now;
        self.read_not_before = now;
        self.corrupt_next = 0;
        self.flush = Coming::Success;
        self.shutdown = Coming::Success;
    }
}

fn time_of(bytes: usize, per_second: u32) -> Duration {
    let nanos = bytes as u64 * 1_000_000_000 / u64::from(per_second.max(1));
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::FaultAtByte;
    use crate::rng::Seed;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pipe(faults: LinkFaults) -> Pipe {
        Pipe::new(faults, Seed(1).stream())
    }

    fn read(pipe: &mut Pipe, now: Duration) -> (Read, Vec<u8>) {
        let mut bytes = Vec::new();
        let read = pipe.read(now, 1 << 20, |piece| bytes.extend_from_slice(piece));
        (read, bytes)
    }

    #[test]
    fn bytes_arrive_after_the_latency_and_not_before() {
        let mut pipe = pipe(LinkFaults {
            latency_ms: 10,
            ..LinkFaults::default()
        });
        pipe.write(ms(1), b"abc");
        assert_eq!(read(&mut pipe, ms(10)).0, Read::Nothing(Some(ms(11))));
        assert_eq!(read(&mut pipe, ms(11)).1, b"abc");
        assert_eq!(read(&mut pipe, ms(11)).0, Read::Nothing(None));
    }

    #[test]
    fn bytes_never_overtake_each_other_whatever_the_jitter() {
        let mut pipe = pipe(LinkFaults {
            latency_ms: 1,
            jitter_ms: 50,
            ..LinkFaults::default()
        });
        for byte in 0..100_u8 {
            pipe.write(ms(u64::from(byte)), &[byte]);
        }
        let mut seen = Vec::new();
        for now in 0..300 {
            seen.extend(read(&mut pipe, ms(now)).1);
        }
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_full_buffer_takes_nothing_until_the_reader_has_read() {
        let mut pipe = pipe(LinkFaults {
            buffer_bytes: 4,
            ..LinkFaults::default()
        });
        let four = Written::Taken {
            bytes: 4,
            reset: None,
        };
        assert_eq!(pipe.write(ms(0), b"abcdef"), four);
        assert_eq!(pipe.write(ms(0), b"ef"), Written::Full);
        assert_eq!(read(&mut pipe, ms(0)).1, b"abcd");
        assert!(matches!(
            pipe.write(ms(0), b"ef"),
            Written::Taken { bytes: 2, .. }
        ));
    }

    #[test]
    fn bandwidth_spreads_bytes_over_time() {
        let mut pipe = pipe(LinkFaults {
            bytes_per_second: Some(1000),
            ..LinkFaults::default()
        });
        pipe.write(ms(0), &[0; 100]);
        pipe.write(ms(0), &[0; 100]);
        assert_eq!(read(&mut pipe, ms(99)).0, Read::Nothing(Some(ms(100))));
        assert_eq!(read(&mut pipe, ms(100)).0, Read::Bytes(100));
        assert_eq!(read(&mut pipe, ms(100)).0, Read::Nothing(Some(ms(200))));
    }

    #[test]
    fn a_fault_at_a_byte_strikes_exactly_there() {
        for byte in 0..6 {
            let fault = Fault::Corrupt { xor: 0xff };
            let mut pipe = pipe(LinkFaults {
                at_bytes: vec![FaultAtByte { byte, fault }],
                ..LinkFaults::default()
            });
            let mut rest: &[u8] = b"abcdef";
            while !rest.is_empty() {
                let Written::Taken { bytes, .. } = pipe.write(ms(0), rest) else {
                    panic!("there is room")
                };
                rest = &rest[bytes..];
            }
            let mut expected = b"abcdef".to_vec();
            expected[usize::try_from(byte).unwrap()] ^= 0xff;
            assert_eq!(read(&mut pipe, ms(0)).1, expected);
        }
    }

    #[test]
    fn truncation_ends_the_stream_for_the_reader_alone() {
        let mut pipe = pipe(LinkFaults::default());
        pipe.write(ms(0), b"ab");
        pipe.strike(Fault::Truncate, ms(0));
        assert!(matches!(
            pipe.write(ms(0), b"cd"),
            Written::Taken { bytes: 2, .. }
        ));
        assert_eq!(read(&mut pipe, ms(0)).1, b"ab");
        assert_eq!(read(&mut pipe, ms(0)).0, Read::EndOfStream);
    }

    #[test]
    fn silent_death_swallows_until_the_buffer_is_full() {
        let mut pipe = pipe(LinkFaults {
            buffer_bytes: 4,
            ..LinkFaults::default()
        });
        pipe.strike(Fault::SilentDeath, ms(0));
        assert!(matches!(
            pipe.write(ms(0), b"abcdef"),
            Written::Taken { bytes: 4, .. }
        ));
        assert_eq!(pipe.write(ms(0), b"ef"), Written::Full);
        assert_eq!(read(&mut pipe, ms(99)).0, Read::Nothing(None));
    }

    #[test]
    fn a_cut_holds_everything_back_and_loses_nothing() {
        let mut pipe = pipe(LinkFaults::default());
        pipe.set_hold(Hold::Held);
        pipe.write(ms(0), b"ab");
        pipe.finish(ms(0));
        assert_eq!(read(&mut pipe, ms(9)).0, Read::Nothing(None));
        pipe.set_hold(Hold::Released);
        assert_eq!(read(&mut pipe, ms(9)).1, b"ab");
        assert_eq!(read(&mut pipe, ms(9)).0, Read::EndOfStream);
    }
}

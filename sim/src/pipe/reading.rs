//! The reader's side of a direction: what comes out of it, and when.

use std::time::Duration;

use super::{Flow, Hold, Parcel, Pipe, Read, Reader};

impl Pipe {
    pub(crate) fn read(&mut self, now: Duration, room: usize, mut into: impl FnMut(&[u8])) -> Read {
        if self.flow == Flow::Silent || self.hold == Hold::Held {
            return Read::Nothing(None);
        }
        let earliest = self.struck.readable_from().max(self.read_not_before);
        if earliest > now {
            return Read::Nothing(Some(earliest));
        }
        match self.on_their_way.front() {
            Some(first) if first.due > now => return Read::Nothing(Some(first.due)),
            Some(_) => {}
            None => return self.read_end(now),
        }
        let most = self.faults.read_size(&mut self.rng, room);
        let bytes = self.take(now, most, &mut into);
        if bytes > 0 {
            self.makes_room(now);
        }
        if let Some(at) = self.faults.reads_again_at(now, bytes) {
            self.read_not_before = at;
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

    /// Whether the end of the stream had come to the reader by `at`, read or not.
    pub(crate) fn had_ended(&self, at: Duration) -> bool {
        let arrived =
            matches!(self.flow, Flow::Finished { due } | Flow::Truncated { due } if due <= at);
        arrived && self.lets_through(at)
    }

    fn lets_through(&self, at: Duration) -> bool {
        !self.holds_back() && self.struck.readable_from() <= at
    }

    fn take(&mut self, now: Duration, most: usize, into: &mut impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        self.altered.begin_read();
        while let Some(parcel) = self.on_their_way.front_mut()
            && parcel.due <= now
            && total < most
        {
            let rest = &parcel.bytes[parcel.taken..];
            let piece = rest.len().min(most - total);
            into(&rest[..piece]);
            let written = parcel.written.as_ref().unwrap_or(&parcel.bytes);
            self.altered.read(&written[parcel.taken..][..piece]);
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

    /// The connection is reset: what had not arrived by then is lost, and what
    /// had may still be read, as on Linux.
    pub(crate) fn cut_off(&mut self, at: Duration) {
        if !self.lets_through(at) {
            return self.lose_everything();
        }
        self.on_their_way.retain(|parcel| parcel.due <= at);
        let rest = |parcel: &Parcel| parcel.bytes.len() - parcel.taken;
        self.buffered_bytes = self.on_their_way.iter().map(rest).sum();
    }

    /// Reads what a reset has left.
    pub(crate) fn read_rest(&mut self, room: usize, mut into: impl FnMut(&[u8])) -> usize {
        self.take(Duration::MAX, room, &mut into)
    }

    pub(crate) fn lose_everything(&mut self) {
        self.on_their_way.clear();
        self.buffered_bytes = 0;
    }
}

//! What the client sent: requests (sections 2 and 3), by a parser of the
//! oracle's own.

use std::ops::Range;

use asyncserver::wire::{ByteOrder, TaskCode};

use super::facts::Moment;

/// A request whose end was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) code: u8,
    pub(crate) id: u32,
    pub(crate) message: Vec<u8>,
    /// Its place in the client's stream.
    pub(crate) bytes: Range<u64>,
    /// When its first byte was sent.
    pub(crate) first: Moment,
    /// When its header's last byte was sent.
    pub(crate) header: Moment,
    /// When its last byte was sent.
    pub(crate) end: Moment,
    /// Its terminal response, whole, by index.
    pub(crate) answer: Option<usize>,
    /// Its run function, by index.
    pub(crate) run: Option<usize>,
    /// Its task function, by index.
    pub(crate) function: Option<usize>,
}

impl Sent {
    /// Whether it is a Cancel, which has no response of its own (E2).
    pub(crate) const fn is_cancel(&self) -> bool {
        self.code == TaskCode::CANCEL.0
    }
}

/// The start of a request whose end was not sent.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    /// Code and id, once the header has been sent.
    pub(crate) header: Option<(u8, u32, Moment)>,
    /// Payload bytes sent.
    pub(crate) payload: usize,
    /// Its place in the client's stream, as far as it was sent.
    pub(crate) bytes: Range<u64>,
    /// When its first byte was sent.
    pub(crate) first: Moment,
}

/// The client's stream, as far as the transport had it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// For each event that added bytes: the stream's length behind it.
    pub(crate) ends: Vec<(u64, Moment)>,
}

impl Stream {
    pub(crate) fn push(&mut self, bytes: &[u8], moment: Moment) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push((self.bytes.len() as u64, moment));
    }

    /// Takes back the last `bytes`: they never reached the transport.
    pub(crate) fn take_back(&mut self, bytes: u64) {
        let length = (self.bytes.len() as u64).saturating_sub(bytes);
        self.bytes.truncate(length as usize);
        for (end, _) in &mut self.ends {
            *end = (*end).min(length);
        }
    }

    /// The event that moved the byte at `offset`.
    pub(crate) fn moment_of(&self, offset: usize) -> Moment {
        let at = self.ends.partition_point(|(end, _)| *end <= offset as u64);
        self.ends[at].1
    }
}

/// Parses the client's stream (N3, section 3).
pub(crate) fn parse(stream: &Stream, order: ByteOrder) -> (Vec<Sent>, Option<Partial>) {
    let (mut requests, mut at) = (Vec::new(), 0);
    while at < stream.bytes.len() {
        match parse_one(stream, order, at) {
            Ok(request) => {
                at = request.bytes.end as usize;
                requests.push(request);
            }
            Err(partial) => return (requests, Some(partial)),
        }
    }
    (requests, None)
}

fn parse_one(stream: &Stream, order: ByteOrder, start: usize) -> Result<Sent, Partial> {
    let bytes = &stream.bytes;
    let mut partial = Partial {
        header: None,
        payload: 0,
        bytes: start as u64..bytes.len() as u64,
        first: stream.moment_of(start),
    };
    let Some(&[code, ref id @ ..]) = bytes[start..].first_chunk::<5>() else {
        return Err(partial);
    };
    let (id, header) = (order.decode_u32(*id), stream.moment_of(start + 4));
    partial.header = Some((code, id, header));
    let (mut message, mut at) = (Vec::new(), start + 5);
    loop {
        let Some(&length) = bytes.get(at) else {
            partial.payload = message.len();
            return Err(partial);
        };
        let block = at + 1..at + 1 + usize::from(length);
        message.extend_from_slice(&bytes[block.start..block.end.min(bytes.len())]);
        if length == 0 {
            return Ok(Sent {
                code,
                id,
                message,
                bytes: start as u64..block.end as u64,
                first: partial.first,
                header,
                end: stream.moment_of(at),
                answer: None,
                run: None,
                function: None,
            });
        }
        at = block.end;
    }
}

//! Long messages, written and read as cheaply as it can be done.

use std::iter::{once, repeat_n};
use std::sync::OnceLock;

use asyncserver::wire::encode_message;
use bytes::{Bytes, BytesMut};

/// Payload bytes of 1,024 full blocks, which are 256 KiB on the wire.
const PIECE_BYTES: usize = 1024 * 255;

/// The encoding of a long message, most of which is the same piece again and again.
pub(crate) struct LongMessage {
    piece: BytesMut,
    pieces: usize,
    last: BytesMut,
}

impl LongMessage {
    pub(crate) fn new(payload_bytes: usize) -> Self {
        let mut piece = encoded(PIECE_BYTES);
        let end = piece.len() - 1;
        piece.truncate(end);
        Self {
            piece,
            pieces: payload_bytes / PIECE_BYTES,
            last: encoded(payload_bytes % PIECE_BYTES),
        }
    }

    /// What is to be written, one after the other.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &[u8]> {
        repeat_n(&*self.piece, self.pieces).chain(once(&*self.last))
    }
}

fn encoded(payload_bytes: usize) -> BytesMut {
    let mut message = BytesMut::new();
    encode_message(&vec![7; payload_bytes], &mut message);
    message
}

/// The payload of a long message in pieces that cost nothing to make.
pub(crate) fn pieces(payload_bytes: usize) -> impl Iterator<Item = Bytes> {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    let whole = repeat_n(&PIECE[..], payload_bytes / PIECE.len());
    let pieces = whole.chain(once(&PIECE[..payload_bytes % PIECE.len()]));
    pieces.map(Bytes::from_static)
}

/// A body that is there before it is asked for: it is made only once, for all requests ask for the same.
pub(crate) fn whole_body(length: usize) -> Bytes {
    static BODY: OnceLock<Bytes> = OnceLock::new();
    let body = BODY.get_or_init(|| vec![7; length].into());
    assert_eq!(body.len(), length, "all bodies of a run are as long");
    body.clone()
}

/// A message that comes in and that nobody looks at, so far.
#[derive(Debug, Default)]
pub(crate) struct Skimmed {
    /// Bytes up to the next block's length.
    skip: usize,
    payload_bytes: usize,
}

impl Skimmed {
    /// Takes what has come; tells the payload's length once the message has ended.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.skip;
        while let Some(&block) = bytes.get(at) {
            if block == 0 {
                return Some(self.payload_bytes);
            }
            self.payload_bytes += usize::from(block);
            at += 1 + usize::from(block);
        }
        self.skip = at - bytes.len();
        None
    }
}

/// A message that comes in and whose payload is copied out of its blocks, as cheaply as
/// it can be done.
#[derive(Debug)]
pub(crate) struct Collected {
    /// Bytes of the current block that have not come.
    rest: usize,
    payload: Vec<u8>,
    /// Up to so many bytes are kept; then they are forgotten.
    most: usize,
    forgotten: usize,
}

impl Collected {
    /// In memory of a former message.
    pub(crate) fn new(mut memory: Vec<u8>, most: usize) -> Self {
        memory.clear();
        Self {
            rest: 0,
            payload: memory,
            most,
            forgotten: 0,
        }
    }

    /// Takes what has come; tells the payload's length once the message has ended.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let end = bytes.len().min(at + self.rest);
            self.payload.extend_from_slice(&bytes[at..end]);
            self.rest -= end - at;
            at = end;
            if self.rest == 0 {
                // Where each begins is known before the last one's length is.
                for block in bytes[at..].chunks_exact(256) {
                    let Some(full) = block.strip_prefix(&[255]) else {
                        break;
                    };
                    self.payload.extend_from_slice(full);
                    at += block.len();
                }
            }
            if self.payload.len() >= self.most {
                self.forgotten += self.payload.len();
                self.payload.clear();
            }
            match bytes.get(at) {
                None => return None,
                Some(0) => return Some(self.forgotten + self.payload.len()),
                Some(&length) => self.rest = length.into(),
            }
            at += 1;
        }
    }

    /// Its memory, for the next one.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::{Collected, LongMessage, Skimmed};

    #[test]
    fn what_is_written_is_read_wherever_it_is_cut() {
        for payload_bytes in [0, 1, 255, 256, 261_119, 261_120, 600_000] {
            let wire: Vec<u8> = LongMessage::new(payload_bytes)
                .writes()
                .flatten()
                .copied()
                .collect();
            assert_eq!(wire.len(), asyncserver::wire::encoded_len(payload_bytes));
            for cut in [0, wire.len() / 3, wire.len() / 2, wire.len() - 1] {
                let mut skimmed = Skimmed::default();
                assert_eq!(skimmed.take(&wire[..cut]), None);
                assert_eq!(skimmed.take(&wire[cut..]), Some(payload_bytes));
                for most in [1000, usize::MAX] {
                    let mut collected = Collected::new(vec![1], most);
                    assert_eq!(collected.take(&wire[..cut]), None);
                    assert_eq!(collected.take(&wire[cut..]), Some(payload_bytes));
                    assert!(collected.into_memory().iter().all(|byte| *byte == 7));
                }
            }
        }
    }
}

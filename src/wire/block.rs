//! Messages as sequences of blocks (N3–N5): one length byte N, then N bytes;
//! N = 0 ends the message.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

/// The longest block that a length byte can announce.
pub(super) const BLOCK: usize = 255;

/// What a full block takes, with its length byte.
const FULL: usize = 1 + BLOCK;

/// How many bytes the canonical encoding of a payload of `payload_len` bytes takes (N4).
///
/// ```
/// assert_eq!(asyncserver::wire::encoded_len(0), 1);
/// assert_eq!(asyncserver::wire::encoded_len(256), 256 + 2 + 1);
/// ```
#[must_use]
pub const fn encoded_len(payload_len: usize) -> usize {
    payload_len + payload_len.div_ceil(BLOCK) + 1
}

/// Appends the canonical encoding of a whole message to `into` (N4).
///
/// ```
/// # use bytes::BytesMut;
/// let mut out = BytesMut::new();
/// asyncserver::wire::encode_message(b"hi", &mut out);
/// assert_eq!(&out[..], b"\x02hi\x00");
/// ```
pub fn encode_message(payload: &[u8], into: &mut BytesMut) {
    into.reserve(encoded_len(payload.len()));
    for block in payload.chunks(BLOCK) {
        into.put_u8(block.len() as u8);
        into.put_slice(block);
    }
    into.put_u8(0);
}

/// Encodes one message whose payload comes in pieces, filling blocks to 255 bytes (N4).
///
/// Up to 254 bytes wait inside until they fill a block or the message ends.
///
/// ```
/// # use bytes::BytesMut;
/// let mut encoder = asyncserver::wire::BlockEncoder::new();
/// let mut out = BytesMut::new();
/// encoder.push(b"h", &mut out);
/// encoder.push(b"i", &mut out);
/// encoder.finish(&mut out);
/// assert_eq!(&out[..], b"\x02hi\x00");
/// ```
#[derive(Clone, Debug, Default)]
pub struct BlockEncoder {
    /// The bytes of the block that is not full yet; always shorter than a block.
    partial: Vec<u8>,
}

impl BlockEncoder {
    /// An encoder at the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            partial: Vec::new(),
        }
    }

    /// Appends to `into` every block that `payload` completes and keeps the rest.
    pub fn push(&mut self, mut payload: &[u8], into: &mut BytesMut) {
        if !self.partial.is_empty() {
            let missing = BLOCK - self.partial.len();
            let (head, rest) = payload.split_at(missing.min(payload.len()));
            self.partial.extend_from_slice(head);
            payload = rest;
            if self.partial.len() < BLOCK {
                return;
            }
            into.put_u8(BLOCK as u8);
            into.put_slice(&self.partial);
            self.partial.clear();
        }
        let blocks = payload.chunks_exact(BLOCK);
        self.partial.extend_from_slice(blocks.remainder());
        into.reserve(encoded_len(payload.len()));
        for block in blocks {
            into.put_u8(BLOCK as u8);
            into.put_slice(block);
        }
    }

    /// Appends the last block and the zero byte that ends the message; the
    /// encoder is then at the start of a message again.
    pub fn finish(&mut self, into: &mut BytesMut) {
        if !self.partial.is_empty() {
            into.put_u8(self.partial.len() as u8);
            into.put_slice(&self.partial);
            self.partial.clear();
        }
        into.put_u8(0);
    }
}

/// What a [`BlockDecoder`] found next; ranges point into the buffer it was given.
///
/// ```
/// use asyncserver::wire::{BlockDecoder, BlockPiece};
/// let (mut decoder, mut at) = (BlockDecoder::new(), 0);
/// assert_eq!(decoder.next(b"\x02hi\x00", &mut at), Some(BlockPiece::Payload(1..3)));
/// assert_eq!(decoder.next(b"\x02hi\x00", &mut at), Some(BlockPiece::End));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockPiece {
    /// Payload bytes.
    Payload(Range<usize>),
    /// The zero byte that ends the message.
    End,
}

/// Decodes one message at a time, resumable at any byte.
///
/// ```
/// use asyncserver::wire::BlockDecoder;
/// let mut decoder = BlockDecoder::new();
/// assert_eq!(decoder.next(b"\x02", &mut 0), None);
/// assert_eq!(decoder.missing(), "block bytes");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDecoder {
    /// Bytes of the current block that have not come yet; 0: a length byte is next.
    remaining: u8,
}

impl BlockDecoder {
    /// A decoder at the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { remaining: 0 }
    }

    /// Decodes the next piece of `buffer[*at..]` and moves `at` behind it.
    /// `None`: more bytes are wanted. After [`BlockPiece::End`] the decoder is
    /// at the start of a message again.
    pub fn next(&mut self, buffer: &[u8], at: &mut usize) -> Option<BlockPiece> {
        if self.remaining == 0 && buffer.get(*at) == Some(&0) {
            *at += 1;
            return Some(BlockPiece::End);
        }
        self.next_payload(buffer, at).map(BlockPiece::Payload)
    }

    /// The same as long as the message goes on; leaves the zero byte that ends it
    /// where it is.
    #[inline]
    pub(super) fn next_payload(&mut self, buffer: &[u8], at: &mut usize) -> Option<Range<usize>> {
        if self.remaining == 0 {
            self.remaining = *buffer.get(*at).filter(|length| **length > 0)?;
            *at += 1;
        }
        let take = usize::from(self.remaining).min(buffer.len() - *at);
        if take == 0 {
            return None;
        }
        let start = *at;
        *at += take;
        self.remaining -= take as u8;
        Some(start..*at)
    }

    /// The payloads of the full blocks that come next and lie whole in the buffer, up to
    /// `most` bytes, as [`BlockDecoder::next_payload`] would return them one by one.
    #[inline]
    pub(super) fn next_full_blocks<'b>(
        &mut self,
        buffer: &'b [u8],
        at: &mut usize,
        most: usize,
    ) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let most = match self.remaining {
            0 => most / BLOCK,
            _ => 0,
        };
        let start = *at;
        let count = full_blocks(buffer, start).take(most).count();
        *at += count * FULL;
        full_blocks(buffer, start).take(count)
    }

    /// How many more bytes of the message's payload are in `buffer[at..]`.
    pub(crate) fn payload_ahead(&self, buffer: &[u8], mut at: usize) -> usize {
        let (mut block, mut ahead) = (usize::from(self.remaining), 0);
        loop {
            let here = block.min(buffer.len() - at);
            ahead += here;
            at += here;
            let full = full_blocks(buffer, at).count();
            ahead += full * BLOCK;
            at += full * FULL;
            block = match buffer.get(at) {
                None | Some(0) => return ahead,
                Some(length) => usize::from(*length),
            };
            at += 1;
        }
    }

    /// Bytes of the current block that its length byte announced and that have not come yet.
    #[must_use]
    pub const fn announced(&self) -> usize {
        self.remaining as usize
    }

    /// What the decoder waits for, in words, for an error message.
    #[must_use]
    pub const fn missing(&self) -> &'static str {
        if self.remaining == 0 {
            "length byte"
        } else {
            "block bytes"
        }
    }
}

/// The payloads of the full blocks that lie whole in `buffer`, one behind the other,
/// from `at` on.
#[inline]
fn full_blocks(buffer: &[u8], at: usize) -> impl Iterator<Item = &[u8]> {
    let blocks = buffer.get(at..).unwrap_or_default().chunks_exact(FULL);
    // Where the next block begins does not depend on this one's length, as it would in
    // general: the processor need not wait for memory, block by block.
    blocks.map_while(|block| block.strip_prefix(&[BLOCK as u8]))
}

/// A message that lies whole in a buffer.
///
/// ```
/// use asyncserver::wire::WholeMessage;
/// let message = WholeMessage::find(b"\x02hi\x01!\x00rest", 0).unwrap();
/// assert_eq!((message.payload_len, message.encoded.clone()), (3, 0..6));
/// assert_eq!(&message.payload(b"\x02hi\x01!\x00rest")[..], b"hi!");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeMessage {
    /// Where its blocks and the ending zero byte lie.
    pub encoded: Range<usize>,
    /// How many payload bytes it has.
    pub payload_len: usize,
}

impl WholeMessage {
    /// The message that starts at `buffer[at]`, if its end is in the buffer too.
    #[must_use]
    pub fn find(buffer: &[u8], at: usize) -> Option<Self> {
        let (mut next, mut payload_len) = (at, 0);
        loop {
            let block = usize::from(*buffer.get(next)?);
            next += 1 + block;
            if block == 0 {
                return Some(Self {
                    encoded: at..next,
                    payload_len,
                });
            }
            payload_len += block;
            if block == BLOCK {
                let full = full_blocks(buffer, next).count();
                payload_len += full * BLOCK;
                next += full * FULL;
            }
        }
    }

    /// The payload, copied out of the blocks: one allocation of just its size.
    ///
    /// # Panics
    /// When `buffer` is not the buffer in which the message was found.
    #[must_use]
    pub fn payload(&self, buffer: &[u8]) -> bytes::Bytes {
        let mut rest = &buffer[self.encoded.clone()];
        let first = usize::from(rest[0]);
        if first == self.payload_len {
            return bytes::Bytes::copy_from_slice(&rest[1..1 + first]);
        }
        let mut payload = Vec::with_capacity(self.payload_len);
        for block in full_blocks(rest, 0) {
            payload.extend_from_slice(block);
        }
        rest = &rest[payload.len() / BLOCK * FULL..];
        while rest[0] != 0 {
            let (block, behind) = rest[1..].split_at(usize::from(rest[0]));
            payload.extend_from_slice(block);
            rest = behind;
        }
        payload.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_blocks_come_together_up_to_the_first_other_one_or_the_most_that_may() {
        let mut bytes = BytesMut::new();
        encode_message(&[7; 3 * BLOCK + 9], &mut bytes);
        let take = |decoder: &mut BlockDecoder, bytes: &[u8], at: &mut usize, most| {
            let blocks = decoder.next_full_blocks(bytes, at, most);
            let mut blocks = blocks.inspect(|block| assert_eq!(*block, [7; BLOCK]));
            blocks.by_ref().count()
        };
        for (cut, most, expected) in [
            (bytes.len(), usize::MAX, 3),
            (bytes.len(), 2 * BLOCK, 2),
            (bytes.len(), 2 * BLOCK - 1, 1),
            (2 * FULL, usize::MAX, 2),
            (2 * FULL - 1, usize::MAX, 1),
            (1, usize::MAX, 0),
        ] {
            let (mut decoder, mut at) = (BlockDecoder::new(), 0);
            let bytes = &bytes[..cut];
            assert_eq!(take(&mut decoder, bytes, &mut at, most), expected);
            assert_eq!(at, expected * FULL);
        }
        // In the midst of a block nothing is one.
        let (mut decoder, mut at) = (BlockDecoder::new(), 0);
        assert_eq!(decoder.next_payload(&bytes[..2], &mut at), Some(1..2));
        assert_eq!(take(&mut decoder, &[255; 600], &mut at, usize::MAX), 0);
        assert_eq!(at, 2);
    }

    #[test]
    fn the_payload_that_is_left_in_a_buffer_is_counted_up_to_the_end_of_either() {
        let bytes = b"\x02hi\x03abc\x00\x01!";
        let (mut decoder, mut at) = (BlockDecoder::new(), 0);
        for (left, of_a_part) in [(5, 3), (3, 1), (0, 0)] {
            assert_eq!(decoder.payload_ahead(bytes, at), left);
            let part = &bytes[..5.max(at)];
            assert_eq!(decoder.payload_ahead(part, at), of_a_part);
            decoder.next(bytes, &mut at);
        }
        // In the midst of a block.
        let (mut decoder, mut at) = (BlockDecoder::new(), 0);
        decoder.next(&bytes[..2], &mut at);
        assert_eq!(decoder.payload_ahead(bytes, at), 4);
        assert_eq!(decoder.payload_ahead(&bytes[..2], at), 0);
    }
}

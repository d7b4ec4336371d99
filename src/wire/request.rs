//! Requests: `task code: u8 | task id: u32 | message` (section 3), decoded
//! resumably at any byte.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::block::{BlockDecoder, BlockPiece};
use super::code::{ByteOrder, TaskCode, TaskId};

/// The length of a request's header, in bytes.
const HEADER: usize = 5;

/// What stands before a request's message.
///
/// ```
/// use asyncserver::wire::{RequestHeader, TaskCode, TaskId};
/// let header = RequestHeader { code: TaskCode(1), id: TaskId(7) };
/// assert_eq!(header.id, TaskId(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which task function the request is for.
    pub code: TaskCode,
    /// The number that the client gave the task.
    pub id: TaskId,
}

/// Appends a request's header to `into`; a message must follow.
///
/// ```
/// # use bytes::BytesMut;
/// use asyncserver::wire::*;
/// let mut out = BytesMut::new();
/// encode_request_header(TaskCode(1), TaskId(7), ByteOrder::Big, &mut out);
/// assert_eq!(&out[..], &[1, 0, 0, 0, 7]);
/// ```
pub fn encode_request_header(code: TaskCode, id: TaskId, order: ByteOrder, into: &mut BytesMut) {
    into.put_u8(code.0);
    into.put_slice(&order.encode_u32(id.0));
}

/// What a [`RequestDecoder`] found next; ranges point into the buffer it was given.
///
/// ```
/// use asyncserver::wire::{ByteOrder, RequestDecoder, RequestPart, TaskCode};
/// let mut decoder = RequestDecoder::new(ByteOrder::Big);
/// let part = decoder.next(&[1, 0, 0, 0, 7, 0], &mut 0);
/// assert!(matches!(part, Some(RequestPart::Header(header)) if header.code == TaskCode(1)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestPart {
    /// The header, once its five bytes have come.
    Header(RequestHeader),
    /// Bytes of the message's payload.
    Payload(Range<usize>),
    /// The end of the message, and so of the request.
    End,
}

/// The stream ended inside a request (section 9).
///
/// ```
/// use asyncserver::wire::{ByteOrder, RequestDecoder};
/// let mut decoder = RequestDecoder::new(ByteOrder::Big);
/// decoder.next(&[1, 0], &mut 0);
/// let end = decoder.unexpected_end().unwrap();
/// assert_eq!((end.offset, end.missing), (2, "task id"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected end of stream at byte {offset} of a request, where its {missing} was expected")]
pub struct UnexpectedEnd {
    /// How many bytes of the request had come.
    pub offset: u64,
    /// What was expected next.
    pub missing: &'static str,
}

/// Decodes requests from a stream that may be cut anywhere.
///
/// ```
/// use asyncserver::wire::{ByteOrder, RequestDecoder, RequestPart};
/// let (mut decoder, mut at) = (RequestDecoder::new(ByteOrder::Big), 0);
/// let bytes = [1, 0, 0, 0, 7, 2, b'h', b'i', 0];
/// let parts: Vec<_> = std::iter::from_fn(|| decoder.next(&bytes, &mut at)).collect();
/// assert_eq!(parts[1..], [RequestPart::Payload(6..8), RequestPart::End]);
/// ```
#[derive(Clone, Debug)]
pub struct RequestDecoder {
    order: ByteOrder,
    header: [u8; HEADER],
    /// How many header bytes have come; `HEADER`: the message is being read.
    header_len: usize,
    blocks: BlockDecoder,
    /// Bytes of the current request that have been looked at.
    offset: u64,
}

impl RequestDecoder {
    /// A decoder at the start of a request.
    #[must_use]
    pub const fn new(order: ByteOrder) -> Self {
        Self {
            order,
            header: [0; HEADER],
            header_len: 0,
            blocks: BlockDecoder::new(),
            offset: 0,
        }
    }

    /// Decodes the next part of `buffer[*at..]` and moves `at` behind it.
    /// `None`: more bytes are wanted.
    #[inline]
    pub fn next(&mut self, buffer: &[u8], at: &mut usize) -> Option<RequestPart> {
        if self.header_len < HEADER {
            return self.next_header(buffer, at).map(RequestPart::Header);
        }
        let start = *at;
        let piece = self.blocks.next(buffer, at);
        self.offset += (*at - start) as u64;
        match piece? {
            BlockPiece::Payload(range) => Some(RequestPart::Payload(range)),
            BlockPiece::End => {
                self.skip_message();
                Some(RequestPart::End)
            }
        }
    }

    /// More of the payload of the message that is being read, if that is what comes
    /// next; resumable at any byte. Leaves the message's end where it is.
    #[inline]
    pub(crate) fn next_payload(&mut self, buffer: &[u8], at: &mut usize) -> Option<Range<usize>> {
        debug_assert!(self.is_in_message(), "a header comes first");
        let start = *at;
        let payload = self.blocks.next_payload(buffer, at);
        self.offset += (*at - start) as u64;
        payload
    }

    /// The payloads of the full blocks that come next of the message that is being read
    /// and lie whole in the buffer, up to `most` bytes.
    #[inline]
    pub(crate) fn next_full_blocks<'b>(
        &mut self,
        buffer: &'b [u8],
        at: &mut usize,
        most: usize,
    ) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        debug_assert!(self.is_in_message(), "a header comes first");
        let start = *at;
        let blocks = self.blocks.next_full_blocks(buffer, at, most);
        self.offset += (*at - start) as u64;
        blocks
    }

    /// How many more bytes of the message's payload are in `buffer[at..]`.
    pub(crate) fn payload_ahead(&self, buffer: &[u8], at: usize) -> usize {
        self.blocks.payload_ahead(buffer, at)
    }

    #[inline]
    fn next_header(&mut self, buffer: &[u8], at: &mut usize) -> Option<RequestHeader> {
        // Nearly every header lies whole in the buffer.
        if self.header_len == 0
            && let Some(&header) = buffer[*at..].first_chunk()
        {
            self.header_len = HEADER;
            self.offset = HEADER as u64;
            *at += HEADER;
            return Some(self.header_of(header));
        }
        let take = (HEADER - self.header_len).min(buffer.len() - *at);
        self.header[self.header_len..self.header_len + take]
            .copy_from_slice(&buffer[*at..*at + take]);
        self.header_len += take;
        self.offset += take as u64;
        *at += take;
        (self.header_len == HEADER).then(|| self.header_of(self.header))
    }

    fn header_of(&self, [code, id @ ..]: [u8; HEADER]) -> RequestHeader {
        RequestHeader {
            code: TaskCode(code),
            id: TaskId(self.order.decode_u32(id)),
        }
    }

    /// Goes on at the start of the next request: the caller has found the end
    /// of this one's message by itself (see [`WholeMessage`](super::WholeMessage)).
    pub fn skip_message(&mut self) {
        self.header_len = 0;
        self.offset = 0;
        self.blocks = BlockDecoder::new();
    }

    /// Whether nothing of the next request has come yet.
    #[must_use]
    pub const fn is_between_requests(&self) -> bool {
        self.offset == 0
    }

    /// Whether the header has been decoded and the message has not ended.
    #[must_use]
    pub const fn is_in_message(&self) -> bool {
        self.header_len == HEADER
    }

    /// Whether the header has just been decoded and no byte of the message.
    #[must_use]
    pub const fn is_at_message_start(&self) -> bool {
        self.offset == HEADER as u64
    }

    /// Payload bytes that the current block has announced and that have not come yet.
    #[must_use]
    pub const fn announced(&self) -> usize {
        self.blocks.announced()
    }

    /// Bytes of the current request that have been looked at.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// What an end of the stream at this point would be: `None` between two requests.
    #[must_use]
    pub const fn unexpected_end(&self) -> Option<UnexpectedEnd> {
        let missing = match self.header_len {
            0 => return None,
            HEADER => self.blocks.missing(),
            _ => "task id",
        };
        Some(UnexpectedEnd {
            offset: self.offset,
            missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_message_follow_each_other_up_to_its_end() {
        let (mut decoder, mut at) = (RequestDecoder::new(ByteOrder::Big), 0);
        let bytes = [1, 0, 0, 0, 7, 1, b'h', 2, b'i', b'!', 0];
        decoder.next(&bytes, &mut at);
        assert_eq!(decoder.payload_ahead(&bytes, at), 3);
        let first = decoder.next(&bytes, &mut at);
        assert_eq!(first, Some(RequestPart::Payload(6..7)));
        assert_eq!(decoder.next_payload(&bytes, &mut at), Some(8..10));
        assert_eq!(decoder.next_payload(&bytes, &mut at), None);
        assert_eq!((decoder.offset(), at), (10, 10));
        assert_eq!(decoder.next(&bytes, &mut at), Some(RequestPart::End));
    }

    #[test]
    fn full_blocks_that_come_together_count_with_what_the_end_of_the_stream_is_told_at() {
        let (mut decoder, mut at) = (RequestDecoder::new(ByteOrder::Big), 0);
        let mut bytes = vec![1, 0, 0, 0, 7];
        bytes.resize(5 + 3 * 256, 255);
        decoder.next(&bytes, &mut at);
        assert_eq!(
            decoder.next_full_blocks(&bytes, &mut at, 2 * 255).count(),
            2
        );
        assert_eq!((decoder.offset(), at), (517, 517));
        let rest = decoder.next_full_blocks(&bytes, &mut at, usize::MAX);
        assert_eq!(rest.map(<[u8]>::len).collect::<Vec<_>>(), [255]);
        let end = decoder.unexpected_end().unwrap();
        assert_eq!((end.offset, end.missing), (773, "length byte"));
    }
}

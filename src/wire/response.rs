//! Responses (section 4), in both directions.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::block::{BLOCK, BlockDecoder, BlockPiece, encode_message, encoded_len};
use super::code::{ByteOrder, ErrorCode, ResponseCode, TaskId};

/// The bytes of a response in front of an `Ok`'s message.
const RESPONSE_HEADER: usize = 5;

const OK: u8 = ResponseCode::Ok as u8;

/// A response without the message that follows an `Ok`.
///
/// ```
/// use asyncserver::wire::{ByteOrder, ErrorCode, Response, TaskId};
/// let mut out = bytes::BytesMut::new();
/// Response::Error(TaskId(1), ErrorCode(7)).encode(ByteOrder::Big, &mut out);
/// assert_eq!(&out[..], &[1, 0, 0, 0, 1, 7]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The header of a result; a message follows.
    Ok(TaskId),
    /// The task failed.
    Error(TaskId, ErrorCode),
    /// The server goes away, having accepted this many requests (E4).
    Goodbye {
        /// Requests accepted on this connection since its start, mod 2³².
        accepted: u32,
    },
    /// The task is still being worked on (E5).
    Processing(TaskId),
}

impl Response {
    /// Appends the response to `into`.
    pub fn encode(&self, order: ByteOrder, into: &mut BytesMut) {
        let (code, integer) = match *self {
            Self::Ok(id) => (ResponseCode::Ok, id.0),
            Self::Error(id, _) => (ResponseCode::Error, id.0),
            Self::Goodbye { accepted } => (ResponseCode::Goodbye, accepted),
            Self::Processing(id) => (ResponseCode::Processing, id.0),
        };
        let [a, b, c, d] = order.encode_u32(integer);
        into.put_slice(&[code as u8, a, b, c, d]);
        if let Self::Error(_, error_code) = *self {
            into.put_u8(error_code.0);
        }
    }
}

/// Appends a whole result to `into`: its header and its message (N4, N6).
///
/// ```
/// # use asyncserver::wire::{ByteOrder, TaskId, encode_ok};
/// let mut out = bytes::BytesMut::new();
/// encode_ok(TaskId(7), b"hi", ByteOrder::Big, &mut out);
/// assert_eq!(&out[..], b"\x00\x00\x00\x00\x07\x02hi\x00");
/// ```
#[inline]
pub fn encode_ok(id: TaskId, payload: &[u8], order: ByteOrder, into: &mut BytesMut) {
    into.reserve(RESPONSE_HEADER + encoded_len(payload.len()));
    let [a, b, c, d] = order.encode_u32(id.0);
    let (first, rest) = payload.split_at(payload.len().min(BLOCK));
    into.put_slice(&[OK, a, b, c, d, first.len() as u8]);
    into.put_slice(first);
    if !rest.is_empty() {
        encode_message(rest, into);
    } else if !first.is_empty() {
        // The length of an empty block is the message's end by itself.
        into.put_u8(0);
    }
}

/// What a [`ResponseDecoder`] found next; ranges point into the buffer it was given.
///
/// ```
/// use asyncserver::wire::{ByteOrder, Response, ResponseDecoder, ResponsePart, TaskId};
/// let mut decoder = ResponseDecoder::new(ByteOrder::Big);
/// let part = decoder.next(&[3, 0, 0, 0, 7], &mut 0).unwrap();
/// assert_eq!(part, Some(ResponsePart::Response(Response::Processing(TaskId(7)))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponsePart {
    /// A response; the message of an `Ok` follows.
    Response(Response),
    /// Payload bytes of the message behind the last `Ok`.
    Payload(Range<usize>),
    /// The end of that message.
    End,
}

/// A first byte that is no response code (C1).
///
/// ```
/// use asyncserver::wire::{ByteOrder, ResponseDecoder};
/// let error = ResponseDecoder::new(ByteOrder::Big).next(&[9], &mut 0).unwrap_err();
/// assert_eq!((error.code, error.offset), (9, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown response code {code} at byte {offset} of the stream; expected 0 to 3")]
pub struct ResponseError {
    /// The byte that came.
    pub code: u8,
    /// Its place in the stream, counted from the connection's start.
    pub offset: u64,
}

/// Decodes responses from a stream that may be cut anywhere.
///
/// ```
/// use asyncserver::wire::{ByteOrder, ResponseDecoder, ResponsePart};
/// let (mut decoder, mut at) = (ResponseDecoder::new(ByteOrder::Big), 0);
/// let bytes = [0, 0, 0, 0, 7, 1, b'!', 0];
/// decoder.next(&bytes, &mut at)?;
/// assert_eq!(decoder.next(&bytes, &mut at)?, Some(ResponsePart::Payload(6..7)));
/// assert_eq!(decoder.next(&bytes, &mut at)?, Some(ResponsePart::End));
/// assert!(decoder.is_between_responses());
/// # Ok::<(), asyncserver::wire::ResponseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResponseDecoder {
    order: ByteOrder,
    /// Code, integer and, of an `Error`, the error code.
    header: [u8; 6],
    header_len: usize,
    /// Whether a message is being read behind an `Ok`.
    in_message: bool,
    blocks: BlockDecoder,
    /// Bytes of the stream that have been looked at.
    offset: u64,
}

impl ResponseDecoder {
    /// A decoder at the start of a response.
    #[must_use]
    pub const fn new(order: ByteOrder) -> Self {
        Self {
            order,
            header: [0; 6],
            header_len: 0,
            in_message: false,
            blocks: BlockDecoder::new(),
            offset: 0,
        }
    }

    /// Decodes the next part of `buffer[*at..]` and moves `at` behind it.
    /// `None`: more bytes are wanted.
    ///
    /// # Errors
    /// [`ResponseError`] for a byte that is no response code; the decoder is
    /// then of no further use.
    pub fn next(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
    ) -> Result<Option<ResponsePart>, ResponseError> {
        let start = *at;
        let part = if self.in_message {
            Ok(self.next_in_message(buffer, at))
        } else {
            self.next_header(buffer, at)
        };
        self.offset += (*at - start) as u64;
        part
    }

    fn next_in_message(&mut self, buffer: &[u8], at: &mut usize) -> Option<ResponsePart> {
        match self.blocks.next(buffer, at)? {
            BlockPiece::Payload(range) => Some(ResponsePart::Payload(range)),
            BlockPiece::End => {
                self.in_message = false;
                Some(ResponsePart::End)
            }
        }
    }

    fn next_header(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
    ) -> Result<Option<ResponsePart>, ResponseError> {
        // Nearly every result's header lies whole in the buffer.
        if self.header_len == 0
            && let Some(&[OK, a, b, c, d]) = buffer[*at..].first_chunk()
        {
            self.in_message = true;
            *at += RESPONSE_HEADER;
            let id = TaskId(self.order.decode_u32([a, b, c, d]));
            return Ok(Some(ResponsePart::Response(Response::Ok(id))));
        }
        let Some(&first) = buffer.get(*at) else {
            return Ok(None);
        };
        let code = if self.header_len == 0 {
            first
        } else {
            self.header[0]
        };
        let Some(code) = ResponseCode::from_byte(code) else {
            return Err(ResponseError {
                code,
                offset: self.offset,
            });
        };
        let length = if code == ResponseCode::Error { 6 } else { 5 };
        let take = (length - self.header_len).min(buffer.len() - *at);
        self.header[self.header_len..self.header_len + take]
            .copy_from_slice(&buffer[*at..*at + take]);
        self.header_len += take;
        *at += take;
        if self.header_len < length {
            return Ok(None);
        }
        self.header_len = 0;
        self.in_message = code == ResponseCode::Ok;
        let [_, a, b, c, d, error_code] = self.header;
        let integer = self.order.decode_u32([a, b, c, d]);
        Ok(Some(ResponsePart::Response(match code {
            ResponseCode::Ok => Response::Ok(TaskId(integer)),
            ResponseCode::Error => Response::Error(TaskId(integer), ErrorCode(error_code)),
            ResponseCode::Goodbye => Response::Goodbye { accepted: integer },
            ResponseCode::Processing => Response::Processing(TaskId(integer)),
        })))
    }

    /// Goes on at the start of the next response: the caller has found the end of this
    /// one's message by itself, so many bytes on (see [`WholeMessage`](super::WholeMessage)).
    pub fn skip_message(&mut self, encoded_bytes: usize) {
        self.in_message = false;
        self.blocks = BlockDecoder::new();
        self.offset += encoded_bytes as u64;
    }

    /// Whether nothing of the next response has come yet.
    #[must_use]
    pub const fn is_between_responses(&self) -> bool {
        self.header_len == 0 && !self.in_message
    }

    /// Bytes of the stream that have been looked at.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

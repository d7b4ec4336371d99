//! What the bytes mean: codes, messages as blocks, requests and responses.
//!
//! Everything here is pure: no I/O, no clock, no allocation that a peer could
//! size. The decoders are resumable at any byte, so it makes no difference how
//! the transport cuts the stream. The contract is `docs/protocol.md`, whose
//! rule numbers (`N3`, `E4`, …) are cited throughout.

mod block;
mod code;
mod negotiate;
mod request;
mod response;

pub use block::{
    BlockDecoder, BlockEncoder, BlockPiece, WholeMessage, encode_message, encoded_len,
};
pub use code::{ByteOrder, ErrorCode, RESERVED, ResponseCode, TaskCode, TaskId};
pub use negotiate::{Features, NEGOTIATE_VERSION, Negotiate, NegotiateError, Negotiated};
pub use request::{
    RequestDecoder, RequestHeader, RequestPart, UnexpectedEnd, encode_request_header,
};
pub use response::{Response, ResponseDecoder, ResponseError, ResponsePart, encode_ok};

//! Requests one by one, for loads that are not all equal.

use asyncserver::wire::{ByteOrder, TaskId, encode_message, encode_request_header};
use bytes::BytesMut;

use crate::handler::Handler;

/// Bytes of a request's header, and of an `OK` response's.
pub(crate) const HEADER_BYTES: usize = 5;

/// A request, whole. Its `OK` response is as long.
pub(crate) fn request(handler: Handler, id: u32, message_bytes: usize) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode_request_header(handler.code(), TaskId(id), ByteOrder::Big, &mut frame);
    encode_message(&vec![7; message_bytes], &mut frame);
    frame.into()
}

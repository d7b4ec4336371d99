//! Payload that comes in parts, and the memory in which the last long message came.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// A message from this length on has memory of its own from the kernel, which takes
/// longer to get, page by page, than to fill: the next one uses it again.
const LONG: usize = 128 << 10;

/// How long the memory of a long message is kept for the next one.
const KEPT: Duration = Duration::from_millis(100);

/// What has come of the message that is being read, and is not delivered yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    bytes: BytesMut,
    /// On the heap: most connections never have one.
    last: Option<Box<LongMessage>>,
}

/// A long message that has been delivered. Whoever has it may keep it: its memory is
/// used again only once nobody does.
#[derive(Debug)]
struct LongMessage {
    message: Bytes,
    delivered: Instant,
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Room for so many bytes more.
    pub(super) fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed >= LONG && needed > self.bytes.capacity() {
            self.reuse_last(needed);
        }
        self.bytes.reserve(more);
    }

    #[cold]
    fn reuse_last(&mut self, needed: usize) {
        let Some(mut last) = self.last.take() else {
            return;
        };
        match last.message.try_into_mut() {
            Ok(mut memory) if memory.capacity() >= needed => {
                memory.clear();
                memory.extend_from_slice(&self.bytes);
                self.bytes = memory;
            }
            Ok(_) => {}
            // Perhaps it is free by the time that still more room is needed.
            Err(message) => {
                last.message = message;
                self.last = Some(last);
            }
        }
    }

    #[inline]
    pub(super) fn extend(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    /// What has come up to now, for a task function.
    pub(super) fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// All of a message, without the spare room that collecting left.
    pub(super) fn take_whole(&mut self, now: Instant) -> Bytes {
        let mut message = Vec::from(std::mem::take(&mut self.bytes));
        message.shrink_to_fit();
        let message = Bytes::from(message);
        if message.len() >= LONG {
            self.last = Some(Box::new(LongMessage {
                message: message.clone(),
                delivered: now,
            }));
        }
        message
    }

    /// Nobody wants what has come.
    pub(super) fn clear(&mut self) {
        self.bytes = BytesMut::new();
    }

    /// Gives the memory of the last long message back unless another one has come
    /// since.
    pub(super) fn forget_last_if_old(&mut self, now: Instant) {
        self.last
            .take_if(|last| now.saturating_duration_since(last.delivered) >= KEPT);
    }

    /// Gives it back at once.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }
}

//! What a floor reads into and writes from. As long as nothing of a connection is in it,
//! it is its thread's: what dozens of connections use stays in the processor's cache.

use std::cell::Cell;

use bytes::BytesMut;

pub(super) struct Buffers {
    /// A request has to fit in it.
    pub(super) input: Box<[u8]>,
    pub(super) unsent: BytesMut,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            input: vec![0; 64 << 10].into(),
            unsent: BytesMut::new(),
        }
    }
}

thread_local! {
    static KEPT: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

/// A connection's, while it is polled or something of its own is in them.
#[derive(Default)]
pub(super) struct LentBuffers(Option<Box<Buffers>>);

impl LentBuffers {
    pub(super) fn get(&mut self) -> &mut Buffers {
        let thread = || KEPT.take().unwrap_or_default();
        self.0.get_or_insert_with(thread)
    }

    /// Nothing is in them.
    pub(super) fn give_back(&mut self) {
        KEPT.set(self.0.take());
    }
}

//! Read buffers, lent by the worker thread to the connection that reads: an
//! idle connection holds none.

use std::cell::RefCell;

/// The size of a buffer, and so the most that is read at once.
pub(crate) const READ_BUFFER: usize = 64 << 10;

/// How many buffers a thread keeps for its connections.
const KEPT: usize = 4;

thread_local! {
    static KEPT_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer, and what lies unread in it.
#[derive(Debug, Default)]
pub(crate) struct LentBuffer {
    /// Empty while none is lent.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl LentBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for a read; only to be called when nothing lies unread.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        debug_assert!(self.is_empty());
        if self.bytes.len() < READ_BUFFER {
            self.bytes = KEPT_BUFFERS
                .with(|kept| kept.borrow_mut().pop())
                .unwrap_or_else(|| vec![0; READ_BUFFER]);
        }
        (self.start, self.end) = (0, 0);
        &mut self.bytes
    }

    pub(crate) fn filled(&mut self, length: usize) {
        self.end = length;
    }

    /// The bytes up to the end of what was read, and where the unread ones start.
    pub(crate) fn unread(&mut self) -> (&[u8], &mut usize) {
        (&self.bytes[..self.end], &mut self.start)
    }

    /// The same bytes, for what was found in them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// Gives the buffer back: all of it, or, of a connection that has to pause,
    /// all but the unread rest, which is copied aside.
    pub(crate) fn give_back(&mut self) {
        if self.bytes.len() < READ_BUFFER {
            return;
        }
        let rest = self.bytes[self.start..self.end].to_vec();
        let lent = std::mem::replace(&mut self.bytes, rest);
        (self.start, self.end) = (0, self.bytes.len());
        KEPT_BUFFERS.with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT {
                kept.push(lent);
            }
        });
    }
}

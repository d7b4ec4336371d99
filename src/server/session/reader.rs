//! The message that a task function is reading (PROTOCOL T2).

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::effects::Unwanted;
use super::{Session, notice};
use crate::proto::TaskKey;

pub(super) struct ReaderState {
    key: TaskKey,
    chunks: VecDeque<Bytes>,
    ended: bool,
    waker: Option<Waker>,
    /// It asked for bytes since the driver last looked (L14).
    asked: bool,
    /// It waits for bytes that have not come.
    waiting: bool,
}

impl ReaderState {
    pub(super) const fn new(key: TaskKey) -> Self {
        Self {
            key,
            chunks: VecDeque::new(),
            ended: false,
            waker: None,
            asked: true,
            waiting: false,
        }
    }

    pub(super) fn is_for(&self, key: TaskKey) -> bool {
        self.key == key
    }

    /// More of the message, and whether that was its end; returns whom to wake.
    pub(super) fn push(&mut self, chunk: Bytes, ended: bool) -> Option<Waker> {
        self.chunks.push_back(chunk);
        self.ended = ended;
        self.waker.take()
    }

    /// The message has ended; returns whom to wake.
    pub(super) fn end(&mut self) -> Option<Waker> {
        self.ended = true;
        self.waker.take()
    }

    /// For L14: whether it asked for bytes since the last call, and whether it
    /// waits for some that have not come.
    pub(super) fn take_progress(&mut self) -> (bool, bool) {
        let asked = std::mem::take(&mut self.asked);
        let waiting = self.waiting && self.chunks.is_empty() && !self.ended;
        (asked, waiting)
    }
}

impl Session {
    /// The next bytes for the task function; `None` at the message's end.
    pub(crate) fn poll_chunk(&self, key: TaskKey, waker: &Waker) -> Poll<Option<Bytes>> {
        self.with(|state, after| {
            let Some(reader) = state.reader.as_mut().filter(|reader| reader.is_for(key)) else {
                // Dropped where it waits (T3): there is nothing to wait for.
                return Poll::Pending;
            };
            reader.asked = true;
            reader.waiting = false;
            match reader.chunks.pop_front() {
                Some(chunk) => {
                    state.connection.bytes_taken(chunk.len());
                    notice(state, after);
                    Poll::Ready(Some(chunk))
                }
                None if reader.ended => Poll::Ready(None),
                None => {
                    reader.waiting = true;
                    let before = reader.waker.replace(waker.clone());
                    after.drop_later(before.map(Unwanted::Waker));
                    Poll::Pending
                }
            }
        })
    }
}

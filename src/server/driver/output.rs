//! A turn's output: one write for all that it answered, and the half-close (PROTOCOL D3).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Buf;

use super::{BYTES, Driver, HalfClose, ITEMS, Side, TURNS};
use crate::proto::Phase;
use crate::runtime::Transport;

impl<S: Transport> Driver<S> {
    /// While single runners are under way, a write waits one turn for more.
    pub(super) fn defers_write(&self) -> bool {
        !self.deferred
            && self
                .session
                .drive(|state| state.single_runners > 0 && state.connection.has_output())
    }

    /// A batch that was read at once is answered by one write, even if it takes
    /// some turns.
    pub(super) fn gathers(&self, items: usize) -> bool {
        items >= ITEMS && !self.buffer.is_empty() && self.gathered + 1 < TURNS
    }

    /// Writes what is queued; whether bytes were taken.
    pub(super) fn output(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.unwritten.is_empty() {
            self.session.fetch_output(&mut self.unwritten);
        }
        let mut written = 0;
        while !self.unwritten.is_empty() && written < BYTES {
            match Pin::new(&mut self.transport).poll_write(cx, &self.unwritten) {
                Poll::Pending => {
                    self.write_side = Side::Waits;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    let error = io::Error::from(io::ErrorKind::WriteZero);
                    self.transport_failed(&error, now);
                }
                Poll::Ready(Ok(length)) => {
                    self.unwritten.advance(length);
                    written += length;
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => self.transport_failed(&error, now),
            }
        }
        if written > 0 {
            self.session
                .drive(|state| state.connection.handle_written(written));
        }
        self.flush(cx, now);
        written > 0
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.needs_flush {
            return;
        }
        match Pin::new(&mut self.transport).poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.needs_flush = false,
            Poll::Ready(Err(error)) => {
                self.needs_flush = false;
                self.transport_failed(&error, now);
            }
        }
    }

    /// Lingering begins with a half-close (D3); what was given up is not written.
    pub(super) fn poll_half_close(&mut self, cx: &mut Context<'_>, phase: Phase, now: Instant) {
        if !matches!(phase, Phase::Lingering { .. }) || self.half_close == HalfClose::Done {
            return;
        }
        if self.half_close == HalfClose::NotYet {
            self.half_close = HalfClose::UnderWay;
            self.unwritten.clear();
        }
        match Pin::new(&mut self.transport).poll_shutdown(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.half_close = HalfClose::Done,
            Poll::Ready(Err(error)) => {
                self.half_close = HalfClose::Done;
                self.transport_failed(&error, now);
            }
        }
    }
}

//! A turn's output: one write for all that it answered, and the half-close (PROTOCOL D3).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Buf;

use super::{BYTES, Budget, Driver, HalfClose, ITEMS, Side, TURNS};
use crate::proto::{Flush, Phase};
use crate::runtime::Transport;
use crate::server::session::{Fetched, WhileMoreComes};

/// A thread keeps no larger memory for output.
const MOST_LENT: usize = 256 << 10;

impl<S: Transport> Driver<S> {
    /// A batch that was read at once is answered by one write, even if it takes
    /// some turns. One that was cut by the end of the buffer is not read at once: what is
    /// left of it is read once more before that write, for each write wakes the client.
    pub(super) fn gathers(&self, budget: &Budget) -> bool {
        let has_more = budget.items >= ITEMS && !self.buffer.is_empty();
        let is_cut = budget.bytes >= BYTES && self.gathered == 0;
        has_more && self.may_gather() || is_cut
    }

    const fn may_gather(&self) -> bool {
        self.gathered + 1 < TURNS
    }

    /// A body that goes on is written in large parts: each write wakes the client.
    pub(super) fn gathers_body(&self) -> bool {
        self.unwritten.is_empty() && self.may_gather() && self.may_leave_output()
    }

    /// What is left to a later write needs another turn: this one may be the last of a
    /// connection that ends (D5).
    pub(super) fn may_leave_output(&self) -> bool {
        self.session.phase() == Phase::Open
    }

    /// Commits the turn's last results; while single runners are under way, a
    /// write waits one turn for more.
    pub(super) fn commit(&mut self, gathers: bool, now: Instant) -> Fetched {
        let write = if self.deferred {
            WhileMoreComes::GoesOn
        } else {
            WhileMoreComes::Waits
        };
        let output = Some(&mut self.unwritten);
        let output = output.filter(|unwritten| !gathers && unwritten.is_empty());
        let output = output.filter(|_| self.bodies.is_empty());
        let committed = self
            .session
            .commit(&mut self.lists.get().batch, output, write, now);
        self.take_news(committed.news);
        committed.fetched
    }

    /// Writes what is queued; how many bytes were taken.
    pub(super) fn output(&mut self, cx: &mut Context<'_>, fetched: Fetched, now: Instant) -> usize {
        if self.unwritten.is_empty() && fetched != Fetched::All {
            self.session.fetch_output(&mut self.unwritten);
        }
        let (mut written, mut failure) = (0, None);
        while !self.unwritten.is_empty() && written < BYTES {
            match Pin::new(&mut self.transport).poll_write(cx, &self.unwritten) {
                Poll::Pending => {
                    self.write_side = Side::Waits;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    failure = Some(io::ErrorKind::WriteZero.into());
                    break;
                }
                Poll::Ready(Ok(length)) => {
                    if length == self.unwritten.len() {
                        // Unlike an advance it leaves all of the memory to be filled again.
                        self.unwritten.clear();
                    } else {
                        self.unwritten.advance(length);
                    }
                    written += length;
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        self.newly_written += written;
        match failure {
            Some(error) => self.write_failed(&error, now),
            None => self.flush(cx, now),
        }
        written
    }

    /// Leaves the memory of what has been written to the thread's next connection.
    pub(super) fn give_back_output(&mut self) {
        if !self.unwritten.is_empty() {
            return;
        }
        let memory = std::mem::take(&mut self.unwritten);
        let kept = &mut self.lists.get().batch.output;
        if (kept.capacity() + 1..=MOST_LENT).contains(&memory.capacity()) {
            *kept = memory;
        }
    }

    /// What was taken before a failure was taken (D9).
    fn write_failed(&mut self, error: &io::Error, now: Instant) {
        self.count_written();
        self.transport_failed(error, now);
    }

    /// What the transport took counts at the end of the turn, unless somebody
    /// asks before.
    pub(super) fn count_written(&mut self) {
        let written = std::mem::take(&mut self.newly_written);
        if written > 0 {
            self.session
                .drive(|state| state.connection.handle_written(written));
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.needs_flush {
            return;
        }
        let polled = Pin::new(&mut self.transport).poll_flush(cx);
        self.needs_flush = polled.is_pending();
        if std::mem::replace(&mut self.flush_pends, self.needs_flush) != self.needs_flush {
            let flush = if self.needs_flush {
                Flush::Pending
            } else {
                Flush::Done
            };
            self.session
                .drive(|state| state.connection.set_flush(flush));
        }
        if let Poll::Ready(Err(error)) = polled {
            self.write_failed(&error, now);
        }
    }

    /// Lingering begins with a half-close (D3); what was given up is not
    /// written. Ready when the connection's state may have changed by it.
    pub(super) fn poll_half_close(
        &mut self,
        cx: &mut Context<'_>,
        phase: Phase,
        now: Instant,
    ) -> Poll<()> {
        if !matches!(phase, Phase::Lingering { .. }) || self.half_close == HalfClose::Done {
            return Poll::Pending;
        }
        if self.half_close == HalfClose::NotYet {
            self.half_close = HalfClose::UnderWay;
            self.unwritten.clear();
        }
        let closed = ready!(Pin::new(&mut self.transport).poll_shutdown(cx));
        self.half_close = HalfClose::Done;
        match closed {
            Ok(()) => self
                .session
                .drive(|state| state.connection.handle_half_closed(now)),
            Err(error) => self.transport_failed(&error, now),
        }
        Poll::Ready(())
    }
}

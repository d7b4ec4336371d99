//! An end of a connection, as the application has it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::attempt::{Attempt, Timer, earlier, poll_attempts};
use super::watcher::LinkEvent;
use super::{AfterReset, End, Ending, Link, LinkHandle, Presence, State};
use crate::pipe::{Pipe, Read, ResetBy, Written};
use crate::time::Going;

/// One end of a connection. Dropping it is what closing a socket is: what was
/// written still arrives, but bytes that were not read make it a reset.
///
/// ```
/// fn is_transport(_: impl asyncserver::runtime::Transport) {}
/// fn example(stream: asyncserver_sim::LinkStream) { is_transport(stream) }
/// ```
#[derive(Debug)]
pub struct LinkStream {
    link: Arc<Link>,
    end: End,
    read_timer: Timer,
    write_timer: Timer,
}

/// Polls that may be put off in a row: a random number of them alone could be endless.
const PUT_OFF_MOST: u8 = 3;

impl LinkStream {
    pub(super) fn new(link: Arc<Link>, end: End) -> Self {
        Self {
            link,
            end,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
        }
    }

    /// Resets the connection, as a socket that is closed without lingering.
    pub fn abort(&self) {
        self.link.record(format_args!("{} aborts", self.end.word()));
        self.link
            .change(|state, now| state.reset_by(ResetBy::Fault, now));
    }

    /// Which end it is.
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// Tells `told` what an observer of the connection must know.
    pub(crate) fn watch(&self, told: impl Fn(LinkEvent) + Send + Sync + 'static) {
        self.link.watcher.set(told);
        self.link.tell();
    }

    /// What sets out to the peer of the bytes that the last write took.
    pub(crate) fn set_out(&self, written: &[u8]) -> Vec<u8> {
        let state = self.link.locked();
        let out = state.pipes[self.end.index()].set_out();
        out.unwrap_or(written).to_vec()
    }

    /// What the peer had written of the bytes that the last read brought.
    pub(crate) fn as_written(&self, read: &[u8]) -> Vec<u8> {
        let state = self.link.locked();
        let written = state.pipes[self.end.other().index()].read_as_written();
        written.unwrap_or(read).to_vec()
    }

    /// What acts on the connection from outside.
    pub(crate) fn handle(&self) -> LinkHandle {
        LinkHandle::new(Arc::clone(&self.link))
    }

    /// Whether the end of the stream that it reads is what its peer has sent.
    pub(crate) fn was_ended_by_peer(&self) -> bool {
        self.link.locked().was_ended_by_peer(self.end)
    }

    /// Whether this poll is to be repeated for nothing.
    fn is_put_off(&self, state: &mut State, writer: End, cx: &Context<'_>) -> bool {
        let end = &mut state.ends[self.end.index()];
        let again = end.put_off < PUT_OFF_MOST && state.pipes[writer.index()].wakes_for_nothing();
        if again {
            end.put_off += 1;
            cx.waker().wake_by_ref();
        } else {
            end.put_off = 0;
        }
        again
    }

    fn try_read(&self, now: Duration, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Attempt<()> {
        let writer = self.end.other();
        let mut state = self.link.locked();
        let room = buf.remaining();
        if state.is_reset(now) {
            let rest = state.pipes[writer.index()].read_rest(room, |piece| buf.put_slice(piece));
            return Attempt::Done(match rest {
                0 if state.after_reset(self.end, now) == Some(AfterReset::Error) => {
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                _ => Ok(()),
            });
        }
        if self.is_put_off(&mut state, writer, cx) {
            return Attempt::PutOff;
        }
        let read = state.pipes[writer.index()].read(now, room, |piece| buf.put_slice(piece));
        match read {
            Read::Bytes(_) => {
                let waiting = state.ends[writer.index()].writer.take();
                Attempt::DoneAndWake(Ok(()), Vec::from_iter(waiting))
            }
            Read::EndOfStream => Attempt::Done(Ok(())),
            Read::Nothing(at) => {
                state.ends[self.end.index()].reader = Some(cx.waker().clone());
                Attempt::Wait(earlier(at, state.reset_at()))
            }
        }
    }

    fn try_write(&self, now: Duration, cx: &Context<'_>, bytes: &[u8]) -> Attempt<usize> {
        let mut state = self.link.locked();
        match state.after_reset(self.end, now) {
            None => {}
            Some(AfterReset::Error) => {
                return Attempt::Done(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Some(AfterReset::Ended) => return Attempt::Done(Err(io::ErrorKind::BrokenPipe.into())),
        }
        if self.is_put_off(&mut state, self.end, cx) {
            return Attempt::PutOff;
        }
        let struck = state.pipes[self.end.index()].strikes();
        let attempt = self.write(&mut state, now, cx, bytes);
        if state.pipes[self.end.index()].strikes() == struck {
            return attempt;
        }
        // As after a fault at any time, everybody who waits has something new to look at.
        attempt.and_wake(state.wakers())
    }

    fn write(
        &self,
        state: &mut State,
        now: Duration,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Attempt<usize> {
        match state.pipes[self.end.index()].write(now, bytes) {
            Written::Taken {
                bytes: taken,
                reset,
            } => {
                let Some((by, at)) = reset else {
                    let reader = state.ends[self.end.other().index()].reader.take();
                    return Attempt::DoneAndWake(Ok(taken), Vec::from_iter(reader));
                };
                state.reset_by(by, at);
                // Everybody who waits has a new time to wait for.
                let waiting = state.wakers();
                if taken == 0 && !bytes.is_empty() {
                    state.ends[self.end.index()].writer = Some(cx.waker().clone());
                    return Attempt::WaitAndWake(state.reset_at(), waiting);
                }
                Attempt::DoneAndWake(Ok(taken), waiting)
            }
            Written::Full => {
                state.ends[self.end.index()].writer = Some(cx.waker().clone());
                Attempt::Wait(state.reset_at())
            }
            Written::Closed => Attempt::Done(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The time, unless the world is frozen, where an end waits for ever.
    fn now(&self) -> Option<Duration> {
        match self.link.probe.count_poll(&self.link.name) {
            Going::On { now } => Some(now),
            Going::Frozen => None,
        }
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(now) = this.now() else {
            return Poll::Pending;
        };
        let filled = buf.filled().len();
        let mut timer = std::mem::take(&mut this.read_timer);
        let probe = &this.link.probe;
        let polled = poll_attempts(probe, now, &mut timer, cx, |now, cx| {
            this.try_read(now, cx, buf)
        });
        this.read_timer = timer;
        let word = this.end.word();
        match &polled {
            Poll::Ready(Ok(())) => {
                let bytes = buf.filled().len() - filled;
                this.link.record(format_args!("{word} reads {bytes}"));
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                this.link.record(format_args!("{word} reads {kind:?}"));
                this.link.told(LinkEvent::Failed(this.end));
            }
            Poll::Pending => this.link.record(format_args!("{word} reads nothing yet")),
        }
        this.link.tell();
        polled
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(now) = this.now() else {
            return Poll::Pending;
        };
        let mut timer = std::mem::take(&mut this.write_timer);
        let probe = &this.link.probe;
        let polled = poll_attempts(probe, now, &mut timer, cx, |now, cx| {
            this.try_write(now, cx, bytes)
        });
        this.write_timer = timer;
        let (word, all) = (this.end.word(), bytes.len());
        match &polled {
            Poll::Ready(Ok(taken)) => {
                this.link
                    .record(format_args!("{word} writes {taken} of {all}"));
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                this.link.record(format_args!("{word} writes {kind:?}"));
                this.link.told(LinkEvent::Failed(this.end));
            }
            Poll::Pending => {
                this.link
                    .record(format_args!("{word} writes none of {all} yet"));
            }
        }
        this.link.tell();
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| &**slice).copied().collect();
        self.poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.link.locked().pipes[self.end.index()].struck.flush();
        if let Err(error) = &result {
            let kind = error.kind();
            let word = self.end.word();
            self.link.record(format_args!("{word} flushes: {kind:?}"));
            self.link.told(LinkEvent::Failed(self.end));
        }
        Poll::Ready(result)
    }

    /// Ends this end's direction alone. Doing so again changes nothing, nor does
    /// it after a reset, which is for reads and writes to tell.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let word = self.end.word();
        let result = self.link.change(|state, now| {
            if state.is_reset(now) {
                return Ok(());
            }
            let pipe = &mut state.pipes[self.end.index()];
            pipe.struck.shutdown()?;
            if pipe.finish(now) {
                state.ends[self.end.index()].ending = Ending::Own;
            }
            Ok(())
        });
        let shown = result.as_ref().map_err(io::Error::kind);
        self.link
            .record(format_args!("{word} shuts down: {shown:?}"));
        if result.is_err() {
            self.link.told(LinkEvent::Failed(self.end));
        }
        Poll::Ready(result)
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.link.record(format_args!("{} closes", self.end.word()));
        let (end, other) = (self.end.index(), self.end.other().index());
        self.link.change(|state, now| {
            state.ends[end].presence = Presence::Dropped;
            let latency = state.pipes[end].latency();
            let lost = state.pipes[other].reader_left(now);
            if let Some(arrived) = lost {
                // Unread bytes: the other end must learn that they were lost.
                state.reset_by(ResetBy::Packet, arrived + latency);
            }
            if lost.is_none_or(|arrived| arrived > now) {
                // What is unread already is answered by a reset in place of the end.
                if state.pipes[end].finish(now) {
                    state.ends[end].ending = Ending::Own;
                }
            }
            if state.ends[other].presence == Presence::Dropped {
                state.pipes.iter_mut().for_each(Pipe::lose_everything);
            }
        });
    }
}

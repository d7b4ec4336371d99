//! A connection in memory that can be slowed down, held and broken.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use oracle::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::world::lock;

/// Both ends of a connection, and what can be done to it on the way.
pub struct Link<C, S> {
    /// The client's end.
    pub client: C,
    /// The server's end.
    pub server: S,
    /// What can go wrong between them.
    pub network: Arc<dyn Network>,
}

impl<C, S> fmt::Debug for Link<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// What a scenario does to the transport of its connection.
pub trait Network: Send + Sync {
    /// The server's end moves nothing more in this direction.
    fn hold(&self, direction: Direction);
    /// Both directions move again.
    fn release(&self);
    /// The connection is reset, for both ends.
    fn reset(&self);
    /// The server's end takes so many more bytes, then fails at its next read or
    /// write, and is dropped for it.
    fn fail_server(&self, after_bytes: usize);
    /// The client goes away: the end of its stream, and nobody who reads.
    fn leave(&self);
    /// How many bytes are on their way in this direction.
    fn waiting(&self, direction: Direction) -> usize;
}

/// A link whose directions hold `capacity_bytes` each. Nobody is told of failures
/// but `on_broken`: when a write of the server first meets a client that is gone,
/// and when one has taken the last byte before a failure.
#[must_use]
pub fn memory(
    capacity_bytes: usize,
    on_broken: impl Fn() + Send + Sync + 'static,
) -> Link<ClientEnd, ServerEnd> {
    let pipe = || Pipe {
        capacity: capacity_bytes.max(1),
        ..Pipe::default()
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            to_server: pipe(),
            to_client: pipe(),
            server_fails: Failure::None,
            is_broken: Broken::No,
        }),
        on_broken: Box::new(on_broken),
    });
    Link {
        client: ClientEnd(Arc::clone(&shared)),
        server: ServerEnd(Arc::clone(&shared)),
        network: shared,
    }
}

/// The client's end of a [`memory`] link.
pub struct ClientEnd(Arc<Shared>);

/// The server's end of a [`memory`] link.
pub struct ServerEnd(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    on_broken: Box<dyn Fn() + Send + Sync>,
}

struct State {
    to_server: Pipe,
    to_client: Pipe,
    server_fails: Failure,
    is_broken: Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    None,
    /// Once so many bytes have been taken.
    After(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    No,
    Told,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: End,
    reader: Reader,
    server_side: Flow,
    waits_to_read: Option<Waker>,
    waits_to_write: Option<Waker>,
}

/// What comes behind the bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Ended,
    Reset,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reader {
    #[default]
    There,
    Gone,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Moves,
    Held,
}

impl Pipe {
    fn poll_read(&mut self, into: &mut ReadBuf<'_>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.end == End::Reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let count = self.bytes.len().min(into.remaining());
        if count == 0 && self.end == End::Open && into.remaining() > 0 {
            self.waits_to_read = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, back) = self.bytes.as_slices();
        let from_front = front.len().min(count);
        into.put_slice(&front[..from_front]);
        into.put_slice(&back[..count - from_front]);
        self.bytes.drain(..count);
        wake(&mut self.waits_to_write);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if self.end == End::Reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if self.end == End::Ended || self.reader == Reader::Gone {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let count = (self.capacity - self.bytes.len()).min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            self.waits_to_write = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.bytes.extend(&bytes[..count]);
        wake(&mut self.waits_to_read);
        Poll::Ready(Ok(count))
    }

    fn finish(&mut self, end: End) {
        if self.end == End::Open || end == End::Reset {
            self.end = end;
        }
        self.wake_both();
    }

    fn leave_reader(&mut self) {
        self.reader = Reader::Gone;
        self.bytes.clear();
        self.wake_both();
    }

    fn wake_both(&mut self) {
        wake(&mut self.waits_to_read);
        wake(&mut self.waits_to_write);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Network for Shared {
    fn hold(&self, direction: Direction) {
        let mut state = self.state();
        match direction {
            Direction::ToServer => state.to_server.server_side = Flow::Held,
            Direction::ToClient => state.to_client.server_side = Flow::Held,
        }
    }

    fn release(&self) {
        let State {
            to_server,
            to_client,
            ..
        } = &mut *self.state();
        for pipe in [to_server, to_client] {
            pipe.server_side = Flow::Moves;
            pipe.wake_both();
        }
    }

    fn reset(&self) {
        let mut state = self.state();
        state.to_server.finish(End::Reset);
        state.to_client.finish(End::Reset);
    }

    fn fail_server(&self, after_bytes: usize) {
        let mut state = self.state();
        state.server_fails = Failure::After(after_bytes);
        wake(&mut state.to_server.waits_to_read);
        wake(&mut state.to_client.waits_to_write);
    }

    fn leave(&self) {
        let mut state = self.state();
        state.to_server.finish(End::Ended);
        state.to_client.leave_reader();
    }

    fn waiting(&self, direction: Direction) -> usize {
        let state = self.state();
        match direction {
            Direction::ToServer => state.to_server.bytes.len(),
            Direction::ToClient => state.to_client.bytes.len(),
        }
    }
}

impl AsyncRead for ClientEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.state().to_client.poll_read(into, cx)
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.state().to_server.poll_write(bytes, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.state().to_server.finish(End::Ended);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.server_fails == Failure::After(0) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        if state.to_server.server_side == Flow::Held && state.to_server.end != End::Reset {
            state.to_server.waits_to_read = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.to_server.poll_read(into, cx)
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        let most = match state.server_fails {
            Failure::None => usize::MAX,
            Failure::After(0) => return Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Failure::After(most) => most,
        };
        let is_gone = state.to_client.reader == Reader::Gone;
        if is_gone && state.is_broken == Broken::No {
            state.is_broken = Broken::Told;
            drop(state);
            (self.0.on_broken)();
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if state.to_client.server_side == Flow::Held && state.to_client.end != End::Reset {
            state.to_client.waits_to_write = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(most)];
        let written = state.to_client.poll_write(bytes, cx);
        if let (Failure::After(left), Poll::Ready(Ok(count))) = (state.server_fails, &written) {
            state.server_fails = Failure::After(left - count);
            if left == *count {
                drop(state);
                (self.0.on_broken)();
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.state().to_client.finish(End::Ended);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.to_client.finish(End::Ended);
        state.to_server.leave_reader();
    }
}

impl fmt::Debug for ClientEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientEnd")
    }
}

impl fmt::Debug for ServerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerEnd")
    }
}

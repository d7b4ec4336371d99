//! What a floor reads into and writes from. As long as nothing of a connection is in it,
//! it is its thread's: what dozens of connections use stays in the processor's cache.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Buffers {
    /// A request has to fit in it.
    pub(super) input: Box<[u8]>,
    /// What it holds of a request whose end has not come.
    kept: usize,
    pub(super) unsent: BytesMut,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            input: vec![0; 64 << 10].into(),
            kept: 0,
            unsent: BytesMut::new(),
        }
    }
}

impl Buffers {
    /// One read, behind what is kept. Ready with how long all of it is, or with 0 at the
    /// connection's end.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        let mut into = ReadBuf::new(&mut self.input[self.kept..]);
        let read = ready!(Pin::new(stream).poll_read(cx, &mut into));
        Poll::Ready(match (read, into.filled().len()) {
            (Ok(()), came) if came > 0 => self.kept + came,
            _ => 0,
        })
    }

    /// Keeps what is behind the last whole request.
    pub(super) fn keep(&mut self, behind: usize, end: usize) {
        self.input.copy_within(behind..end, 0);
        self.kept = end - behind;
    }

    /// Writes until nothing is unsent.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.unsent))?;
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
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

    /// Leaves them to the next connection, unless something of this one is in them.
    pub(super) fn give_back(&mut self) {
        let is_empty = |lent: &mut Box<Buffers>| lent.kept == 0 && lent.unsent.is_empty();
        if let Some(empty) = self.0.take_if(is_empty) {
            KEPT.set(Some(empty));
        }
    }
}

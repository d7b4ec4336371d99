//! A transport in memory whose peer is the model.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::shim;

/// Whether another thread than the connection's uses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It does: loom must see each access.
    Acts,
    /// All that it does it did before: loom need not look.
    IsDone,
}

/// The wire's state behind a lock that loom sees, or one that it does not.
#[derive(Debug)]
enum Lane {
    Seen(shim::Mutex<State>),
    Unseen(std::sync::Mutex<State>),
}

#[derive(Debug, Default)]
struct State {
    input: VecDeque<u8>,
    has_ended: bool,
    reader: Option<Waker>,
    /// Bytes that the transport takes until the peer allows more.
    room: usize,
    writer: Option<Waker>,
    output: Vec<u8>,
    /// Somebody who waits for output.
    watcher: Option<Waker>,
}

/// The peer's end.
#[derive(Clone, Debug)]
pub struct Far(Arc<Lane>);

/// The server's end.
#[derive(Debug)]
pub struct Near(Arc<Lane>);

/// A wire that takes `room` bytes of output until the peer allows more.
#[must_use]
pub fn wire(peer: Peer, room: usize) -> (Near, Far) {
    let state = State {
        room,
        ..State::default()
    };
    let lane = Arc::new(match peer {
        Peer::Acts => Lane::Seen(shim::Mutex::new(state)),
        Peer::IsDone => Lane::Unseen(std::sync::Mutex::new(state)),
    });
    (Near(Arc::clone(&lane)), Far(lane))
}

impl Lane {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        match self {
            Self::Seen(state) => change(&mut state.lock()),
            Self::Unseen(state) => change(
                &mut state
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Far {
    /// Sends bytes.
    pub fn send(&self, bytes: &[u8]) {
        wake(self.0.with(|state| {
            state.input.extend(bytes);
            state.reader.take()
        }));
    }

    /// Ends the stream to the server.
    pub fn end(&self) {
        wake(self.0.with(|state| {
            state.has_ended = true;
            state.reader.take()
        }));
    }

    /// Takes this many bytes more.
    pub fn allow(&self, bytes: usize) {
        wake(self.0.with(|state| {
            state.room = state.room.saturating_add(bytes);
            state.writer.take()
        }));
    }

    /// All that the server has written.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        self.0.with(|state| state.output.clone())
    }

    /// Waits until the server has written so many bytes.
    pub async fn written(&self, bytes: usize) {
        std::future::poll_fn(|cx| {
            self.0.with(|state| {
                if state.output.len() >= bytes {
                    return Poll::Ready(());
                }
                state.watcher = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }
}

impl AsyncRead for Near {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        shim::step();
        self.0.with(|state| {
            if state.input.is_empty() && !state.has_ended {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let length = state.input.len().min(into.remaining());
            for byte in state.input.drain(..length) {
                into.put_slice(&[byte]);
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        shim::step();
        let (length, watcher) = self.0.with(|state| {
            let length = bytes.len().min(state.room);
            if length == 0 {
                state.writer = Some(cx.waker().clone());
                return (0, None);
            }
            state.room -= length;
            state.output.extend_from_slice(&bytes[..length]);
            (length, state.watcher.take())
        });
        wake(watcher);
        match length {
            0 => Poll::Pending,
            length => Poll::Ready(Ok(length)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The bytes of one request with a message of up to 255 bytes.
#[must_use]
pub fn request(code: u8, id: u32, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![code];
    bytes.extend(id.to_be_bytes());
    if !message.is_empty() {
        bytes.push(u8::try_from(message.len()).unwrap_or(u8::MAX));
        bytes.extend(message);
    }
    bytes.push(0);
    bytes
}

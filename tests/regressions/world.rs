//! Odd transports and executors, and real time as the last resort against a hang.

use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::runtime::{BoxFuture, Executor, TokioExecutor};
use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire_client::ECHO;

/// Sleeps for a minute, and is dropped by a cancel.
pub(crate) const MINUTE: u8 = 2;
/// What a test is about.
pub(crate) const ODD: u8 = 3;

pub(crate) fn server() -> ServerBuilder {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(MINUTE), "sleep", async |_, message: Bytes| {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(message)
        })
}

/// For code that might never yield, or block its thread: it has five seconds of
/// real time, on a thread and under a paused clock of its own.
pub(crate) fn within_real_time(scenario: impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(scenario);
        sender.send(()).expect("somebody waits");
    });
    match receiver.recv_timeout(Duration::from_secs(5)) {
        Ok(()) => thread.join().expect("no panic"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it panicked"))
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not come to an end"),
    }
}

/// Several threads, in real time, for what only their meeting shows.
pub(crate) fn on_four_threads(scenario: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(scenario);
}

/// What a transport does when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    Succeeds,
    Fails,
    Pends,
}

impl Reaction {
    fn poll(self) -> Poll<std::io::Result<()>> {
        match self {
            Self::Succeeds => Poll::Ready(Ok(())),
            Self::Fails => Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
            Self::Pends => Poll::Pending,
        }
    }
}

/// A transport that gives its input at once and then nothing, takes so many
/// bytes, and then reacts as it is told.
pub(crate) struct Scripted {
    pub(crate) input: Bytes,
    pub(crate) takes: usize,
    pub(crate) further_writes: Reaction,
    pub(crate) flush: Reaction,
    pub(crate) shutdown: Reaction,
}

impl Scripted {
    pub(crate) fn new(input: impl Into<Bytes>) -> Self {
        Self {
            input: input.into(),
            takes: usize::MAX,
            further_writes: Reaction::Pends,
            flush: Reaction::Succeeds,
            shutdown: Reaction::Succeeds,
        }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let length = self.input.len().min(into.remaining());
        into.put_slice(&self.input.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.takes == 0 {
            return self.further_writes.poll().map_ok(|()| bytes.len());
        }
        let taken = self.takes.min(bytes.len());
        self.takes -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.flush.poll()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.shutdown.poll()
    }
}

/// One request whose message never ends, as fast as it is read.
pub(crate) struct Endless {
    pub(crate) bytes_read: Arc<Mutex<usize>>,
    pub(crate) header: Bytes,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        const BLOCK: [u8; 256] = [255; 256];
        let header = std::mem::take(&mut self.header);
        if !header.is_empty() {
            into.put_slice(&header);
            return Poll::Ready(Ok(()));
        }
        while into.remaining() >= BLOCK.len() {
            into.put_slice(&BLOCK);
        }
        *self.bytes_read.lock().expect("no panic") += into.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Functions that wait for a thread, which never comes by itself.
#[derive(Clone, Default)]
pub(crate) struct NoThreads(Arc<Mutex<Vec<QueuedFunction>>>);

type QueuedFunction = Box<dyn FnOnce() + Send>;

impl NoThreads {
    pub(crate) fn take_all(&self) -> Vec<QueuedFunction> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl Executor for NoThreads {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        TokioExecutor.spawn(future);
    }

    fn spawn_blocking(&self, function: QueuedFunction) {
        self.0.lock().expect("no panic").push(function);
    }
}

impl std::fmt::Debug for NoThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NoThreads")
    }
}

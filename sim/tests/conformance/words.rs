//! What is seen, in words that are equal where behaviour is.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::transports::{Pace, Stream};

/// More than any transport takes at once.
pub(crate) const LOTS: usize = 8 << 20;

/// Bytes of which each tells where it stands.
pub(crate) fn pattern(from: usize, bytes: usize) -> Vec<u8> {
    let byte = |n: usize| u8::try_from(n % 251).unwrap();
    (from..from + bytes).map(byte).collect()
}

impl Pace {
    /// How an operation ends, or that it does not.
    async fn outcome<T>(self, operation: impl Future<Output = io::Result<T>>) -> Result<T, String> {
        match timeout(self.patience(), operation).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(format!("{:?}", error.kind())),
            Err(_) => Err("waits".to_owned()),
        }
    }

    pub(crate) async fn settle(self) {
        tokio::time::sleep(self.settled()).await;
    }

    /// `"abc"`, `end`, or what happened instead.
    pub(crate) async fn read(self, stream: &mut impl Stream, room: usize) -> String {
        let mut buffer = vec![0; room];
        match self.outcome(stream.read(&mut buffer)).await {
            Ok(0) if room > 0 => "end".to_owned(),
            Ok(read) => format!("{:?}", String::from_utf8_lossy(&buffer[..read])),
            Err(words) => words,
        }
    }

    /// Everything until the stream ends: `"abc", end`.
    pub(crate) async fn read_out(self, stream: &mut impl Stream) -> String {
        let mut heard = Vec::new();
        let end = self.outcome(stream.read_to_end(&mut heard)).await;
        let end = end.map_or_else(|words| words, |_| "end".to_owned());
        if heard.is_empty() {
            return end;
        }
        format!("{:?}, {end}", String::from_utf8_lossy(&heard))
    }

    /// `took 3`, or what happened instead.
    pub(crate) async fn write(self, stream: &mut impl Stream, bytes: &[u8]) -> String {
        let written = self.outcome(stream.write(bytes)).await;
        written.map_or_else(|words| words, |taken| format!("took {taken}"))
    }

    pub(crate) async fn flush(self, stream: &mut impl Stream) -> String {
        words(self.outcome(stream.flush()).await)
    }

    pub(crate) async fn shut_down(self, stream: &mut impl Stream) -> String {
        words(self.outcome(stream.shutdown()).await)
    }

    /// Writes until that waits; says how many bytes were taken.
    pub(crate) async fn fill(self, stream: &mut impl Stream) -> usize {
        let mut written = 0;
        // Piece by piece: turmoil takes whatever it is given as one segment.
        let (mut piece, mut taken_of_it) = (pattern(0, 4096), 0);
        while let Ok(taken) = self.outcome(stream.write(&piece[taken_of_it..])).await {
            written += taken;
            taken_of_it += taken;
            if taken_of_it == piece.len() {
                (piece, taken_of_it) = (pattern(written, 4096), 0);
            }
            assert!(written < LOTS, "nothing holds the writer back");
        }
        written
    }

    /// Whether the bytes that [`Pace::fill`] wrote arrive.
    pub(crate) async fn drain(self, stream: &mut impl Stream, bytes: usize) -> String {
        let mut heard = vec![0; bytes];
        let reading = timeout(self.transfer(), stream.read_exact(&mut heard)).await;
        match reading {
            Ok(Ok(_)) if heard == pattern(0, bytes) => "all arrives".to_owned(),
            Ok(Ok(_)) => "garbled".to_owned(),
            Ok(Err(error)) => format!("{:?}", error.kind()),
            Err(_) => "waits".to_owned(),
        }
    }

    /// How writing fails in the end.
    pub(crate) async fn write_until_it_fails(self, stream: &mut impl Stream) -> String {
        let failing = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 4096]).await {
                    return format!("{:?}", error.kind());
                }
                tokio::task::yield_now().await;
            }
        };
        let failed = timeout(self.transfer() / 10, failing).await;
        failed.unwrap_or_else(|_| "waits".to_owned())
    }
}

fn words(result: Result<(), String>) -> String {
    result.map_or_else(|words| words, |()| "done".to_owned())
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    pub(crate) fn word(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            0 => "asleep",
            _ => "woken",
        }
    }
}

/// Polls a read once, for this waker.
pub(crate) fn poll_read(stream: &mut impl Stream, woken: &Arc<Woken>) -> String {
    let waker = Waker::from(Arc::clone(woken));
    let mut buffer = [0; 8];
    let mut buffer = ReadBuf::new(&mut buffer);
    let polled = Pin::new(stream).poll_read(&mut Context::from_waker(&waker), &mut buffer);
    match polled {
        Poll::Pending => "waits".to_owned(),
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => "end".to_owned(),
        Poll::Ready(Ok(())) => "bytes".to_owned(),
        Poll::Ready(Err(error)) => format!("{:?}", error.kind()),
    }
}

/// Polls a write of one byte once, for this waker.
pub(crate) fn poll_write(stream: &mut impl Stream, woken: &Arc<Woken>) -> String {
    let waker = Waker::from(Arc::clone(woken));
    let polled = Pin::new(stream).poll_write(&mut Context::from_waker(&waker), b"x");
    match polled {
        Poll::Pending => "waits".to_owned(),
        Poll::Ready(Ok(taken)) => format!("took {taken}"),
        Poll::Ready(Err(error)) => format!("{:?}", error.kind()),
    }
}

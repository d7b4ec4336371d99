//! Where a streamed message comes from.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::caught::{caught, drop_caught};

/// Bytes read from an [`AsyncRead`] at a time.
const READ_BYTES: usize = 32 << 10;
/// Empty pieces taken in a turn: a source of nothing else must not hold up the client.
const TURN_EMPTY_PIECES: usize = 32;

type Piece = Option<io::Result<Bytes>>;

/// The source of a message. Its first piece is fetched before the request
/// begins, so that a source that is slow to start holds nobody up, and one that
/// fails at once costs no connection.
pub(super) struct Source {
    first: Option<Piece>,
    /// `None` while it is being dropped.
    pieces: Option<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>>,
}

impl Source {
    pub(super) fn new(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self {
            first: None,
            pieces: Some(Box::pin(pieces)),
        }
    }

    pub(super) fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::new(Pieces {
            reader: Box::pin(reader),
            buffer: vec![0; READ_BYTES].into(),
        })
    }

    /// Fetches the first piece. `Err`: the source failed.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if self.first.is_none() {
            match ready!(self.poll_stream(cx)) {
                Some(Err(error)) => return Poll::Ready(Err(error)),
                piece => self.first = Some(piece),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The next piece, never empty; `None` at the message's end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        match self.first.take() {
            Some(piece) => Poll::Ready(piece),
            None => self.poll_stream(cx),
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let Some(pieces) = &mut self.pieces else {
            return Poll::Ready(None);
        };
        for _ in 0..TURN_EMPTY_PIECES {
            let polled = caught("source", || pieces.as_mut().poll_next(cx));
            match ready!(polled.unwrap_or_else(|panicked| Poll::Ready(Some(Err(panicked))))) {
                Some(Ok(piece)) if piece.is_empty() => {}
                piece => return Poll::Ready(piece),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop_caught("source", self.pieces.take());
    }
}

struct Pieces<R: ?Sized> {
    buffer: Box<[u8]>,
    reader: Pin<Box<R>>,
}

impl<R: AsyncRead> Stream for Pieces<R> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Piece> {
        let Self { buffer, reader } = &mut *self;
        let mut buffer = ReadBuf::new(buffer);
        Poll::Ready(match ready!(reader.as_mut().poll_read(cx, &mut buffer)) {
            Err(error) => Some(Err(error)),
            Ok(()) if buffer.filled().is_empty() => None,
            Ok(()) => Some(Ok(Bytes::copy_from_slice(buffer.filled()))),
        })
    }
}

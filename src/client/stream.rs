//! The caller's handle of a call whose response is streamed.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::call::{STREAM_BUFFER_BYTES, StreamItem};
use super::error::CallError;
use super::pending::Submission;
use crate::proto::Started;
use crate::wire::TaskId;

/// A response that is taken piece by piece: by [`chunk`](Self::chunk), as a
/// [`Stream`], or as an [`AsyncRead`].
///
/// It holds up all other responses of its connection while more than 1 MiB of
/// it waits to be taken; after 2 s of that its rest is discarded, and it ends
/// with [`CallError::NotTaken`] (PROTOCOL C8). Dropping it gives the call up.
///
/// ```
/// # async fn example(client: asyncserver::client::Client) -> Result<(), asyncserver::client::CallError> {
/// let mut response = client.request(4).message(vec![0, 16, 0, 0]).stream();
/// let mut length = 0;
/// while let Some(chunk) = response.chunk().await {
///     length += chunk?.len();
/// }
/// # Ok(()) }
/// ```
#[must_use = "dropping it gives the call up"]
pub struct ResponseStream {
    submission: Submission,
    items: mpsc::UnboundedReceiver<StreamItem>,
    buffered: Arc<AtomicUsize>,
    /// What the last read left of its chunk.
    rest: Bytes,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Going,
    /// The end, or the error, has been told.
    Ended,
}

impl ResponseStream {
    pub(super) const fn new(
        submission: Submission,
        items: mpsc::UnboundedReceiver<StreamItem>,
        buffered: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            submission,
            items,
            buffered,
            rest: Bytes::new(),
            progress: Progress::Going,
        }
    }

    /// The next bytes, never empty; `None` once the response has ended, or has
    /// ended with an error that was told.
    ///
    /// Cancel safe: no bytes are lost when the future is dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, CallError>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The id under which the request was last sent, or is about to be.
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        self.submission.head.sent_as()
    }

    /// Asks for the task to be cancelled; see [`PendingTask::cancel`](super::PendingTask::cancel).
    pub fn cancel(&mut self) {
        self.submission.cancel();
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        if self.progress == Progress::Ended {
            return Poll::Ready(None);
        }
        if let Err(error) = ready!(self.submission.poll_submitted(cx)) {
            return Poll::Ready(self.end(Err(error)));
        }
        Poll::Ready(match ready!(self.items.poll_recv(cx)) {
            Some(StreamItem::Piece(piece)) => {
                self.count_taken(piece.len());
                Some(Ok(piece))
            }
            Some(StreamItem::End(end)) => self.end(end.map_err(|error| *error)),
            None => self.end(Err(CallError::Closed {
                started: Started::Perhaps,
            })),
        })
    }

    fn end(&mut self, end: Result<(), CallError>) -> Option<Result<Bytes, CallError>> {
        self.progress = Progress::Ended;
        self.submission.ended();
        end.err().map(Err)
    }

    /// Sees to it that reading goes on once there is room again (PROTOCOL C8).
    fn count_taken(&self, bytes: usize) {
        let before = self.buffered.fetch_sub(bytes, Ordering::Relaxed);
        if before >= STREAM_BUFFER_BYTES && before - bytes < STREAM_BUFFER_BYTES {
            self.submission.tell_taken();
        }
    }
}

impl Stream for ResponseStream {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl AsyncRead for ResponseStream {
    /// A [`CallError`] comes as the source of an error of the kind `Other`.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.poll_chunk(cx)) {
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let take = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..take]);
        self.rest.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field("code", &self.submission.head.code)
            .field("id", &self.id())
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

//! The message as a task function reads it (PROTOCOL T2).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::session::Session;
use crate::proto::TaskKey;

/// The message of one request, as it arrives.
///
/// It sees exactly its own message. When its task must not go on it waits for
/// ever, to be dropped with its task function: it never sees a made-up error.
///
/// It is an [`AsyncRead`], too:
///
/// ```
/// use asyncserver::server::MessageReader;
/// use tokio::io::AsyncReadExt;
/// async fn first_byte(message: &mut MessageReader) -> Option<u8> {
///     message.read_u8().await.ok()
/// }
/// ```
pub struct MessageReader {
    session: Session,
    key: TaskKey,
    /// What an `AsyncRead` has not taken of the last chunk.
    rest: Bytes,
    ended: bool,
}

impl MessageReader {
    pub(crate) fn new(session: Session, key: TaskKey) -> Self {
        Self {
            session,
            key,
            rest: Bytes::new(),
            ended: false,
        }
    }

    /// The next bytes, of whatever length above 0; `None` at the message's end.
    ///
    /// Cancel safe: no bytes are lost.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.session.poll_chunk(self.key, cx.waker()));
        self.ended = chunk.is_none();
        Poll::Ready(chunk)
    }
}

impl AsyncRead for MessageReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut chunk) = ready!(self.poll_chunk(cx)) {
            let length = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..length]);
            chunk.advance(length);
            self.rest = chunk;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

//! What a run function returns: nothing, bytes, or a body that is produced
//! while it is sent (PROTOCOL T7).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::error::TaskError;

/// The most that is read from a body at once, in bytes.
pub(crate) const PIECE: usize = 64 << 10;

/// A task's result.
///
/// Everything that turns into [`Bytes`] turns into a response; `()` is the
/// empty one.
///
/// ```
/// use asyncserver::server::Response;
/// let whole: Response = "hello".into();
/// let empty: Response = ().into();
/// let file = Response::reader(tokio::io::empty());
/// assert_eq!(format!("{whole:?} {empty:?} {file:?}"), "Response(5 bytes) Response(0 bytes) Response(body)");
/// ```
pub struct Response(pub(crate) Payload);

pub(crate) enum Payload {
    Whole(Bytes),
    Body(Box<dyn Body>),
}

impl Response {
    /// A body that is read while it is sent; the reader is dropped once copying
    /// stops, for whatever reason (PROTOCOL T7).
    ///
    /// An error of the reader's that wraps a [`TaskError`] with a code is
    /// answered with that code if the response has not begun; every other one
    /// ends the connection.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self(Payload::Body(Box::new(ReaderBody {
            reader: Box::pin(reader),
            buffer: BytesMut::new(),
        })))
    }

    /// A body that comes in pieces while it is sent.
    ///
    /// An error with a code is answered with it if the response has not begun;
    /// every other one ends the connection.
    pub fn stream<S, B>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, TaskError>> + Send + 'static,
        B: Into<Bytes>,
    {
        Self(Payload::Body(Box::new(StreamBody(Box::pin(stream)))))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Payload::Whole(bytes) => write!(f, "Response({} bytes)", bytes.len()),
            Payload::Body(_) => f.write_str("Response(body)"),
        }
    }
}

impl From<()> for Response {
    fn from((): ()) -> Self {
        Self(Payload::Whole(Bytes::new()))
    }
}

macro_rules! whole_response {
    ($($bytes:ty),*) => {$(
        impl From<$bytes> for Response {
            fn from(bytes: $bytes) -> Self {
                Self(Payload::Whole(bytes.into()))
            }
        }
    )*};
}
whole_response!(
    Bytes,
    BytesMut,
    Vec<u8>,
    Box<[u8]>,
    String,
    &'static str,
    &'static [u8]
);

impl<const N: usize> From<[u8; N]> for Response {
    fn from(bytes: [u8; N]) -> Self {
        Self(Payload::Whole(Bytes::copy_from_slice(&bytes)))
    }
}

/// A body that is pulled in pieces.
pub(crate) trait Body: Send {
    /// The next piece, of at most [`PIECE`] bytes where the source allows a choice.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TaskError>>>;
}

struct ReaderBody<R> {
    reader: Pin<Box<R>>,
    buffer: BytesMut,
}

impl<R: AsyncRead + Send> Body for ReaderBody<R> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TaskError>>> {
        // Short reads share what was reserved for a long one.
        if self.buffer.capacity() < PIECE / 4 {
            self.buffer.reserve(PIECE);
        }
        let mut room = (&mut self.buffer).limit(PIECE);
        Poll::Ready(
            match ready!(poll_read_buf(self.reader.as_mut(), cx, &mut room)) {
                Err(error) => Some(Err(task_error(error))),
                Ok(0) => None,
                Ok(length) => Some(Ok(self.buffer.split_to(length).freeze())),
            },
        )
    }
}

/// An I/O error that carries one of ours keeps its code.
fn task_error(error: io::Error) -> TaskError {
    if !error
        .get_ref()
        .is_some_and(|source| source.is::<WrappedTaskError>())
    {
        return TaskError::fatal(error);
    }
    match error
        .into_inner()
        .map(|source| source.downcast::<WrappedTaskError>())
    {
        Some(Ok(wrapped)) => wrapped.0,
        Some(Err(source)) => TaskError::Fatal(source),
        None => TaskError::fatal("an error that was taken twice"),
    }
}

/// A [`TaskError`] on its way through an `io::Error`.
#[derive(Debug)]
struct WrappedTaskError(TaskError);

impl fmt::Display for WrappedTaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WrappedTaskError {}

impl From<TaskError> for io::Error {
    /// For readers that want to fail with a code.
    fn from(error: TaskError) -> Self {
        Self::other(WrappedTaskError(error))
    }
}

struct StreamBody<S>(Pin<Box<S>>);

impl<S, B> Body for StreamBody<S>
where
    S: Stream<Item = Result<B, TaskError>> + Send,
    B: Into<Bytes>,
{
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TaskError>>> {
        let piece = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map(Into::into)))
    }
}

/// A whole body that has to wait for its turn, or is too long to be queued at once.
pub(crate) struct WholeBody(pub(crate) Bytes);

impl Body for WholeBody {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, TaskError>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.0.len().min(PIECE);
        Poll::Ready(Some(Ok(self.0.split_to(length))))
    }
}

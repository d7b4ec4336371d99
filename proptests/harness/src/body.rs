//! Bodies that report how they end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asyncserver::runtime::BoxFuture;
use asyncserver::server::TaskError;
use asyncserver::wire::ErrorCode;
use bytes::Bytes;
use futures_util::Stream;
use oracle::{BodyEnd, What, pattern};
use tokio::io::{AsyncRead, ReadBuf};

use crate::world::World;

/// The longest piece that a body gives at once.
const PIECE_BYTES: usize = 5000;

/// So many bytes of the oracle's pattern, and then an end. It is a stream for
/// scripted tasks and a reader for demo tasks, so that both ways are used.
pub(crate) struct Body {
    world: World,
    run: u32,
    id: u32,
    at: usize,
    length: usize,
    then: BodyEnd,
    goes_on: Option<BoxFuture<'static, BodyEnd>>,
}

impl Body {
    pub(crate) const fn new(
        world: World,
        (run, id): (u32, u32),
        length: usize,
        then: BodyEnd,
    ) -> Self {
        Self {
            world,
            run,
            id,
            at: 0,
            length,
            then,
            goes_on: None,
        }
    }

    /// The next bytes, none at the end.
    fn poll_piece(
        &mut self,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, TaskError>>> {
        let count = (self.length - self.at).min(PIECE_BYTES).min(most);
        if count > 0 {
            let from = self.at % 251;
            self.at += count;
            return Poll::Ready(Some(Ok(pattern(from + count)[from..].to_vec())));
        }
        if self.then == BodyEnd::Stalls {
            self.then = ready!(self.poll_end(cx));
            let (run, how) = (self.run, self.then);
            self.world.record(What::BodyEnded { run, how });
        }
        Poll::Ready(match self.then {
            BodyEnd::Whole | BodyEnd::Stalls => None,
            BodyEnd::Coded { code } => Some(Err(TaskError::code_only(ErrorCode(code)))),
            BodyEnd::Torn => Some(Err(TaskError::fatal("it was asked to tear"))),
            BodyEnd::Panicked => std::panic::resume_unwind(Box::new("it was asked to panic")),
        })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        let (world, id) = (&self.world, self.id);
        let goes_on = self.goes_on.get_or_insert_with(|| {
            let world = world.clone();
            Box::pin(async move { world.body_end(id).await })
        });
        goes_on.as_mut().poll(cx)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.poll_piece(usize::MAX, cx));
        Poll::Ready(piece.map(|piece| piece.map(Bytes::from)))
    }
}

impl AsyncRead for Body {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.poll_piece(into.remaining(), cx));
        Poll::Ready(match piece.transpose() {
            Ok(piece) => {
                into.put_slice(&piece.unwrap_or_default());
                Ok(())
            }
            Err(error) => Err(io::Error::other(error.to_string())),
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.world.record(What::BodyDropped { run: self.run });
    }
}

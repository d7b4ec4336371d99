//! Run functions in boxes, which are used again: what has ended leaves its box to
//! the next call of the same function.
//!
//! What goes in and out is written where it is read: each copy of something that
//! was written just before costs more than all that a quick function does.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::failed;
use crate::proto::TaskKey;
use crate::server::error::TaskError;
use crate::server::response::Response;
use crate::server::session::{Ended, Session};
use crate::server::task::TaskContext;
use crate::wire::TaskId;

/// A call of a function of the whole message.
pub(crate) struct Call<'a> {
    pub(crate) session: &'a Session,
    pub(crate) key: TaskKey,
    pub(crate) id: TaskId,
    /// Until the function has been called with it.
    pub(crate) message: Option<Bytes>,
    pub(crate) first_poll: FirstPoll,
}

/// When the future that a call returns is polled for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstPoll {
    /// At once, by the driver, which is not woken for it.
    InPlace,
    Later,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing: the box is another function's.
    Misfit,
    /// Its future is in the box.
    Pending,
    /// It has ended.
    Ended,
}

/// A function of the whole message whose run function is a future.
pub(crate) trait AsyncFunction: Any + Send + Sync {
    /// An empty box for its futures.
    fn new_box(&self) -> BoxRunFuture;
}

impl<F, Fut, R> AsyncFunction for F
where
    F: Fn(TaskContext, Bytes) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
    R: Into<Response> + 'static,
{
    fn new_box(&self) -> BoxRunFuture {
        BoxRunFuture(Box::pin(FutureBox::<F, Fut> {
            future: None,
            function: PhantomData,
        }))
    }
}

/// A run function's future in its box. It is dropped by the poll in which it ends.
pub(crate) struct BoxRunFuture(Pin<Box<dyn RunBox>>);

impl BoxRunFuture {
    /// Of a future that there is already.
    pub(crate) fn new<Fut, R>(future: Fut) -> Self
    where
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Response> + 'static,
    {
        Self(Box::pin(FutureBox {
            future: Some(future),
            function: PhantomData::<fn(fn(TaskContext, Bytes) -> Fut)>,
        }))
    }

    /// The same in a tracing span, which is left for good once it has ended: its
    /// box may be kept for longer.
    pub(crate) fn in_span(self, span: tracing::Span) -> Self {
        Self(Box::pin(InSpan {
            span,
            function: self,
        }))
    }

    /// What it takes, its place in a list included; for a box that is of use to others.
    fn bytes(&self) -> Option<usize> {
        self.0.bytes().map(|bytes| size_of::<Self>() + bytes)
    }

    /// How it ended is left in `into`.
    pub(crate) fn poll(
        &mut self,
        session: &Session,
        key: TaskKey,
        cx: &mut Context<'_>,
        into: &mut Ended,
    ) -> Poll<()> {
        self.0.as_mut().poll(session, key, cx, into)
    }
}

/// Boxes of run functions that have ended. A driver's thread keeps them, not a
/// connection.
#[derive(Default)]
pub(crate) struct Spares {
    boxes: Vec<BoxRunFuture>,
    /// What they take.
    bytes: usize,
}

impl Spares {
    /// So many bytes are kept at most, in boxes of so many each.
    const MOST_BYTES: usize = 256 << 10;
    const LARGEST: usize = 1024;

    pub(crate) fn keep(&mut self, boxed: BoxRunFuture) {
        let Some(bytes) = boxed.bytes() else {
            return;
        };
        if bytes <= Self::LARGEST && self.bytes + bytes <= Self::MOST_BYTES {
            self.bytes += bytes;
            self.boxes.push(boxed);
        }
    }

    pub(crate) fn take(&mut self) -> Option<BoxRunFuture> {
        let boxed = self.boxes.pop()?;
        self.bytes -= boxed.bytes().unwrap_or_default();
        Some(boxed)
    }
}

/// Calls the function, in the box that a former run left if that fits, or in a new
/// one: there its future is left, and the empty box once that has ended.
pub(crate) fn begin_in(
    spare: &mut Option<BoxRunFuture>,
    function: &dyn AsyncFunction,
    call: &mut Call<'_>,
    into: &mut Ended,
) -> Begun {
    if let Some(spare) = spare {
        let begun = spare.0.as_mut().begin(function, call, into);
        if begun != Begun::Misfit {
            return begun;
        }
    }
    let new = spare.insert(function.new_box());
    new.0.as_mut().begin(function, call, into)
}

trait RunBox: Send {
    /// Of the box alone; `None`: no other call fits.
    fn bytes(&self) -> Option<usize>;

    fn poll(
        self: Pin<&mut Self>,
        session: &Session,
        key: TaskKey,
        cx: &mut Context<'_>,
        into: &mut Ended,
    ) -> Poll<()>;

    fn begin(
        self: Pin<&mut Self>,
        function: &dyn Any,
        call: &mut Call<'_>,
        into: &mut Ended,
    ) -> Begun;
}

pin_project! {
    /// For the futures of one function, one after the other.
    struct FutureBox<F, Fut> {
        #[pin]
        future: Option<Fut>,
        function: PhantomData<fn(F)>,
    }
}

impl<F, Fut, R> RunBox for FutureBox<F, Fut>
where
    F: Fn(TaskContext, Bytes) -> Fut + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
    R: Into<Response> + 'static,
{
    fn bytes(&self) -> Option<usize> {
        Some(size_of_val(self))
    }

    #[inline]
    fn poll(
        self: Pin<&mut Self>,
        session: &Session,
        key: TaskKey,
        cx: &mut Context<'_>,
        into: &mut Ended,
    ) -> Poll<()> {
        let mut future = self.project().future;
        let Some(running) = future.as_mut().as_pin_mut() else {
            debug_assert!(false, "it has ended");
            return Poll::Pending;
        };
        match ready!(running.poll(cx)) {
            Ok(response) => *into = Ended::Response(response.into()),
            Err(error) => *into = failed(session, key, &error),
        }
        future.set(None);
        Poll::Ready(())
    }

    fn begin(
        mut self: Pin<&mut Self>,
        function: &dyn Any,
        call: &mut Call<'_>,
        into: &mut Ended,
    ) -> Begun {
        let Some(function) = function.downcast_ref::<F>() else {
            return Begun::Misfit;
        };
        let Some(message) = call.message.take() else {
            return Begun::Misfit;
        };
        let context = TaskContext {
            session: call.session.clone(),
            key: call.key,
            id: call.id,
        };
        let future = function(context, message);
        self.as_mut().project().future.set(Some(future));
        if call.first_poll == FirstPoll::Later {
            return Begun::Pending;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll(call.session, call.key, &mut cx, into) {
            Poll::Ready(()) => Begun::Ended,
            Poll::Pending => Begun::Pending,
        }
    }
}

struct InSpan {
    span: tracing::Span,
    function: BoxRunFuture,
}

impl RunBox for InSpan {
    fn bytes(&self) -> Option<usize> {
        None
    }

    fn poll(
        mut self: Pin<&mut Self>,
        session: &Session,
        key: TaskKey,
        cx: &mut Context<'_>,
        into: &mut Ended,
    ) -> Poll<()> {
        let Self { span, function } = &mut *self;
        let polled = span.in_scope(|| function.poll(session, key, cx, into));
        if polled.is_ready() {
            *span = tracing::Span::none();
        }
        polled
    }

    /// It is for its own function alone.
    fn begin(self: Pin<&mut Self>, _: &dyn Any, _: &mut Call<'_>, _: &mut Ended) -> Begun {
        Begun::Misfit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waits_with<const BYTES: usize>(
        _: TaskContext,
        message: Bytes,
    ) -> Result<Response, TaskError> {
        let room = [0; BYTES];
        std::future::pending::<()>().await;
        drop((message, room));
        Ok(Response::from(""))
    }

    #[test]
    fn boxes_of_large_futures_and_of_too_many_are_not_kept() {
        let mut spares = Spares::default();
        spares.keep(waits_with::<{ Spares::LARGEST }>.new_box());
        assert!(spares.take().is_none());
        spares.keep(waits_with::<16>.new_box().in_span(tracing::Span::none()));
        assert!(spares.take().is_none(), "that box is its function's own");
        let bytes = waits_with::<16>.new_box().bytes();
        let most = Spares::MOST_BYTES / bytes.unwrap();
        // Twice: those that were taken count no more.
        for _ in 0..2 {
            for _ in 0..=most {
                spares.keep(waits_with::<16>.new_box());
            }
            assert_eq!(std::iter::from_fn(|| spares.take()).count(), most);
        }
    }
}

//! Run functions in boxes, which are used again: what has ended leaves its box to
//! the next call of the same function.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use pin_project_lite::pin_project;

use crate::server::error::TaskError;
use crate::server::response::Response;
use crate::server::task::TaskContext;

/// What a run function returned.
pub(crate) type RunResult = Result<Response, TaskError>;

/// What a function of the whole message is called with.
pub(crate) struct Call {
    pub(crate) context: TaskContext,
    pub(crate) message: Bytes,
}

/// When the future that a call returns is polled for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstPoll {
    /// At once, by the driver, which is not woken for it.
    InPlace,
    Later,
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

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RunResult> {
        self.0.as_mut().poll(cx)
    }

    /// Calls the function, if this box is for its futures: then the call is taken.
    fn begin(
        &mut self,
        function: &dyn AsyncFunction,
        call: &mut Option<Call>,
        first_poll: FirstPoll,
    ) -> Poll<RunResult> {
        self.0.as_mut().begin(function, call, first_poll)
    }
}

/// Calls the function, in the box that a former run left if that fits, or in a new
/// one: there its future is left, and the empty box once that has ended.
pub(crate) fn begin_in(
    spare: &mut Option<BoxRunFuture>,
    function: &dyn AsyncFunction,
    call: Call,
    first_poll: FirstPoll,
) -> Poll<RunResult> {
    let mut call = Some(call);
    if let Some(spare) = spare {
        let polled = spare.begin(function, &mut call, first_poll);
        if call.is_none() {
            return polled;
        }
    }
    let new = spare.insert(function.new_box());
    new.begin(function, &mut call, first_poll)
}

trait RunBox: Send {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RunResult>;

    fn begin(
        self: Pin<&mut Self>,
        function: &dyn Any,
        call: &mut Option<Call>,
        first_poll: FirstPoll,
    ) -> Poll<RunResult>;
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
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RunResult> {
        let mut future = self.project().future;
        let Some(running) = future.as_mut().as_pin_mut() else {
            debug_assert!(false, "it has ended");
            return Poll::Pending;
        };
        let result = ready!(running.poll(cx));
        future.set(None);
        Poll::Ready(result.map(Into::into))
    }

    fn begin(
        mut self: Pin<&mut Self>,
        function: &dyn Any,
        call: &mut Option<Call>,
        first_poll: FirstPoll,
    ) -> Poll<RunResult> {
        let Some(function) = function.downcast_ref::<F>() else {
            return Poll::Pending;
        };
        let Some(Call { context, message }) = call.take() else {
            return Poll::Pending;
        };
        let future = function(context, message);
        self.as_mut().project().future.set(Some(future));
        match first_poll {
            FirstPoll::InPlace => self.poll(&mut Context::from_waker(Waker::noop())),
            FirstPoll::Later => Poll::Pending,
        }
    }
}

struct InSpan {
    span: tracing::Span,
    function: BoxRunFuture,
}

impl RunBox for InSpan {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RunResult> {
        let Self { span, function } = &mut *self;
        let polled = span.in_scope(|| function.poll(cx));
        if polled.is_ready() {
            *span = tracing::Span::none();
        }
        polled
    }

    /// It is nobody's but its function's.
    fn begin(
        self: Pin<&mut Self>,
        _: &dyn Any,
        _: &mut Option<Call>,
        _: FirstPoll,
    ) -> Poll<RunResult> {
        Poll::Pending
    }
}

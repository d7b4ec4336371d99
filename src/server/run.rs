//! Runs one run function: in place, on the executor, or on a thread; with its
//! panics, its cancel and the end of its connection (PROTOCOL T9, T10, T13).

mod blocking;
mod boxed;
mod group;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

pub(crate) use self::blocking::BlockingTask;
pub(crate) use self::boxed::{AsyncFunction, BoxRunFuture, Call, FirstPoll, Spares};
use self::boxed::{Begun, begin_in};
pub(crate) use self::group::{GROUP, Group, SLOW_POLL, Single};
use super::error::TaskError;
use super::session::{Ended, Finished, RunnerOrder, Session};
use crate::proto::TaskKey;
use crate::runtime::Timer;
use crate::wire::TaskId;

/// Runs code of the application's that belongs to no one task; a panic of it is
/// logged and gives `None`.
pub(crate) fn unless_panics<R>(code: impl FnOnce() -> R) -> Option<R> {
    caught(code)
        .map_err(|panic| tracing::error!(%panic, "the application's code panicked"))
        .ok()
}

/// Runs a task's code; a panic of it is logged, with whose it is, and gives `None` (T9).
pub(crate) fn unless_task_panics<R>(
    session: &Session,
    key: TaskKey,
    code: impl FnOnce() -> R,
) -> Option<R> {
    caught(code)
        .map_err(|panic| session.log_panic(key, &panic))
        .ok()
}

/// The message of a panic, if there was one.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        // The payload is the task's, too: its destructor may panic.
        drop(catch_unwind(AssertUnwindSafe(|| drop(panic))));
        message.unwrap_or_else(|| "no message".to_owned())
    })
}

/// Drops what belongs to a task: a panicking destructor is logged, no more.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = unless_panics(|| drop(value));
}

/// Runs code of the application's on many: on each by itself, for a second panic
/// while the first one unwinds would end the process.
pub(crate) fn each_quietly<T>(values: impl IntoIterator<Item = T>, mut code: impl FnMut(T)) {
    let mut values = values.into_iter();
    // Behind one that panics the others go on.
    while unless_panics(|| values.by_ref().for_each(&mut code)).is_none() {}
}

/// [`drop_quietly`] for many.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    each_quietly(values, drop);
}

/// The same of results that have been committed, where they lie; their boxes are kept.
pub(crate) fn drop_results(results: &mut [Finished], spares: &mut Spares) {
    each_quietly(results, |finished| {
        if let Some(function) = finished.function.take() {
            spares.keep(function);
        }
        finished.ended = Ended::Dropped;
    });
}

/// An error that a run function returned, as the ledger takes it. Its words are the
/// application's code, and so is its destructor.
fn failed(session: &Session, key: TaskKey, error: &TaskError) -> Ended {
    if let TaskError::Fatal(source) = error {
        return Ended::Fatal(source.to_string().into());
    }
    session.log_failure(key, error);
    // Only a fatal one has no code.
    error.code().map_or(Ended::Panicked, Ended::Error)
}

/// Calls a task's function, in the driver's own turn. How its run function ended, if
/// it did at once, is left in `into`; its box is left in `spare` unless it panicked.
pub(crate) fn begin_caught(
    function: &dyn AsyncFunction,
    call: &mut Call<'_>,
    spare: &mut Option<BoxRunFuture>,
    into: &mut Ended,
) -> Poll<()> {
    let (session, key) = (call.session, call.key);
    or_panicked(session, key, spare, into, |spare, into| {
        match begin_in(spare, function, call, into) {
            Begun::Ended => Poll::Ready(()),
            Begun::Pending | Begun::Misfit => Poll::Pending,
        }
    })
}

/// The first poll of a function that has been called, in the driver's own turn.
pub(crate) fn poll_in_place(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    into: &mut Ended,
) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    poll_caught(session, key, function, &mut cx, into)
}

/// Polls a run function. What has ended is dropped by its box: its destructor is
/// the task's code, too, and a panic of it comes before the answer (T9).
fn poll_caught(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    cx: &mut Context<'_>,
    into: &mut Ended,
) -> Poll<()> {
    or_panicked(
        session,
        key,
        function,
        into,
        |function, into| match function {
            Some(function) => function.poll(session, key, cx, into),
            None => Poll::Ready(()),
        },
    )
}

/// What the task's code came to; of a function that panics nothing is left.
#[inline]
fn or_panicked(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    into: &mut Ended,
    code: impl FnOnce(&mut Option<BoxRunFuture>, &mut Ended) -> Poll<()>,
) -> Poll<()> {
    unless_task_panics(session, key, || code(function, into)).unwrap_or_else(|| {
        let panicked = function.take();
        let _ = unless_task_panics(session, key, || drop(panicked));
        drop_quietly(std::mem::replace(into, Ended::Panicked));
        Poll::Ready(())
    })
}

/// The run function in its task's span, if that is enabled: nobody else pays for it.
#[inline]
pub(crate) fn in_span(
    session: &Session,
    key: TaskKey,
    id: TaskId,
    function: BoxRunFuture,
) -> BoxRunFuture {
    match session.enabled_span(key, id) {
        Some(span) => function.in_span(span),
        None => function,
    }
}

/// Who looks for orders to a run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It does so itself.
    Itself,
    /// Its group, for all its members under one lock.
    Group,
}

/// A run function that is a future, wherever it is polled.
pub(crate) struct RunningTask {
    session: Session,
    key: TaskKey,
    function: Option<BoxRunFuture>,
    watch: Watch,
    /// It was ordered to drop its function.
    drops: bool,
    /// The orders that were given up to the last look.
    seen_orders: u32,
    /// The waker of its last poll, or the one that was left with the session.
    waker: Option<Waker>,
    /// Ends the grace once the connection cannot any more. On the heap: few ever need it.
    grace: Option<Box<Grace>>,
}

struct Grace {
    end: Instant,
    /// Once it has been waited for.
    timer: Option<Box<dyn Timer>>,
}

impl RunningTask {
    #[inline]
    pub(crate) fn new(
        session: Session,
        key: TaskKey,
        function: BoxRunFuture,
        watch: Watch,
        seen_orders: u32,
    ) -> Self {
        Self {
            session,
            key,
            function: Some(function),
            watch,
            drops: false,
            seen_orders,
            waker: None,
            grace: None,
        }
    }

    pub(crate) const fn key(&self) -> TaskKey {
        self.key
    }

    /// Whether its group looks for its orders.
    pub(crate) fn watches_through_group(&self) -> bool {
        self.watch == Watch::Group
    }

    /// Its group was told this for it; returns whom to wake with the news.
    pub(crate) fn give_order(&mut self, order: RunnerOrder) -> Option<Waker> {
        self.take_order(order).then(|| self.waker.clone())?
    }

    /// Whether it is news. An order is never taken back.
    fn take_order(&mut self, order: RunnerOrder) -> bool {
        match (order, &mut self.grace) {
            (RunnerOrder::GoOn, _) => false,
            (RunnerOrder::Drop, _) => !std::mem::replace(&mut self.drops, true),
            (RunnerOrder::DropAt(end), Some(grace)) => {
                std::mem::replace(&mut grace.end, end) != end
            }
            (RunnerOrder::DropAt(end), none) => {
                *none = Some(Box::new(Grace { end, timer: None }));
                true
            }
        }
    }

    /// Polls the function; it is gone once it has ended.
    #[inline]
    fn poll_function(&mut self, cx: &mut Context<'_>, finished: &mut Finished) -> Poll<()> {
        let into = &mut finished.ended;
        let polled = poll_caught(&self.session, self.key, &mut self.function, cx, into);
        if polled.is_ready() {
            finished.function = self.function.take();
        }
        polled
    }

    /// Looks for orders, if there are new ones to anybody.
    fn look_for_orders(&mut self, cx: &Context<'_>) {
        if self.watch == Watch::Itself && self.session.orders() != self.seen_orders {
            self.keep_waker(cx);
            self.take_orders(cx);
        }
    }

    /// Leaves its waker for news, once; takes what was ordered before.
    fn await_orders(&mut self, cx: &Context<'_>) {
        if self.keep_waker(cx) && self.watch == Watch::Itself {
            self.take_orders(cx);
        }
    }

    fn take_orders(&mut self, cx: &Context<'_>) {
        self.seen_orders = self.session.orders();
        let order = self.session.runner_order(self.key, cx.waker());
        self.take_order(order);
    }

    /// Whether it is another one than before.
    fn keep_waker(&mut self, cx: &Context<'_>) -> bool {
        let is_new = !is_same(self.waker.as_ref(), cx);
        if is_new {
            self.waker = Some(cx.waker().clone());
        }
        is_new
    }

    /// Whether the grace that outlives the connection has passed.
    fn grace_is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(grace) = &mut self.grace else {
            return false;
        };
        let clock = &self.session.client().server.clock;
        let timer = grace.timer.get_or_insert_with(|| clock.timer());
        timer.poll_until(grace.end, cx).is_ready()
    }

    /// Polls it, for one who polls it once more at once: its waker is not kept.
    #[inline]
    pub(crate) fn poll_again(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        self.look_for_orders(cx);
        if self.drops {
            return Poll::Ready(self.dropped());
        }
        let mut finished = Finished::new(self.key, Ended::Dropped);
        if self.poll_function(cx, &mut finished).is_ready() {
            return Poll::Ready(finished);
        }
        Poll::Pending
    }

    /// How it ends without having been polled once more.
    fn dropped(&mut self) -> Finished {
        if let Some(function) = self.function.take() {
            drop_quietly(function);
        }
        Finished::new(self.key, Ended::Dropped)
    }
}

impl Future for RunningTask {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(finished) = this.poll_again(cx) {
            return Poll::Ready(finished);
        }
        // Most have ended by now, and never need it.
        this.await_orders(cx);
        if this.drops || this.grace_is_over(cx) {
            return Poll::Ready(this.dropped());
        }
        Poll::Pending
    }
}

impl Drop for RunningTask {
    /// An executor that drops what has not ended ends its task as cancelled.
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            drop_quietly(function);
            self.session.finish_one(self.key, Ended::Dropped);
        }
    }
}

fn is_same(last: Option<&Waker>, cx: &Context<'_>) -> bool {
    last.is_some_and(|last| last.will_wake(cx.waker()))
}

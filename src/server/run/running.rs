//! A run function that is a future, with the orders to it (PROTOCOL T10).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::boxed::BoxRunFuture;
use super::{drop_quietly, poll_caught};
use crate::proto::TaskKey;
use crate::runtime::Timer;
use crate::server::session::{Ended, Finished, RunnerOrder, Session};

/// Who looks for orders to a run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It does so itself, in its connection's task.
    Local,
    /// It does so itself, in an executor task of its own.
    Single,
    /// Its group, for all its members under one lock.
    Group,
}

/// A run function that is a future, wherever it is polled.
pub(crate) struct RunningTask {
    pub(super) session: Session,
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
        if self.watch != Watch::Group && self.session.orders() != self.seen_orders {
            self.keep_waker(cx);
            self.take_orders(cx);
        }
    }

    /// Leaves its waker for news, once; takes what was ordered before.
    fn await_orders(&mut self, cx: &Context<'_>) {
        if !self.keep_waker(cx) {
            return;
        }
        let (session, waker) = (&self.session, cx.waker());
        let has_seen_all = match self.watch {
            Watch::Local => false,
            Watch::Single => session.leave_waker(self.key, waker, self.seen_orders),
            Watch::Group => true,
        };
        if !has_seen_all {
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

pub(super) fn is_same(last: Option<&Waker>, cx: &Context<'_>) -> bool {
    last.is_some_and(|last| last.will_wake(cx.waker()))
}

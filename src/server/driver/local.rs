//! Run functions in the connection's own task.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::{Driver, ITEMS};
use crate::server::run::{RunningTask, unless_panics};
use crate::server::session::{Finished, Session};

/// The functions that are under way. Most connections never have any, and pay nothing.
#[derive(Default)]
pub(super) struct LocalTasks {
    tasks: Option<FuturesUnordered<RunningTask>>,
    /// One of them has not been polled with the driver's waker yet.
    has_new: bool,
    /// How many orders had been given when they were last passed on to them.
    passed_orders: u64,
}

impl LocalTasks {
    #[inline]
    pub(super) fn push(&mut self, mut task: RunningTask) {
        task.join_group();
        self.tasks.get_or_insert_default().push(task);
        self.has_new = true;
    }

    /// Those that are left, if there are any.
    pub(super) fn take(&mut self) -> Option<FuturesUnordered<RunningTask>> {
        self.tasks.take().filter(|tasks| !tasks.is_empty())
    }

    /// Gives back what none of them needs.
    pub(super) fn shrink(&mut self) {
        self.tasks = self.take();
    }

    /// Whoever gives an order wakes the driver, which looks for those to its own
    /// run functions under one lock.
    fn pass_orders_on(&mut self, session: &Session) {
        let orders = session.orders();
        let Some(tasks) = self.tasks.as_mut().filter(|tasks| !tasks.is_empty()) else {
            return;
        };
        if std::mem::replace(&mut self.passed_orders, orders) == orders {
            return;
        }
        for waker in session.give_orders(tasks.iter_mut()) {
            unless_panics(|| waker.wake());
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished>> {
        match &mut self.tasks {
            Some(tasks) => Pin::new(tasks).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<S> Driver<S> {
    pub(super) fn poll_local(&mut self, cx: &mut Context<'_>) {
        self.local.pass_orders_on(&self.session);
        for _ in 0..ITEMS {
            match self.local.poll_next(cx) {
                Poll::Ready(Some(finished)) => self.lists.batch.ended.push(finished),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Those that have come since the turn's first look.
    pub(super) fn poll_new_local(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.local.has_new) {
            self.poll_local(cx);
        }
    }
}

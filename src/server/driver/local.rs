//! Run functions in the connection's own task.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::{Driver, ITEMS};
use crate::server::run::RunningTask;
use crate::server::session::Finished;

/// The functions that are under way. Most connections never have any, and pay nothing.
#[derive(Default)]
pub(super) struct LocalTasks {
    tasks: Option<FuturesUnordered<RunningTask>>,
    /// One of them has not been polled with the driver's waker yet.
    has_new: bool,
}

impl LocalTasks {
    #[inline]
    pub(super) fn push(&mut self, task: RunningTask) {
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

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished>> {
        match &mut self.tasks {
            Some(tasks) => Pin::new(tasks).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<S> Driver<S> {
    pub(super) fn poll_local(&mut self, cx: &mut Context<'_>) {
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

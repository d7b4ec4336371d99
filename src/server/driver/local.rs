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
    /// Those that have come in this turn. Some go on at once, and need no place
    /// among those that wait.
    new: Vec<RunningTask>,
    waiting: Option<FuturesUnordered<RunningTask>>,
}

impl LocalTasks {
    #[inline]
    pub(super) fn push(&mut self, task: RunningTask) {
        self.new.push(task);
    }

    /// Those that are left, if there are any.
    pub(super) fn take(&mut self) -> Option<FuturesUnordered<RunningTask>> {
        let new = std::mem::take(&mut self.new);
        if !new.is_empty() {
            self.waiting.get_or_insert_default().extend(new);
        }
        self.waiting.take().filter(|tasks| !tasks.is_empty())
    }

    /// Gives back what none of them needs.
    pub(super) fn shrink(&mut self) {
        self.waiting = self.take();
        self.new = Vec::new();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished>> {
        match &mut self.waiting {
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
        if self.local.new.is_empty() {
            return;
        }
        let LocalTasks { new, waiting } = &mut self.local;
        for mut task in new.drain(..) {
            match task.poll_again(cx) {
                Poll::Ready(finished) => self.lists.batch.ended.push(finished),
                Poll::Pending => waiting.get_or_insert_default().push(task),
            }
        }
        self.poll_local(cx);
    }
}

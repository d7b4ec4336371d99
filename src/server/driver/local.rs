//! Run functions in the connection's own task.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::{Driver, ITEMS, Lists};
use crate::server::run::RunningTask;
use crate::server::session::Finished;

/// The functions that wait. Most connections never have any, and pay nothing.
#[derive(Default)]
pub(super) struct LocalTasks(Option<FuturesUnordered<RunningTask>>);

impl LocalTasks {
    pub(super) fn extend(&mut self, tasks: impl Iterator<Item = RunningTask>) {
        for task in tasks {
            self.0.get_or_insert_default().push(task);
        }
    }

    /// Those that are left, if there are any.
    pub(super) fn take(&mut self) -> Option<FuturesUnordered<RunningTask>> {
        self.0.take().filter(|tasks| !tasks.is_empty())
    }

    /// Gives back what none of them needs.
    pub(super) fn shrink(&mut self) {
        self.0 = self.take();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished>> {
        match &mut self.0 {
            Some(tasks) => Pin::new(tasks).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<S> Driver<S> {
    pub(super) fn poll_local(&mut self, cx: &mut Context<'_>) {
        for _ in 0..ITEMS {
            match self.local.poll_next(cx) {
                Poll::Ready(Some(finished)) => self.lists.get().batch.ended.push(finished),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Those that have come since the turn's first look.
    pub(super) fn poll_new_local(&mut self, cx: &mut Context<'_>) {
        let Lists {
            new_local, batch, ..
        } = self.lists.get();
        if new_local.is_empty() {
            return;
        }
        let waiting = new_local.drain(..).filter_map(|mut task| {
            if let Poll::Ready(finished) = task.poll_again(cx) {
                batch.ended.push(finished);
                return None;
            }
            Some(task)
        });
        self.local.extend(waiting);
        self.poll_local(cx);
    }
}

//! Run functions that have an executor task each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::group::{begin_poll, end_poll};
use super::idle::{IdleRunner, NextWork};
use super::running::RunningTask;
use crate::server::registration::{Execution, Registered};
use crate::server::session::{Finished, Idle, Runners};

/// One run function that has an executor task to itself.
pub(crate) struct Single {
    function: RunningTask,
    /// If it may get back into groups once it proves quick.
    registered: Option<Arc<Registered>>,
    /// Counted in the session's single runners.
    is_counted: bool,
}

impl Single {
    /// It has to be counted before it is polled or dropped.
    pub(crate) fn new(function: RunningTask, registered: Arc<Registered>) -> Self {
        let spawns = registered.registration.execution == Execution::Spawn;
        Self {
            function,
            registered: (!spawns).then_some(registered),
            is_counted: true,
        }
    }

    /// Its result, which counts as a single runner's from now on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        let began = begin_poll(&self.function.session, self.registered.as_ref());
        let polled = Pin::new(&mut self.function).poll(cx);
        end_poll(&self.function.session, self.registered.as_ref(), began);
        self.is_counted = polled.is_pending();
        polled
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        if self.is_counted {
            let session = &self.function.session;
            session.drive(|state| state.single_runners -= 1);
        }
    }
}

/// An executor task: it runs one run function, and then those that its [`IdleRunner`]
/// is given, one after the other.
pub(crate) struct Runner {
    single: Option<Single>,
    next: NextWork<Single>,
}

impl Runner {
    pub(crate) const fn new(single: Single) -> Self {
        Self {
            single: Some(single),
            next: NextWork::new(),
        }
    }

    /// Leaves a result, and itself for the next function; ready: nobody needs it.
    fn finish(&mut self, finished: Finished, cx: &Context<'_>) -> Poll<()> {
        let Some(single) = &self.single else {
            return Poll::Ready(());
        };
        let session = &single.function.session;
        let keep = |idle: &mut Idle, mailbox: &_| idle.keep_single(|| IdleRunner::new(mailbox));
        let left = self
            .next
            .finish(session, [finished], Runners::Single, cx, keep);
        self.single = None;
        left
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.single.is_none() {
            this.single = ready!(this.next.poll(cx));
        }
        let Some(single) = &mut this.single else {
            return Poll::Ready(());
        };
        let finished = ready!(single.poll(cx));
        this.finish(finished, cx)
    }
}

//! Run functions that have an executor task each. What has ended leaves its executor
//! task to another one of its connection: with a new one for each, two processors would
//! allocate and free one another's memory, and wait for the allocator.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::group::{begin_poll, end_poll};
use super::running::RunningTask;
use super::unless_panics;
use crate::server::registration::{Execution, Registered};
use crate::server::session::{Finished, Runners};
use crate::sync::Mailbox;

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
    /// Where the next one comes, once the first one has ended.
    mailbox: Option<Arc<Mailbox<Single>>>,
}

impl Runner {
    pub(crate) const fn new(single: Single) -> Self {
        Self {
            single: Some(single),
            mailbox: None,
        }
    }

    /// Leaves a result, and itself for the next function; ready: nobody needs it.
    fn finish(&mut self, finished: Finished, cx: &Context<'_>) -> Poll<()> {
        let Some(single) = &self.single else {
            return Poll::Ready(());
        };
        let session = &single.function.session;
        let mailbox = self.mailbox.get_or_insert_with(|| Arc::new(Mailbox::new()));
        // Before it is found idle: who has a function for it wakes it.
        let is_kept = match unless_panics(|| mailbox.wait(cx)) {
            Some(()) => session.finish_single(finished, || IdleRunner(Some(Arc::clone(mailbox)))),
            None => {
                session.finish_batch([finished], Runners::Single);
                false
            }
        };
        self.single = None;
        match is_kept {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let (None, Some(mailbox)) = (&this.single, &this.mailbox) {
            this.single = ready!(mailbox.poll_letter(cx));
        }
        let Some(single) = &mut this.single else {
            return Poll::Ready(());
        };
        let finished = ready!(single.poll(cx));
        this.finish(finished, cx)
    }
}

impl Drop for Runner {
    /// The executor has dropped it, or it has ended.
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            drop(mailbox.close());
        }
    }
}

/// A runner that has nothing to do. It ends with this.
pub(crate) struct IdleRunner(Option<Arc<Mailbox<Single>>>);

impl IdleRunner {
    /// One whose executor has dropped it.
    #[cfg(test)]
    pub(crate) const fn gone() -> Self {
        Self(None)
    }

    /// Has it run the function; gives that back if the executor has dropped the runner,
    /// or panics and might never poll it.
    pub(crate) fn run(mut self, single: Single) -> Result<(), Single> {
        let Some(mailbox) = self.0.take() else {
            return Err(single);
        };
        if let Some(waker) = mailbox.post(single)?
            && unless_panics(|| waker.wake()).is_none()
            && let Some(single) = mailbox.take_back()
        {
            return Err(single);
        }
        Ok(())
    }
}

impl Drop for IdleRunner {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0.take()
            && let (_, Some(waker)) = mailbox.close()
        {
            unless_panics(|| waker.wake());
        }
    }
}

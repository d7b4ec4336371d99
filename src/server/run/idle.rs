//! Executor tasks that are used again: what has ended leaves its executor task to others of
//! its connection. With a new one for each, two processors would allocate and free one
//! another's memory, and wait for the allocator.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::unless_panics;
use crate::sync::Mailbox;

/// Where an executor task gets its next work `W`, once it has ended its first.
pub(super) struct NextWork<W>(Option<Arc<Mailbox<W>>>);

impl<W> NextWork<W> {
    /// There is none yet.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// From now on `cx` is woken for it; whom to leave this to, or `None` if there is no
    /// way to be woken.
    pub(super) fn await_by(&mut self, cx: &Context<'_>) -> Option<&Arc<Mailbox<W>>> {
        let mailbox = self.0.get_or_insert_with(|| Arc::new(Mailbox::new()));
        unless_panics(|| mailbox.wait(cx))?;
        Some(mailbox)
    }

    /// `None`: there will be none.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<W>> {
        match &self.0 {
            Some(mailbox) => mailbox.poll_letter(cx),
            None => Poll::Ready(None),
        }
    }
}

impl<W> Drop for NextWork<W> {
    /// The executor has dropped its task, or that has ended.
    fn drop(&mut self) {
        if let Some(mailbox) = &self.0 {
            drop(mailbox.close());
        }
    }
}

/// An executor task that has nothing to do. It ends with this.
pub(crate) struct IdleRunner<W>(Option<Arc<Mailbox<W>>>);

impl<W> IdleRunner<W> {
    pub(super) fn new(mailbox: &Arc<Mailbox<W>>) -> Self {
        Self(Some(Arc::clone(mailbox)))
    }

    /// Has it do the work; gives that back if the executor has dropped the runner,
    /// or panics and might never poll it.
    pub(crate) fn run(mut self, work: W) -> Result<(), W> {
        let Some(mailbox) = self.0.take() else {
            return Err(work);
        };
        if let Some(waker) = mailbox.post(work)?
            && unless_panics(|| waker.wake()).is_none()
            && let Some(work) = mailbox.take_back()
        {
            return Err(work);
        }
        Ok(())
    }
}

impl<W> Drop for IdleRunner<W> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0.take()
            && let (_, Some(waker)) = mailbox.close()
        {
            unless_panics(|| waker.wake());
        }
    }
}

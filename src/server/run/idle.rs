//! Executor tasks that are used again: what has ended leaves its executor task to others of
//! its connection. With a new one for each, two processors would allocate and free one
//! another's memory, and wait for the allocator.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::unless_panics;
use crate::server::session::{Finished, Idle, Runners, Session};
use crate::sync::Mailbox;

/// Where an executor task gets its next work `W`, once it has ended its first.
pub(super) struct NextWork<W>(Option<Arc<Mailbox<W>>>);

impl<W> NextWork<W> {
    /// There is none yet.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Leaves the last results of the work that has ended, and its executor task for more,
    /// to be kept with what is idle; ready: nobody needs it.
    pub(super) fn finish<B>(
        &mut self,
        session: &Session,
        batch: B,
        runners: Runners,
        cx: &Context<'_>,
        keep: impl FnOnce(&mut Idle, &Arc<Mailbox<W>>) -> bool,
    ) -> Poll<()>
    where
        B: AsMut<[Finished]> + IntoIterator<Item = Finished>,
    {
        let mailbox = self.0.get_or_insert_with(|| Arc::new(Mailbox::new()));
        // Before it is found idle: who has work for it wakes it.
        if unless_panics(|| mailbox.wait(cx)).is_none() {
            session.finish_batch(batch, runners);
            return Poll::Ready(());
        }
        match session.finish_and_keep(batch, runners, |idle| keep(idle, mailbox)) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
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

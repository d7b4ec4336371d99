//! Run functions that share one executor task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::{RunningTask, Watch, is_same, unless_panics};
use crate::server::registration::Registered;
use crate::server::session::Session;

/// How many run functions share one executor task.
pub(crate) const GROUP: usize = 64;

/// A poll, or one of a group, that takes longer shows that its code computes.
/// If that goes on, each of its run functions gets an executor task of its own.
pub(crate) const SLOW_POLL: std::time::Duration = std::time::Duration::from_millis(1);

/// Some run functions that share one executor task: they are polled as they are
/// woken; what has ended is committed, and orders are looked for, under one lock.
pub(crate) struct Group {
    session: Session,
    members: FuturesUnordered<RunningTask>,
    /// Under which the session knows its waker; `None`: its member looks by itself.
    id: Option<u64>,
    seen_orders: Option<u64>,
    waker: Option<Waker>,
    /// Of what they all are; `None`: of several codes.
    registered: Option<Arc<Registered>>,
    /// Counted in the session's single runners.
    is_single: bool,
}

impl Group {
    pub(crate) fn new(
        session: Session,
        members: FuturesUnordered<RunningTask>,
        registered: Option<Arc<Registered>>,
    ) -> Self {
        Self {
            id: Some(session.next_group_id()),
            session,
            members,
            seen_orders: None,
            waker: None,
            registered,
            is_single: false,
        }
    }

    /// One run function, in an executor task of its own.
    pub(crate) fn single(
        session: Session,
        member: RunningTask,
        registered: Arc<Registered>,
    ) -> Self {
        session.drive(|state| state.single_runners += 1);
        let members = FuturesUnordered::new();
        members.push(member);
        Self {
            session,
            members,
            id: None,
            seen_orders: None,
            waker: None,
            registered: Some(registered),
            is_single: true,
        }
    }

    /// Passes orders on to its members, if there can be new ones.
    fn pass_orders_on(&mut self, cx: &Context<'_>) {
        let Some(id) = self.id else {
            return;
        };
        let orders = self.session.orders();
        if self.seen_orders == Some(orders) && is_same(self.waker.as_ref(), cx) {
            return;
        }
        self.seen_orders = Some(orders);
        self.waker = Some(cx.waker().clone());
        let session = self.session.clone();
        let members = self
            .members
            .iter_mut()
            .filter(|member| member.watch == Watch::Group);
        // Those who have an order are woken once the lock has been released.
        for waker in session.group_orders(id, cx.waker(), members) {
            unless_panics(|| waker.wake());
        }
    }

    fn note_slowness(&self, began: std::time::Instant) {
        if let Some(registered) = &self.registered {
            let took = self.session.client().server.clock.now() - began;
            registered.note_poll(took > SLOW_POLL);
        }
    }
}

impl Future for Group {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let began = this
            .registered
            .is_some()
            .then(|| this.session.client().server.clock.now());
        this.pass_orders_on(cx);
        let mut batch = Vec::new();
        let polled = loop {
            match Pin::new(&mut this.members).poll_next(cx) {
                Poll::Ready(Some(ended)) => batch.push(ended),
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        if let Some(began) = began {
            this.note_slowness(began);
        }
        if !batch.is_empty() {
            let singles = usize::from(std::mem::take(&mut this.is_single));
            this.session.finish_batch(batch, singles);
        }
        polled
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_single {
            self.session.drive(|state| state.single_runners -= 1);
        }
        if let Some(id) = self.id {
            self.session.forget_group(id);
        }
    }
}

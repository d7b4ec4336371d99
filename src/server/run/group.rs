//! Run functions that share one executor task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::running::{RunningTask, is_same};
use super::unless_panics;
use crate::server::registration::Registered;
use crate::server::session::{Runners, Session};

/// How many run functions share one executor task.
pub(crate) const GROUP: usize = 64;

/// A poll, or one of a group, that takes longer shows that its code computes.
/// If that goes on, each of its run functions gets an executor task of its own.
pub(crate) const SLOW_POLL: std::time::Duration = std::time::Duration::from_millis(1);

/// Some run functions that share one executor task: they are polled as they are
/// woken; what has ended is left for the driver, and orders are looked for, once for all.
pub(crate) struct Group {
    session: Session,
    /// Those who have not been polled here yet: what this thread allocates for them
    /// it frees, too.
    joining: Vec<RunningTask>,
    members: FuturesUnordered<RunningTask>,
    seen_orders: u32,
    /// The one that the session has, and where, once it waits.
    waker: Option<Waker>,
    place: Option<u32>,
    /// Of what they all are; `None`: of several codes.
    registered: Option<Arc<Registered>>,
}

impl Group {
    pub(crate) fn new(
        session: Session,
        joining: Vec<RunningTask>,
        registered: Option<Arc<Registered>>,
        seen_orders: u32,
    ) -> Self {
        Self {
            session,
            joining,
            members: FuturesUnordered::new(),
            seen_orders,
            waker: None,
            place: None,
            registered,
        }
    }

    /// Of those that the driver of a connection has polled, which has ended.
    pub(crate) fn inherited(session: Session, members: FuturesUnordered<RunningTask>) -> Self {
        let mut group = Self::new(session, Vec::new(), None, 0);
        group.members = members;
        group
    }

    /// Passes new orders on to its members, and leaves its waker for more.
    fn pass_orders_on(&mut self, cx: &Context<'_>) {
        self.waker = Some(cx.waker().clone());
        let (place, seen_orders) = (&mut self.place, &mut self.seen_orders);
        let members = self.members.iter_mut();
        // Those who have an order are woken once the lock has been released.
        for waker in self
            .session
            .group_orders(place, cx.waker(), seen_orders, members)
        {
            unless_panics(|| waker.wake());
        }
    }
}

impl Future for Group {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let began = begin_poll(&this.session, this.registered.as_ref());
        // Most end in their first poll here, or soon.
        let mut batch = Vec::with_capacity(this.joining.len());
        this.members.extend(std::mem::take(&mut this.joining));
        if this.session.orders() != this.seen_orders {
            this.pass_orders_on(cx);
        }
        let polled = loop {
            match Pin::new(&mut this.members).poll_next(cx) {
                Poll::Ready(Some(ended)) => batch.push(ended),
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        end_poll(&this.session, this.registered.as_ref(), began);
        if !batch.is_empty() {
            this.session.finish_batch(batch, Runners::Other);
        }
        if polled.is_pending() && !is_same(this.waker.as_ref(), cx) {
            this.pass_orders_on(cx);
        }
        polled
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.session.forget_group(place);
        }
    }
}

/// When a poll begins whose slowness is to be noted.
pub(super) fn begin_poll(
    session: &Session,
    registered: Option<&Arc<Registered>>,
) -> Option<Instant> {
    registered.map(|_| session.client().server.clock.now())
}

pub(super) fn end_poll(
    session: &Session,
    registered: Option<&Arc<Registered>>,
    began: Option<Instant>,
) {
    if let (Some(registered), Some(began)) = (registered, began) {
        let took = session.client().server.clock.now() - began;
        registered.note_poll(took > SLOW_POLL);
    }
}

//! Run functions that share one executor task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::idle::{IdleRunner, NextWork};
use super::members::Members;
use super::running::{RunningTask, is_same};
use super::unless_panics;
use crate::server::registration::Registered;
use crate::server::session::{Finished, Idle, Runners, Session};
use crate::sync::WokenSet;

/// How many run functions share one executor task.
pub(crate) const GROUP: usize = WokenSet::MOST;

/// A poll, or one of a group, that takes longer shows that its code computes.
/// If that goes on, each of its run functions gets an executor task of its own.
pub(crate) const SLOW_POLL: std::time::Duration = std::time::Duration::from_millis(1);

/// Run functions that will share an executor task.
pub(crate) struct NewGroup {
    pub(crate) session: Session,
    /// Of what they all are; `None`: of several codes.
    pub(crate) registered: Option<Arc<Registered>>,
    pub(crate) members: Vec<Option<RunningTask>>,
    /// The orders that had been given when the first of them began.
    pub(crate) seen_orders: u32,
}

impl NewGroup {
    /// Whether one of these may join it.
    pub(crate) fn has_room_for(&self, registered: &Arc<Registered>) -> bool {
        let mut of = self.registered.iter();
        of.any(|of| Arc::ptr_eq(of, registered)) && self.members.len() < GROUP
    }
}

/// An executor task that some run functions share: they are polled as they are
/// woken; what has ended is left for the driver, and orders are looked for, once for all.
/// Once all have ended it is there for others of their connection.
pub(crate) struct Group {
    /// Not begun yet: what its own thread allocates for them that frees, too.
    new: Option<NewGroup>,
    watch: Option<GroupWatch>,
    members: Members<RunningTask>,
    /// Memory for results.
    batch: Vec<Finished>,
    next: NextWork<NewGroup>,
}

/// How a group learns of orders to its members.
struct GroupWatch {
    session: Session,
    registered: Option<Arc<Registered>>,
    seen_orders: u32,
    /// The one that the session has, and where, once the group waits.
    waker: Option<Waker>,
    place: Option<u32>,
}

impl Group {
    pub(crate) fn new(new: NewGroup) -> Self {
        Self {
            new: Some(new),
            watch: None,
            members: Members::default(),
            batch: Vec::new(),
            next: NextWork::new(),
        }
    }

    fn begin(&mut self, new: NewGroup) {
        self.batch.reserve(new.members.len());
        self.members.fill(new.members);
        self.watch = Some(GroupWatch {
            session: new.session,
            registered: new.registered,
            seen_orders: new.seen_orders,
            waker: None,
            place: None,
        });
    }

    /// Leaves the last results, and itself for the next functions; ready: nobody needs it.
    fn finish(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Some(watch) = self.watch.take() else {
            return Poll::Ready(());
        };
        let members = &mut self.members;
        let batch = Emptied(&mut self.batch);
        let keep = |idle: &mut Idle, mailbox: &_| {
            idle.keep_group(|| IdleGroup {
                runner: IdleRunner::new(mailbox),
                room: members.take_room(),
            })
        };
        self.next
            .finish(&watch.session, batch, Runners::Other, cx, keep)
    }
}

impl GroupWatch {
    /// Passes new orders on to the members, and leaves the group's waker for more.
    fn pass_orders_on(&mut self, members: &mut Members<RunningTask>, cx: &Context<'_>) {
        self.waker = Some(cx.waker().clone());
        let (place, seen_orders) = (&mut self.place, &mut self.seen_orders);
        let members = members.iter_mut();
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
        if this.watch.is_none() {
            let new = match this.new.take() {
                None => ready!(this.next.poll(cx)),
                new => new,
            };
            match new {
                Some(new) => this.begin(new),
                None => return Poll::Ready(()),
            }
        }
        let (Some(watch), members) = (&mut this.watch, &mut this.members) else {
            return Poll::Ready(());
        };
        let began = begin_poll(&watch.session, watch.registered.as_ref());
        if watch.session.orders() != watch.seen_orders {
            watch.pass_orders_on(members, cx);
        }
        let polled = members.poll(cx, |ended| this.batch.push(ended));
        end_poll(&watch.session, watch.registered.as_ref(), began);
        if polled.is_ready() {
            return this.finish(cx);
        }
        // Those who wait hold no memory that they do not need.
        let batch = std::mem::take(&mut this.batch);
        if !batch.is_empty() {
            watch.session.finish_batch(batch, Runners::Other);
        }
        if !is_same(watch.waker.as_ref(), cx) {
            members.shrink();
            watch.pass_orders_on(members, cx);
        }
        Poll::Pending
    }
}

impl Drop for GroupWatch {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.session.forget_group(place);
        }
    }
}

/// A group's executor task that has nothing to do.
pub(crate) struct IdleGroup {
    pub(crate) runner: IdleRunner<NewGroup>,
    /// Memory for the members of another one.
    pub(crate) room: Vec<Option<RunningTask>>,
}

/// Results that leave their memory behind.
struct Emptied<'a>(&'a mut Vec<Finished>);

impl AsMut<[Finished]> for Emptied<'_> {
    fn as_mut(&mut self) -> &mut [Finished] {
        self.0
    }
}

impl<'a> IntoIterator for Emptied<'a> {
    type Item = Finished;
    type IntoIter = std::vec::Drain<'a, Finished>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.drain(..)
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

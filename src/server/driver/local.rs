//! Run functions in the connection's own task.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use super::{Driver, ITEMS};
use crate::server::run::unless_panics;

impl<S> Driver<S> {
    pub(super) fn poll_local(&mut self, cx: &mut Context<'_>) {
        self.pass_orders_on();
        for _ in 0..ITEMS {
            match Pin::new(&mut self.local).poll_next(cx) {
                Poll::Ready(Some(ended)) => self.batch.ended.push(ended),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Whoever gives an order wakes the driver, which looks for those to its own
    /// run functions under one lock.
    fn pass_orders_on(&mut self) {
        let orders = self.session.orders();
        if self.local.is_empty() || std::mem::replace(&mut self.local_orders, orders) == orders {
            return;
        }
        for waker in self.session.give_orders(self.local.iter_mut()) {
            unless_panics(|| waker.wake());
        }
    }
}

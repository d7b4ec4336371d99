//! The end of a connection's task, however it comes (PROTOCOL D5).

use super::{Driver, Lists};
use crate::proto::ConnectionReport;
use crate::server::run::{GROUP, Group, NewGroup, drop_each, drop_quietly, unless_panics};
use crate::server::session::Runners;

impl<S> Driver<S> {
    /// Whatever ends the connection, its future's drop included (D5).
    pub(super) fn leave(&mut self) -> ConnectionReport {
        self.has_left = true;
        let (report, news) = self.session.leave();
        drop_each(news.into_iter().flat_map(|news| news.new_bodies));
        self.bodies.drop_all();
        drop_quietly(self.reading.take());
        let Lists {
            groups,
            singles,
            new_local,
            ..
        } = self.lists.get();
        let groups = groups.drain(..).flat_map(|group| group.members).flatten();
        let singles = singles.drain(..).map(|(_, task)| task);
        let tasks = groups.chain(singles).chain(new_local.drain(..));
        self.local.extend(tasks);
        // A cooperating function keeps its grace, on the executor (T10), if there
        // still is one: a panic here could be the second.
        let mut left = self.local.take().into_iter().flatten().peekable();
        while left.peek().is_some() {
            let group = Group::new(NewGroup {
                session: self.session.clone(),
                registered: None,
                members: left.by_ref().take(GROUP).map(Some).collect(),
                seen_orders: 0,
            });
            let executor = &self.session.client().server.executor;
            let _ = unless_panics(|| executor.spawn(Box::pin(group)));
        }
        if !self.lists.get().batch.ended.is_empty() {
            let ended = std::mem::take(&mut self.lists.get().batch.ended);
            self.session.finish_batch(ended, Runners::Other);
        }
        report
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if !self.has_left {
            self.leave();
        }
    }
}

//! A run function on a thread, which nobody can drop (PROTOCOL T13).

use super::{drop_quietly, ended, unless_task_panics};
use crate::proto::TaskKey;
use crate::server::session::{Ended, Session};
use crate::server::task::BlockingFunction;

/// A run function on its way to a thread.
pub(crate) struct BlockingTask {
    session: Session,
    key: TaskKey,
    function: Option<BlockingFunction>,
}

impl BlockingTask {
    pub(crate) fn new(session: Session, key: TaskKey, function: BlockingFunction) -> Self {
        Self {
            session,
            key,
            function: Some(function),
        }
    }

    /// Runs it, unless its cancel came first (T13).
    pub(crate) fn run(mut self) {
        let Some(function) = self.function.take() else {
            return;
        };
        if !self.session.start_blocking(self.key) {
            return drop_quietly(function);
        }
        let returned = unless_task_panics(&self.session, self.key, function);
        let ended = returned.map_or(Ended::Panicked, ended);
        self.session.finish_batch([(self.key, ended)], 0);
    }
}

impl Drop for BlockingTask {
    /// An executor that never runs it ends its task as cancelled.
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            drop_quietly(function);
            self.session.finish_batch([(self.key, Ended::Dropped)], 0);
        }
    }
}

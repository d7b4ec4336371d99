//! A run function on a thread, which nobody can drop once it runs (PROTOCOL T13).

use super::{drop_quietly, failed, unless_task_panics};
use crate::proto::TaskKey;
use crate::server::session::{Ended, Session};
use crate::server::task::BlockingFunction;
use crate::wire::TaskId;

/// A place in the executor's queue. The function itself waits with its task,
/// where a cancel can drop it.
pub(crate) struct BlockingTask {
    session: Session,
    key: TaskKey,
    id: TaskId,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Over,
}

impl BlockingTask {
    /// Takes up a function; `None`: its task has gone already.
    pub(crate) fn new(
        session: Session,
        (key, id): (TaskKey, TaskId),
        function: BlockingFunction,
    ) -> Option<Self> {
        if let Some(unwanted) = session.leave_waiting(key, function) {
            drop_quietly(unwanted);
            return None;
        }
        Some(Self {
            session,
            key,
            id,
            stage: Stage::Waiting,
        })
    }

    /// Runs it, unless its cancel came first (T13).
    pub(crate) fn run(mut self) {
        let Some(function) = self.take_function() else {
            return;
        };
        let span = self.session.enabled_span(self.key, self.id);
        let ended = unless_task_panics(&self.session, self.key, || {
            let _entered = span.as_ref().map(tracing::Span::enter);
            match function() {
                Ok(response) => Ended::Response(response),
                Err(error) => failed(&self.session, self.key, &error),
            }
        });
        let ended = ended.unwrap_or(Ended::Panicked);
        self.session.finish_one(self.key, ended);
    }

    fn take_function(&mut self) -> Option<BlockingFunction> {
        self.stage = Stage::Over;
        let function = self.session.start_blocking(self.key);
        if function.is_none() {
            self.session.leave_empty_place();
        }
        function
    }
}

impl Drop for BlockingTask {
    /// An executor that never runs it ends its task as cancelled.
    fn drop(&mut self) {
        if self.stage == Stage::Waiting
            && let Some(function) = self.take_function()
        {
            drop_quietly(function);
            self.session.finish_one(self.key, Ended::Dropped);
        }
    }
}

//! The handles' side of a session, from any thread: lists, cancels, ends. What had come
//! before a cancel or an end is not undone by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Session, notice};
use crate::proto::{CancelCause, Phase, TaskKey, TaskMetadata, Watching};
use crate::server::observe::Observer;
use crate::server::task::RunData;
use crate::wire::{TaskCode, TaskId};

impl Session {
    pub(crate) fn list(&self) -> Vec<TaskMetadata> {
        let list = self.lock().connection.ledger().list();
        list.into_iter().map(|(_, task)| task).collect()
    }

    pub(crate) fn metadata(&self, key: TaskKey) -> Option<TaskMetadata> {
        self.lock().connection.ledger().metadata(key)
    }

    pub(crate) fn metadata_by_id(&self, id: TaskId) -> Option<TaskMetadata> {
        let state = self.lock();
        let ledger = state.connection.ledger();
        ledger.metadata(ledger.find(id)?)
    }

    pub(crate) fn code_of(&self, key: TaskKey) -> Option<TaskCode> {
        let state = self.lock();
        state
            .connection
            .ledger()
            .identity(key)
            .map(|(_, code)| code)
    }

    pub(crate) fn run_deadline(&self, key: TaskKey) -> Option<Instant> {
        self.lock().connection.ledger().run_deadline(key)
    }

    pub(crate) fn run_data(&self, id: TaskId) -> Option<RunData> {
        let state = self.lock();
        let ledger = state.connection.ledger();
        let task = ledger.task(ledger.find(id)?)?;
        task.attachments.as_ref()?.run_data.clone()
    }

    pub(crate) fn cancel(&self, id: TaskId, now: Instant) {
        self.behind_results(now, |state, _| {
            if let Some(key) = state.connection.ledger().find(id) {
                state.connection.cancel(key, CancelCause::Requested, now);
            }
        });
    }

    pub(crate) fn cancel_all(&self, now: Instant) {
        self.behind_results(now, |state, _| {
            for (key, _) in state.connection.ledger().list() {
                state.connection.cancel(key, CancelCause::Requested, now);
            }
        });
    }

    pub(crate) fn disconnect(&self, after_time: Duration, now: Instant) {
        self.behind_results(now, |state, after| {
            state.connection.disconnect(after_time, now);
            notice(state, after);
        });
    }

    pub(crate) fn close(&self, now: Instant) {
        self.behind_results(now, |state, after| {
            state.connection.close(now);
            notice(state, after);
        });
    }

    pub(crate) fn span(&self) -> tracing::Span {
        self.lock().span.clone()
    }

    pub(crate) fn set_span(&self, span: tracing::Span) {
        let before = std::mem::replace(&mut self.lock().span, span);
        drop(before);
    }

    pub(crate) fn set_observer(&self, observer: Arc<dyn Observer>) {
        let is_silent = observer.is_silent();
        let before = {
            let mut state = self.lock();
            state.observer_is_silent = is_silent;
            if is_silent {
                state.connection.watch(Watching::Nothing);
            }
            std::mem::replace(&mut state.observer, observer)
        };
        drop(before);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().connection.phase()
    }
}

//! What is logged of tasks, and their tracing spans.

use std::sync::Arc;

use super::Session;
use crate::proto::TaskKey;
use crate::server::error::TaskError;
use crate::wire::{TaskCode, TaskId};

impl Session {
    /// A task's code has panicked: the server's own fault, though a peer may
    /// know how to cause it.
    pub(crate) fn log_panic(&self, key: TaskKey, panic: &str) {
        let (identity, level) = {
            let mut state = self.lock();
            state.connection.count_panic();
            (
                state.connection.ledger().identity(key),
                state.warn_once("T9"),
            )
        };
        let name = self.name_of(identity);
        let id = identity.map(|(id, _)| id.0);
        let code = identity.map(|(_, code)| code.0);
        let client = &self.client().endpoints;
        let span = self.span();
        if level == tracing::Level::WARN {
            tracing::error!(parent: &span, %client, task = name.as_deref(), code, id, panic, "task panicked");
        } else {
            tracing::debug!(parent: &span, %client, task = name.as_deref(), code, id, panic, "task panicked");
        }
    }

    /// A task has failed with a code: the application's own affair.
    pub(crate) fn log_failure(&self, key: TaskKey, error: &TaskError) {
        let identity = self.lock().connection.ledger().identity(key);
        let name = self.name_of(identity);
        let id = identity.map(|(id, _)| id.0);
        let code = identity.map(|(_, code)| code.0);
        let client = &self.client().endpoints;
        tracing::debug!(parent: &self.span(), %client, task = name.as_deref(), code, id, %error, "task failed");
    }

    fn name_of(&self, identity: Option<(TaskId, TaskCode)>) -> Option<Arc<str>> {
        let (_, code) = identity?;
        let registered = self.client().server.registry.find(code)?;
        Some(Arc::clone(&registered.name))
    }

    /// The task's tracing span, below its client's: one for the task's whole life.
    pub(crate) fn task_span(&self, key: TaskKey, id: TaskId) -> tracing::Span {
        let (made, code) = {
            let state = self.lock();
            let ledger = state.connection.ledger();
            let attachments = ledger.task(key).and_then(|task| task.attachments.as_ref());
            let made = attachments.and_then(|some| some.span.clone());
            (made, ledger.identity(key).map(|(_, code)| code))
        };
        if let Some(span) = made {
            return (*span).clone();
        }
        let name = self.name_of(code.map(|code| (id, code)));
        let span = tracing::debug_span!(
            parent: &self.span(),
            "task",
            id = id.0,
            code = code.map(|code| code.0),
            name = name.as_deref(),
        );
        let span = Arc::new(span);
        let kept = {
            let mut state = self.lock();
            let task = state.connection.task_mut(key);
            task.map(|task| Arc::clone(task.attach().span.get_or_insert(Arc::clone(&span))))
        };
        // Another thread may have been first.
        (*kept.unwrap_or(span)).clone()
    }

    /// Whether spans of tasks can be enabled at all.
    #[inline]
    pub(crate) fn may_have_spans(&self) -> bool {
        use tracing::level_filters::LevelFilter;
        LevelFilter::current() >= LevelFilter::DEBUG
    }

    /// The same for the task's code to run in, where such spans are enabled.
    #[inline]
    pub(crate) fn enabled_span(&self, key: TaskKey, id: TaskId) -> Option<tracing::Span> {
        if !self.may_have_spans() {
            return None;
        }
        let span = self.task_span(key, id);
        (!span.is_disabled()).then_some(span)
    }
}

//! The task function that is reading a message: at most one at a time (PROTOCOL T1–T3).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::error::TaskFunctionError;
use super::reader::MessageReader;
use super::registration::{Function, Registered};
use super::run::{drop_quietly, unless_task_panics};
use super::session::Session;
use super::task::{Request, RunFunction, Task, TaskContext};
use crate::proto::{EndReason, ReadOutcome, TaskKey};
use crate::runtime::BoxFuture;
use crate::wire::{RequestHeader, TaskId};

/// What a poll of the task function came to.
pub(crate) enum ReadingStep {
    /// It goes on, or has returned and its message has not ended.
    Waits,
    /// Nothing is left of it to do.
    Over,
    /// Its run function starts.
    Starts,
}

pub(crate) struct ReadingFunction {
    registered: Arc<Registered>,
    context: TaskContext,
    header: RequestHeader,
    function: Option<BoxFuture<'static, Result<Task, TaskFunctionError>>>,
    /// The task's span, where it is enabled.
    span: Option<tracing::Span>,
    returned: Option<Task>,
}

impl ReadingFunction {
    /// Calls the task function; `None` if it panicked at once.
    pub(crate) fn begin(
        registered: Arc<Registered>,
        context: TaskContext,
        header: RequestHeader,
    ) -> Option<Self> {
        let Function::Streamed(function) = &registered.registration.function else {
            return None;
        };
        let request = Request {
            context: context.clone(),
            code: header.code,
        };
        let message = MessageReader::new(context.session.clone(), context.key);
        let function = Arc::clone(function);
        let function = unless_task_panics(&context.session, context.key, || {
            function.read(request, message)
        })?;
        Some(Self {
            registered,
            span: context.session.enabled_span(context.key, context.id),
            context,
            header,
            function: Some(function),
            returned: None,
        })
    }

    pub(crate) const fn key(&self) -> TaskKey {
        self.context.key
    }

    pub(crate) fn is_for(&self, key: TaskKey) -> bool {
        self.context.key == key
    }

    pub(crate) fn poll(
        &mut self,
        session: &Session,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> ReadingStep {
        let Some(function) = &mut self.function else {
            return ReadingStep::Waits;
        };
        let key = self.context.key;
        // The words of an error are the application's code, too.
        let polled = unless_task_panics(session, key, || {
            let _entered = self.span.as_ref().map(tracing::Span::enter);
            function
                .as_mut()
                .poll(cx)
                .map_err(|error| error.to_string().into_boxed_str())
        });
        let result = match polled {
            Some(Poll::Pending) => return ReadingStep::Waits,
            Some(Poll::Ready(result)) => Some(result),
            None => None,
        };
        let function = self.function.take();
        let dropped = unless_task_panics(session, key, || drop(function));
        let result = match (result, dropped) {
            (result, Some(())) => result,
            (result, None) => {
                drop_quietly(result);
                None
            }
        };
        let (outcome, run_data) = self.outcome(result);
        let runs = matches!(outcome, ReadOutcome::Run(_));
        if session.read_returned(self.context.key, outcome, run_data, now) {
            return ReadingStep::Starts;
        }
        if runs {
            ReadingStep::Waits
        } else {
            ReadingStep::Over
        }
    }

    fn outcome(
        &mut self,
        result: Option<Result<Task, Box<str>>>,
    ) -> (ReadOutcome, Option<super::task::RunData>) {
        match result {
            None => (ReadOutcome::Panicked, None),
            Some(Err(error)) => {
                let RequestHeader { code, id } = self.header;
                let reason = EndReason::TaskFunction { id, code, error };
                (ReadOutcome::Error(reason), None)
            }
            Some(Ok(task)) if task.make.is_none() => {
                drop_quietly(task);
                (ReadOutcome::Nothing, None)
            }
            Some(Ok(mut task)) => {
                let run_data = task.run_data.take();
                let kind = task.kind;
                self.returned = Some(task);
                (ReadOutcome::Run(kind), run_data)
            }
        }
    }

    /// The run function, made; its maker may panic.
    pub(crate) fn into_run(self) -> Option<ToRun> {
        let make = self.returned?.make?;
        let RequestHeader { id, .. } = self.header;
        let context = self.context;
        let (session, key) = (context.session.clone(), context.key);
        let function = unless_task_panics(&session, key, || make(context));
        Some(ToRun {
            key,
            id,
            registered: self.registered,
            function,
        })
    }
}

/// What a task function came to, to be run.
pub(crate) struct ToRun {
    pub(crate) key: TaskKey,
    pub(crate) id: TaskId,
    pub(crate) registered: Arc<Registered>,
    /// `None`: its maker panicked.
    pub(crate) function: Option<RunFunction>,
}

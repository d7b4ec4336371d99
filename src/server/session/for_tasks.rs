//! The run functions' side of a session: results in, orders out.

use std::task::{Poll, Waker};
use std::time::Instant;

use super::effects::AfterUnlock;
use super::{Ended, RunnerOrder, Session, State, notice};
use crate::proto::{EndReason, Outcome, TaskFinished, TaskKey};
use crate::server::response::{Payload, Response, WholeBody};
use crate::server::run::RunningTask;
use crate::sync::atomic::Ordering;
use crate::wire::{TaskCode, TaskId};

impl Session {
    /// Results of run functions that ran elsewhere.
    pub(crate) fn finish_batch(
        &self,
        batch: impl IntoIterator<Item = (TaskKey, Ended)>,
        singles: usize,
    ) {
        self.with(|state, after| {
            state.single_runners -= singles;
            for (key, ended) in batch {
                let now = || self.client().server.clock.now();
                self.finish(state, key, ended, now, after);
            }
            notice(&mut state.driver, after);
        });
    }

    pub(super) fn finish(
        &self,
        state: &mut State,
        key: TaskKey,
        ended: Ended,
        now: impl FnOnce() -> Instant,
        after: &mut AfterUnlock,
    ) {
        let outcome = match &ended {
            Ended::Response(Response(Payload::Whole(bytes))) => Outcome::Whole(bytes),
            Ended::Response(Response(Payload::Body(_))) => Outcome::Body,
            Ended::Error(code) => Outcome::Error(*code),
            Ended::Panicked => Outcome::Panicked,
            Ended::Dropped => Outcome::Dropped,
            Ended::Fatal(error) => match state.connection.ledger().identity(key) {
                Some((id, code)) => Outcome::Fatal(EndReason::RunFunction {
                    id,
                    code,
                    error: error.clone(),
                }),
                None => return,
            },
        };
        match state.connection.finished(key, outcome, now) {
            TaskFinished::Removed(retired) => self.retire(state, retired, after),
            TaskFinished::Pull => {
                // Run data is for the time of the run function alone (T3).
                if let Some(task) = state.connection.task_mut(key)
                    && let Some(attachments) = &mut task.attachments
                {
                    attachments.run_data = None;
                }
                if let Ended::Response(response) = ended {
                    let body = match response.0 {
                        Payload::Whole(bytes) => Box::new(WholeBody(bytes)),
                        Payload::Body(body) => body,
                    };
                    state.for_driver.new_bodies.push((key, body));
                }
                return;
            }
            TaskFinished::Unknown => {}
        }
        if matches!(ended, Ended::Response(Response(Payload::Body(_)))) {
            after.unwanted.push(ended);
        }
    }

    /// How often anything was ordered; a change is worth a look under the lock.
    pub(crate) fn orders(&self) -> u64 {
        self.0.orders.look()
    }

    /// What a run function's wrapper has to do, and whom to wake with news.
    pub(crate) fn runner_order(&self, key: TaskKey, waker: &Waker) -> RunnerOrder {
        let mut state = self.lock();
        let Some(task) = state.connection.task_mut(key) else {
            return RunnerOrder::Drop;
        };
        let attachments = task.attach();
        attachments.runner = Some(waker.clone());
        attachments.order
    }

    /// A name for a group of run functions.
    pub(crate) fn next_group_id(&self) -> u64 {
        self.0.next_group.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells a group's members what they have to do, and keeps the group's
    /// waker for news. Returns the members to wake.
    pub(crate) fn group_orders<'a>(
        &self,
        group: u64,
        waker: &Waker,
        members: impl Iterator<Item = &'a mut RunningTask>,
    ) -> Vec<Waker> {
        let mut state = self.lock();
        state.groups.insert(group, waker.clone());
        members
            .filter_map(|member| {
                let order = match state.connection.ledger().task(member.key()) {
                    Some(task) => task.attachments.as_ref().map(|some| some.order),
                    None => Some(RunnerOrder::Drop),
                };
                member.give_order(order.unwrap_or_default())
            })
            .collect()
    }

    pub(crate) fn forget_group(&self, group: u64) {
        let waker = self.lock().groups.remove(&group);
        drop(waker);
    }

    /// A thread got to a blocking function: whether it shall run.
    pub(crate) fn start_blocking(&self, key: TaskKey) -> bool {
        self.lock().connection.start_blocking(key)
    }

    pub(crate) fn is_told(&self, key: TaskKey) -> bool {
        let state = self.lock();
        is_told(&state, key)
    }

    pub(crate) fn poll_told(&self, key: TaskKey, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        if is_told(&state, key) {
            return Poll::Ready(());
        }
        if let Some(task) = state.connection.task_mut(key) {
            let listeners = &mut task.attach().listeners;
            if !listeners.iter().any(|listener| listener.will_wake(waker)) {
                listeners.push(waker.clone());
            }
        }
        Poll::Pending
    }

    /// A task's code has panicked: the server's own fault, and no peer's.
    pub(crate) fn log_panic(&self, key: TaskKey, panic: &str) {
        let identity = {
            let mut state = self.lock();
            state.connection.count_panic();
            state.connection.ledger().identity(key)
        };
        let (id, code) = identity.map_or((None, None), |(id, code)| (Some(id.0), Some(code)));
        let registered = code.and_then(|code| self.client().server.registry.find(code));
        let name = registered.as_ref().map(|task| &*task.name);
        let code = code.map(|code| code.0);
        let client = &self.client().endpoints;
        tracing::error!(parent: &self.span(), %client, task = name, code, id, panic, "task panicked");
    }

    pub(crate) fn task_span(&self, id: TaskId, code: Option<TaskCode>) -> tracing::Span {
        let name = code.and_then(|code| self.client().server.registry.find(code));
        tracing::debug_span!(
            parent: &self.span(),
            "task",
            id = id.0,
            code = code.map(|code| code.0),
            name = name.as_ref().map(|task| &*task.name),
        )
    }
}

/// A task that is no longer there has been told all that there is to tell.
fn is_told(state: &State, key: TaskKey) -> bool {
    match state.connection.ledger().task(key) {
        Some(task) => task.attachments.as_ref().is_some_and(|some| some.is_told),
        None => true,
    }
}

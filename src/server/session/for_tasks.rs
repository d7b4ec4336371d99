//! The run functions' side of a session: results committed, orders given.

use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::effects::{AfterUnlock, Unwanted};
use super::{Ended, RunnerOrder, Session, State, TaskRecord, pended};
use crate::canary::{Canary, planted};
use crate::proto::{EndReason, Outcome, TaskFinished, TaskKey};
use crate::server::response::{Payload, Response, WholeBody};
use crate::server::run::RunningTask;
use crate::server::task::BlockingFunction;

impl Session {
    /// Commits a result. What is left in `ended` is to be dropped once the lock
    /// has been released.
    #[inline]
    pub(super) fn finish(
        &self,
        state: &mut State,
        key: TaskKey,
        ended: &mut Ended,
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        if let Some(bytes) = ended.whole_response()
            && let Some(retired) = state.connection.complete(key, bytes)
        {
            return self.retire(state, retired, after);
        }
        self.finish_otherwise(state, key, ended, now, after);
    }

    /// Commits what is not a whole result that can be queued at once.
    #[inline(never)]
    fn finish_otherwise(
        &self,
        state: &mut State,
        key: TaskKey,
        ended: &mut Ended,
        now: Instant,
        after: &mut AfterUnlock,
    ) {
        let outcome = match &*ended {
            Ended::Response(Response(Payload::Whole(bytes))) => Outcome::Whole(bytes),
            Ended::Short(bytes) => Outcome::Whole(bytes.as_slice()),
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
            TaskFinished::Removed(retired) => {
                self.retire(state, retired, after);
                if planted(Canary::PlaceLeakedOnPanic) && matches!(ended, Ended::Panicked) {
                    state.spare_places -= 1;
                }
            }
            TaskFinished::Pull => {
                // Run data is for the time of the run function alone (T3).
                let task = state.connection.task_mut(key);
                let attachments = task.and_then(|task| task.attachments.as_mut());
                let run_data = attachments.and_then(|some| some.run_data.take());
                after.drop_later(run_data.map(Unwanted::RunData));
                let body = match std::mem::replace(ended, Ended::Dropped) {
                    Ended::Response(Response(Payload::Whole(bytes))) => Box::new(WholeBody(bytes)),
                    Ended::Short(bytes) => {
                        Box::new(WholeBody(Bytes::copy_from_slice(bytes.as_slice())))
                    }
                    Ended::Response(Response(Payload::Body(body))) => body,
                    _ => return,
                };
                state.for_driver().new_bodies.push((key, body));
            }
            TaskFinished::Unknown => {}
        }
    }

    /// How often anything was ordered; a change is worth a look under the lock.
    pub(crate) fn orders(&self) -> u32 {
        self.0.orders.look()
    }

    /// What a run function's wrapper has to do, and whom to wake with news.
    pub(crate) fn runner_order(&self, key: TaskKey, waker: &Waker) -> RunnerOrder {
        let waker = waker.clone();
        let mut state = self.lock();
        let State {
            connection, pended, ..
        } = &mut *state;
        let Some(tag) = connection.tag_mut(key) else {
            return RunnerOrder::Drop;
        };
        let before = pended.get_or_insert_default().leave_waker(tag, waker);
        let order = connection.ledger().task(key).map(TaskRecord::order);
        drop(state);
        drop(before);
        order.unwrap_or_default()
    }

    /// Keeps a group's waker for news, and tells its members what they have to do
    /// if there are orders that it has not seen. Returns the members to wake.
    pub(crate) fn group_orders<'a>(
        &self,
        place: &mut Option<u32>,
        waker: &Waker,
        seen_orders: &mut u32,
        members: impl Iterator<Item = &'a mut RunningTask>,
    ) -> Vec<Waker> {
        let mut state = self.lock();
        let orders = self.orders();
        let is_new = place.is_none();
        let has_missed = std::mem::replace(seen_orders, orders) != orders;
        let before = state.pended().leave_group_waker(place, waker);
        // An order for a member takes the waker: one that is still there has been given none.
        let is_told = has_missed && before.is_none();
        let mut to_wake = Vec::new();
        if is_new || is_told {
            for member in members {
                if let Some(place) = place.filter(|_| is_new && member.watches_through_group()) {
                    state.join_group(member.key(), place);
                }
                if is_told {
                    to_wake.extend(state.give_order(member));
                }
            }
        }
        drop(state);
        drop(before);
        to_wake
    }

    pub(crate) fn forget_group(&self, place: u32) {
        let waker = self.lock().pended().forget_group(place);
        drop(waker);
    }

    /// A blocking function waits for a thread, where a cancel can still drop
    /// it; gives it back if its task is gone already.
    pub(crate) fn leave_waiting(
        &self,
        key: TaskKey,
        function: BlockingFunction,
    ) -> Option<BlockingFunction> {
        let mut state = self.lock();
        match state.connection.task_mut(key) {
            Some(task) => task.attach().waiting.replace(function),
            None => Some(function),
        }
    }

    /// A thread got to a blocking function: what it shall run, if its cancel
    /// did not come first.
    pub(crate) fn start_blocking(&self, key: TaskKey) -> Option<BlockingFunction> {
        let mut state = self.lock();
        if !state.connection.start_blocking(key) {
            return None;
        }
        state
            .connection
            .task_mut(key)?
            .attachments
            .as_mut()?
            .waiting
            .take()
    }

    /// A thread got to where a blocking function had waited that a cancel dropped.
    pub(crate) fn leave_empty_place(&self) {
        self.client().server.places.empty.release(1);
    }

    /// Whether a run function may start: since it was accepted, neither its
    /// connection has ended nor a cancel come under Drop. One that cooperates
    /// starts all the same, and is told (T10).
    pub(crate) fn may_start(&self, key: TaskKey) -> bool {
        let state = self.lock();
        let ledger = state.connection.ledger();
        let is_live = ledger.metadata(key).is_some();
        let order = ledger.task(key).map(TaskRecord::order);
        is_live && order != Some(RunnerOrder::Drop)
    }

    pub(crate) fn is_told(&self, key: TaskKey) -> bool {
        let state = self.lock();
        is_told(&state, key)
    }

    /// `place` is the listener's own, from its first poll to [`forget_listener`](Self::forget_listener).
    pub(crate) fn poll_told(
        &self,
        key: TaskKey,
        place: &mut Option<usize>,
        waker: &Waker,
    ) -> Poll<()> {
        let mut state = self.lock();
        if is_told(&state, key) {
            *place = None;
            return Poll::Ready(());
        }
        let mut before = None;
        if let Some(task) = state.connection.task_mut(key) {
            let listeners = &mut task.attach().listeners;
            match place.and_then(|place| listeners.get_mut(place)) {
                Some(listener) => before = Some(std::mem::replace(listener, waker.clone())),
                None => *place = Some(listeners.insert(waker.clone())),
            }
        }
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Nobody waits there any more.
    pub(crate) fn forget_listener(&self, key: TaskKey, place: usize) {
        let listener = {
            let mut state = self.lock();
            // Once told, all listeners have been taken.
            let task = state.connection.task_mut(key);
            let attachments = task.and_then(|task| task.attachments.as_mut());
            attachments.and_then(|some| some.listeners.try_remove(place))
        };
        drop(listener);
    }
}

impl State {
    fn join_group(&mut self, key: TaskKey, group: u32) {
        if let Some(tag) = self.connection.tag_mut(key) {
            *tag = pended::tag_of_group(group);
        }
    }

    fn give_order(&self, member: &mut RunningTask) -> Option<Waker> {
        let task = self.connection.ledger().task(member.key());
        member.give_order(task.map_or(RunnerOrder::Drop, TaskRecord::order))
    }
}

/// A task that is no longer there has been told all that there is to tell.
fn is_told(state: &State, key: TaskKey) -> bool {
    match state.connection.ledger().task(key) {
        Some(task) => task.attachments.as_ref().is_some_and(|some| some.is_told),
        None => true,
    }
}

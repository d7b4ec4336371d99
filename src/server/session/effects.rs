//! What a change of the state brings about: orders to run functions and counts
//! while it is locked; wakers, drops and events once it no longer is (invariant 2).

use std::sync::Arc;
use std::task::Waker;

use super::record::{Ended, RunnerOrder, TaskRecord};
use super::{Driver, DropReading, Session, State};
use crate::proto::{Action, Retired, TaskEnding, TaskKey, Watching};
use crate::server::handle::ClientHandle;
use crate::server::observe::{Event, ObservedTask, Observer};
use crate::server::run::{drop_quietly, unless_panics};

/// An event, and who watched when it happened.
pub(super) type Untold = (Event, Arc<dyn Observer>);

/// Who tells events. They happen under the lock and are told outside it: if each
/// thread told its own, a task could be finished before it was cancelled.
///
/// ```text
/// Nobody ── a thread has an event ──► AThread ── nothing is left to tell ──► Nobody
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    Nobody,
    /// Its loop takes what others add.
    AThread,
}

/// What is done once the lock has been released.
#[derive(Default)]
pub(super) struct AfterUnlock {
    pub(super) wakers: Vec<Waker>,
    pub(super) events: Vec<Event>,
    /// What this thread tells, because no other one is telling.
    untold: Vec<Untold>,
    retired: Vec<TaskRecord>,
    pub(super) unwanted: Vec<Ended>,
    /// Limits that were reached, and whether that is worth a warning.
    limits: Vec<(&'static str, tracing::Level)>,
    /// The server's L7 is no longer reached.
    server_has_room: bool,
}

impl AfterUnlock {
    /// Whoever watches now is told of what has happened now.
    pub(super) fn note_events(&mut self, state: &mut State) {
        if self.events.is_empty() || state.observer_is_silent {
            return;
        }
        let events = self.events.drain(..);
        let untold = events.map(|event| (event, Arc::clone(&state.observer)));
        state.untold.extend(untold);
        if state.teller == Teller::Nobody {
            state.teller = Teller::AThread;
            self.untold = std::mem::take(&mut state.untold);
        }
    }

    pub(super) fn act(self, session: &Session) {
        for waker in self.wakers {
            waker.wake();
        }
        if !self.retired.is_empty() || !self.unwanted.is_empty() {
            drop_quietly((self.retired, self.unwanted));
        }
        for (rule, level) in self.limits {
            session.log_limit(rule, level);
        }
        if !self.untold.is_empty() {
            session.tell(self.untold);
        }
        if self.server_has_room {
            session.client().server.registry.wake_all();
        }
    }
}

impl Session {
    /// Tells events until there are none, those of other threads too.
    fn tell(&self, mut untold: Vec<Untold>) {
        let client = ClientHandle::new(self.clone());
        while !untold.is_empty() {
            for (event, observer) in untold {
                unless_panics(|| event.tell(&*observer, &client));
            }
            let mut state = self.lock();
            untold = std::mem::take(&mut state.untold);
            if untold.is_empty() {
                state.teller = Teller::Nobody;
            }
        }
    }

    pub(super) fn carry_out(&self, state: &mut State, after: &mut AfterUnlock) {
        for action in state.connection.take_actions() {
            self.carry_out_one(action, state, after);
        }
        for retired in state.connection.take_retired() {
            self.retire(state, retired, after);
        }
        super::notice(&mut state.driver, after);
    }

    fn carry_out_one(&self, action: Action, state: &mut State, after: &mut AfterUnlock) {
        match action {
            Action::Tell(key) => self.order(state, key, RunnerOrder::GoOn, after),
            Action::Drop(key) => self.order(state, key, RunnerOrder::Drop, after),
            Action::Orphan(key, drop_at) => {
                let order = drop_at.map_or(RunnerOrder::GoOn, RunnerOrder::DropAt);
                self.order(state, key, order, after);
            }
            Action::DropReading => {
                state.reader = None;
                state.for_driver.drop_reading = DropReading::Yes;
            }
            Action::DropBody(key) => state.for_driver.dropped_bodies.push(key),
            Action::Cancelled(id, code, cause) => {
                let task = ObservedTask { id, code };
                after.events.push(Event::Cancelled(task, cause));
            }
            Action::Stuck(id, code) => after.events.push(Event::Stuck(ObservedTask { id, code })),
            Action::Interrupted(id, code) => {
                let task = ObservedTask { id, code };
                let event = Event::Finished(task, TaskEnding::Interrupted);
                after.events.push(event);
            }
            Action::Accepted(id, code) => {
                after
                    .events
                    .push(Event::Accepted(ObservedTask { id, code }));
            }
            Action::Started(id, code) => {
                after.events.push(Event::Started(ObservedTask { id, code }));
            }
            Action::LimitReached(rule) => {
                let level = state.warn_once(rule);
                after.limits.push((rule, level));
                after.events.push(Event::LimitReached(rule));
            }
        }
    }

    /// Tells a run function that it is cancelled, and what its wrapper does about it.
    fn order(&self, state: &mut State, key: TaskKey, order: RunnerOrder, after: &mut AfterUnlock) {
        let Some(task) = state.connection.task_mut(key) else {
            return;
        };
        let attachments = task.attach();
        attachments.order = order;
        attachments.is_told = true;
        after.wakers.append(&mut attachments.listeners);
        match attachments.runner.take() {
            Some(runner) => after.wakers.push(runner),
            None => after
                .wakers
                .extend(std::mem::take(&mut state.groups).into_values()),
        }
        self.0.orders.increment();
    }

    pub(super) fn retire(
        &self,
        state: &mut State,
        mut retired: Retired<TaskRecord>,
        after: &mut AfterUnlock,
    ) {
        let record = &mut retired.task;
        if record.has_places {
            state.spare_places += 1;
            record.registered.leave();
            state.held_bytes -= record.held_bytes;
        }
        if let Some(ending) = retired.ending
            && state.connection.watching() == Watching::Requests
        {
            let (id, code) = (retired.id, retired.code);
            let event = Event::Finished(ObservedTask { id, code }, ending);
            after.events.push(event);
        }
        // Those who wait to be told learn that there is nothing to wait for.
        if let Some(attachments) = &mut record.attachments {
            after.wakers.append(&mut attachments.listeners);
        }
        after.retired.push(retired.task);
    }

    /// Brings the server's counts up to date, once for all that has happened.
    pub(super) fn count(&self, state: &mut State, after: &mut AfterUnlock) {
        if state.held_bytes != state.counted_held {
            let counted = std::mem::replace(&mut state.counted_held, state.held_bytes);
            let places = &self.client().server.places.held_bytes;
            places.force(state.held_bytes.saturating_sub(counted));
            places.release(counted.saturating_sub(state.held_bytes));
        }
        if !matches!(state.driver, Driver::Busy(_)) {
            self.release_spare_places(state);
        }
        self.count_unsent(state, after);
    }

    pub(super) fn release_spare_places(&self, state: &mut State) {
        let spare = std::mem::take(&mut state.spare_places);
        if spare > 0 {
            self.client().server.places.tasks.release(spare);
        }
    }

    fn count_unsent(&self, state: &mut State, after: &mut AfterUnlock) {
        let unsent = state.connection.unsent();
        let counted = std::mem::replace(&mut state.counted_unsent, unsent);
        let places = &self.client().server.places.unsent_bytes;
        if unsent > counted {
            places.force(unsent - counted);
        } else if unsent < counted {
            after.server_has_room = places.release(counted - unsent);
        }
    }
}

impl State {
    /// What a peer can cause at will is warned of once per connection and cause.
    fn warn_once(&mut self, rule: &'static str) -> tracing::Level {
        if self.warned.contains(&rule) {
            return tracing::Level::DEBUG;
        }
        self.warned.push(rule);
        tracing::Level::WARN
    }
}

impl Session {
    fn log_limit(&self, rule: &'static str, level: tracing::Level) {
        let client = &self.client().endpoints;
        let limit = crate::proto::limit_words(rule);
        if level == tracing::Level::WARN {
            tracing::warn!(parent: &self.span(), %client, rule, limit, "limit reached");
        } else {
            tracing::debug!(parent: &self.span(), %client, rule, limit, "limit reached");
        }
    }
}

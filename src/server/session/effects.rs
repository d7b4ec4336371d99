//! What a change of the state brings about: orders to run functions and counts
//! while it is locked; wakers, drops and events once it no longer is (invariant 2).

use std::cell::Cell;
use std::sync::Arc;
use std::task::Waker;

use super::for_driver::EVENTS_AHEAD;
use super::reader::ReaderState;
use super::record::{RunnerOrder, TaskRecord};
use super::slots::Slots;
use super::{Driver, Session, State};
use crate::canary::{Canary, planted};
use crate::proto::{Action, NO_TAG, Retired, TaskKey, Watching};
use crate::server::handle::ClientHandle;
use crate::server::observe::{Event, ObservedTask};
use crate::server::run::{caught, drop_each, each_quietly, unless_panics};
use crate::server::task::RunData;

/// What is done once the lock has been released.
#[derive(Default)]
pub(crate) struct AfterUnlock {
    pub(super) wakers: Vec<Waker>,
    /// Empty: memory for what is taken out of the inbox.
    pub(super) waiting: Vec<(TaskKey, Waker)>,
    retired: Slots<Option<TaskRecord>>,
    pub(super) unwanted: Vec<Unwanted>,
    /// Limits that were reached, and whether that is worth a warning.
    limits: Vec<(&'static str, tracing::Level)>,
    telling: Telling,
    /// The server's L7 is no longer reached.
    server_has_room: bool,
}

thread_local! {
    /// Empty lists that were used on this thread, for the next ones to end here.
    static KEPT: Cell<Option<Box<AfterUnlock>>> = const { Cell::new(None) };
}

/// A thread keeps no lists with room for more.
const MOST_KEPT: usize = 256;

/// What a task left behind: its drop is the application's code.
pub(super) enum Unwanted {
    RunData(#[expect(dead_code, reason = "only dropped")] RunData),
    Reader(#[expect(dead_code, reason = "only dropped")] Box<ReaderState>),
    Waker(#[expect(dead_code, reason = "only dropped")] Waker),
}

/// Who tells the observer: one thread at a time, so that it learns of a
/// client's events in the order in which they happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Telling {
    #[default]
    Nobody,
    /// This thread, once it has released the lock.
    ThisThread,
}

impl AfterUnlock {
    /// Lists whose memory has been used before, unless the thread is about to end.
    pub(super) fn kept() -> Box<Self> {
        KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Keeps their memory for the next ones.
    pub(super) fn keep(self: Box<Self>) {
        debug_assert!(self.is_nothing(), "they have been acted upon");
        let lists = [
            self.wakers.capacity(),
            self.waiting.capacity(),
            self.retired.capacity(),
            self.unwanted.capacity(),
        ];
        if lists.into_iter().all(|capacity| capacity <= MOST_KEPT) {
            let _ = KEPT.try_with(|kept| kept.set(Some(self)));
        }
    }

    pub(super) const fn is_nothing(&self) -> bool {
        self.wakers.is_empty()
            && self.retired.is_empty()
            && self.unwanted.is_empty()
            && self.limits.is_empty()
            && matches!(self.telling, Telling::Nobody)
            && !self.server_has_room
    }

    /// Undertakes to tell of what has happened, unless somebody already does.
    pub(super) fn undertake_telling(&mut self, state: &mut State) {
        if !state.events.is_empty() && state.telling == Telling::Nobody {
            state.telling = Telling::ThisThread;
            self.telling = Telling::ThisThread;
        }
    }

    pub(super) fn drop_later(&mut self, unwanted: Option<Unwanted>) {
        self.unwanted.extend(unwanted);
    }

    /// Each step is the application's code, and a panic of it must not cost the others theirs.
    pub(super) fn act(&mut self, session: &Session) {
        for waker in self.wakers.drain(..) {
            unless_panics(|| waker.wake());
        }
        each_quietly(self.retired.filled(), |record| *record = None);
        self.retired.forget();
        drop_each(self.unwanted.drain(..));
        for (rule, level) in self.limits.drain(..) {
            session.log_limit(rule, level);
        }
        if std::mem::take(&mut self.telling) == Telling::ThisThread {
            session.tell_events();
        }
        if std::mem::take(&mut self.server_has_room) {
            session.client().server.registry.wake_all();
        }
    }
}

impl Session {
    #[inline(never)]
    pub(super) fn carry_out(&self, state: &mut State, after: &mut AfterUnlock) {
        for action in state.connection.take_actions() {
            self.carry_out_one(action, state, after);
        }
        for retired in state.connection.take_retired() {
            self.retire(state, retired, after);
        }
        super::notice(state, after);
    }

    fn carry_out_one(&self, action: Action, state: &mut State, after: &mut AfterUnlock) {
        match action {
            Action::Tell(key) => self.order(state, key, RunnerOrder::GoOn, after),
            Action::Drop(key) => self.order(state, key, RunnerOrder::Drop, after),
            Action::Orphan(key, drop_at) => {
                let order = drop_at.map_or(RunnerOrder::GoOn, RunnerOrder::DropAt);
                self.order(state, key, order, after);
            }
            Action::DropReading(key) => {
                let reader = state.reader.take_if(|reader| reader.is_for(key));
                after.drop_later(reader.map(Unwanted::Reader));
                state.for_driver().dropped_readings.push(key);
            }
            Action::DropBody(key) => state.for_driver().dropped_bodies.push(key),
            Action::Cancelled(id, code, cause) => {
                state.push_event(Event::Cancelled(ObservedTask { id, code }, cause));
            }
            Action::Stuck(id, code) => state.push_event(Event::Stuck(ObservedTask { id, code })),
            Action::Finished(id, code, ending) => {
                state.push_event(Event::Finished(ObservedTask { id, code }, ending));
            }
            Action::Accepted(id, code) => {
                state.push_event(Event::Accepted(ObservedTask { id, code }));
            }
            Action::Started(id, code) => {
                state.push_event(Event::Started(ObservedTask { id, code }));
            }
            Action::LimitReached(rule) => {
                let level = state.warn_once(rule);
                after.limits.push((rule, level));
                state.push_event(Event::LimitReached(rule));
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
        after.wakers.extend(attachments.listeners.drain());
        // Invariant 4: this comes first.
        if !planted(Canary::OrderUnseen) {
            self.0.orders.increment();
        }
        self.take_wakers(state, after);
        if let Some(pended) = &mut state.pended
            && let Some(tag) = state.connection.tag_mut(key)
        {
            after.wakers.extend(pended.take_waker(tag));
        }
    }

    #[inline(always)]
    pub(super) fn retire(
        &self,
        state: &mut State,
        mut retired: Retired<TaskRecord>,
        after: &mut AfterUnlock,
    ) {
        let record = &mut retired.task;
        let attachments = record.attachments.as_mut();
        let waits = attachments.is_some_and(|some| some.waiting.is_some());
        state.spare_places += 1;
        if let Some(registered) = record.registered(&state.table, retired.code) {
            registered.leave();
        }
        // A function that no thread has come to yet leaves an empty place in
        // the executor's queue.
        if waits {
            self.client().server.places.empty.force(1);
        }
        if let Some(ending) = retired.ending
            && state.connection.watching() == Watching::Requests
        {
            let (id, code) = (retired.id, retired.code);
            state.push_event(Event::Finished(ObservedTask { id, code }, ending));
        }
        // Those who wait to be told learn that there is nothing to wait for.
        if let Some(attachments) = &mut record.attachments {
            after.wakers.extend(attachments.listeners.drain());
        }
        if retired.tag != NO_TAG
            && let Some(pended) = &mut state.pended
        {
            let runner = pended.forget_runner(retired.tag);
            after.drop_later(runner.map(Unwanted::Waker));
        }
        if !retired.task.is_bare() {
            *after.retired.next() = Some(retired.task);
        }
    }

    /// Brings the server's counts up to date, once for all that has happened.
    #[inline]
    pub(super) fn count(&self, state: &mut State, after: &mut AfterUnlock) {
        let held = state.connection.ledger().held_bytes();
        if held != state.counted_held {
            self.count_held(state, held);
        }
        if !matches!(state.driver, Driver::Busy(_)) {
            self.release_spare_places(state);
        }
        let unsent = state.connection.unsent();
        if unsent != state.counted_unsent {
            self.count_unsent(state, unsent, after);
        }
    }

    pub(super) fn release_spare_places(&self, state: &mut State) {
        let spare = std::mem::take(&mut state.spare_places);
        if spare > 0 {
            self.client().server.places.tasks.release(spare);
        }
    }

    fn count_held(&self, state: &mut State, held: usize) {
        let counted = std::mem::replace(&mut state.counted_held, held);
        let places = &self.client().server.places.held_bytes;
        if held > counted {
            places.force(held - counted);
        } else {
            places.release(counted - held);
        }
    }

    fn count_unsent(&self, state: &mut State, unsent: usize, after: &mut AfterUnlock) {
        let counted = std::mem::replace(&mut state.counted_unsent, unsent);
        let places = &self.client().server.places.unsent_bytes;
        if unsent > counted {
            places.force(unsent - counted);
        } else {
            after.server_has_room |= places.release(counted - unsent);
        }
    }
}

impl State {
    /// Nobody needs to be told who watches nothing.
    pub(super) fn push_event(&mut self, event: Event) {
        if !self.observer_is_silent {
            self.events.push_back(event);
        }
    }

    /// What a peer can cause at will is warned of once per connection and cause.
    pub(super) fn warn_once(&mut self, rule: &'static str) -> tracing::Level {
        if self.warned.contains(&rule) {
            return tracing::Level::DEBUG;
        }
        self.warned.push(rule);
        tracing::Level::WARN
    }
}

impl Session {
    /// Tells the observer of all that has happened, until nothing is left.
    fn tell_events(&self) {
        let client = ClientHandle::new(self.clone());
        loop {
            let (observer, events) = {
                let mut state = self.lock();
                if state.events.is_empty() {
                    state.telling = Telling::Nobody;
                    return;
                }
                (
                    Arc::clone(&state.observer),
                    std::mem::take(&mut state.events),
                )
            };
            let was_late = events.len() > EVENTS_AHEAD;
            for event in events {
                let is_last = matches!(event, Event::Closed(_));
                self.ask_observer(|| event.tell(&*observer, &client));
                if is_last {
                    self.leave_list();
                }
            }
            // It may have been replaced meanwhile: then this drop is its end.
            self.ask_observer(|| drop(observer));
            if was_late {
                self.wake_driver();
            }
        }
    }

    /// Its end has been told, perhaps by another thread than the connection's:
    /// who waits for the server's clients finds it told.
    fn leave_list(&self) {
        let server = &self.client().server;
        server.registry.remove_client(self.client().id);
        server.client_left.notify_waiters();
    }

    /// Runs an observer's code. Its panics are logged, and once per connection
    /// as an error: a peer must not fill the log.
    pub(super) fn ask_observer<R>(&self, code: impl FnOnce() -> R) -> Option<R> {
        caught(code)
            .map_err(|panic| {
                let client = &self.client().endpoints;
                if std::mem::replace(&mut self.lock().observer_has_panicked, true) {
                    tracing::debug!(%client, %panic, "the observer panicked");
                } else {
                    tracing::error!(%client, %panic, "the observer panicked");
                }
            })
            .ok()
    }

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

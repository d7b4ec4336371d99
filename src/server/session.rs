//! What a client's driver, its tasks and its handles share.
//!
//! Invariants:
//! 1. `state` is the only lock of a connection. No user code runs under it, and
//!    no other lock is taken under it.
//! 2. Wakers are woken and what tasks leave behind is dropped after it is released.
//! 3. The driver is `Parked` only if nothing was found to do *under the same
//!    lock*; whoever changes anything that concerns it takes its waker, once.
//! 4. A run function learns of its cancel under the lock, before it registers
//!    its waker: none is lost between the two.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::admission::Desk;
use super::client::ClientContext;
use super::observe::{Event, ObservedTask, Observer};
use super::registration::Registered;
use super::response::{Body, Payload, Response, WholeBody};
use super::run::RunningTask;
use super::task::RunData;
use crate::proto::{
    Action, CancelCause, Connection, ConnectionReport, EndReason, Input, Outcome, Phase,
    ReadOutcome, Retired, TaskEnding, TaskFinished, TaskKey, TaskMetadata,
};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::wire::{TaskCode, TaskId};

/// What the server keeps for a task.
pub(crate) struct TaskRecord {
    pub(crate) registered: Arc<Registered>,
    /// Whether it holds the server's places.
    pub(crate) has_places: bool,
    /// Message bytes that it holds of the server's L16.
    held_bytes: usize,
    /// Few tasks need any of these.
    attachments: Option<Box<Attachments>>,
}

#[derive(Default)]
struct Attachments {
    run_data: Option<RunData>,
    /// The run function's waker, once it is on an executor.
    runner: Option<Waker>,
    order: RunnerOrder,
    is_told: bool,
    /// Those who wait to be told.
    listeners: Vec<Waker>,
}

impl TaskRecord {
    pub(crate) fn new(registered: Arc<Registered>) -> Self {
        Self {
            registered,
            has_places: false,
            held_bytes: 0,
            attachments: None,
        }
    }

    fn attach(&mut self) -> &mut Attachments {
        self.attachments.get_or_insert_default()
    }
}

/// What a run function's wrapper has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunnerOrder {
    /// Go on.
    #[default]
    GoOn,
    /// Drop the function.
    Drop,
    /// Its connection has ended: drop it then, by its own timer.
    DropAt(Instant),
}

/// How a run function ended.
pub(crate) enum Ended {
    Response(Response),
    /// An error with a code.
    Error(crate::wire::ErrorCode),
    /// An error without one, in its own words.
    Fatal(Box<str>),
    Panicked,
    Dropped,
}

/// Where the driver is.
enum Driver {
    /// Its turn runs, or is scheduled; `true`: something happened since it looked.
    Busy(Noticed),
    Parked(Waker),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Noticed {
    Nothing,
    Something,
}

/// The message that a task function is reading.
struct ReaderState {
    key: TaskKey,
    chunks: VecDeque<Bytes>,
    ended: bool,
    waker: Option<Waker>,
    /// It asked for bytes since the driver last looked (L14).
    asked: bool,
    /// It waits for bytes that have not come.
    waiting: bool,
}

/// What the driver finds in the state at the start of a turn.
#[derive(Default)]
pub(crate) struct ForDriver {
    pub(crate) new_bodies: Vec<(TaskKey, Box<dyn Body>)>,
    pub(crate) dropped_bodies: Vec<TaskKey>,
    pub(crate) drop_reading: DropReading,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DropReading {
    #[default]
    No,
    Yes,
}

pub(crate) struct State {
    pub(crate) connection: Connection<TaskRecord>,
    driver: Driver,
    reader: Option<ReaderState>,
    for_driver: ForDriver,
    /// What the server's L7 counts of this connection.
    counted_unsent: usize,
    /// Message bytes that its tasks hold, and what the server's L16 counts of them.
    held_bytes: usize,
    counted_held: usize,
    /// Places of L6 that ended tasks left, for the next ones of the same turn:
    /// given back before what they answered is written.
    spare_places: usize,
    /// The wakers of groups of run functions, until there is an order for any of them.
    groups: BTreeMap<u64, Waker>,
    /// Run functions that have an executor task each: while some are under
    /// way, a write waits for them one turn.
    pub(crate) single_runners: usize,
    /// Asked once a turn, outside the lock, whether it wants task events.
    observe_tasks: bool,
    observer: std::sync::Arc<dyn Observer>,
    /// It is the one that watches nothing: it need not be asked.
    observer_is_silent: bool,
    span: tracing::Span,
}

/// What is done once the lock has been released.
#[derive(Default)]
struct AfterUnlock {
    wakers: Vec<Waker>,
    events: Vec<Event>,
    observer: Option<std::sync::Arc<dyn Observer>>,
    retired: Vec<TaskRecord>,
    unwanted: Vec<Ended>,
    /// The server's L7 is no longer reached.
    server_has_room: bool,
}

/// One connection's shared state.
pub(crate) struct Session {
    state: Mutex<State>,
    /// Counts orders to run functions, which look for one without the lock.
    orders: AtomicU64,
    next_group: AtomicU64,
    pub(crate) client: ClientContext,
}

impl Session {
    pub(crate) fn new(
        connection: Connection<TaskRecord>,
        client: ClientContext,
        observer: std::sync::Arc<dyn Observer>,
        span: tracing::Span,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                connection,
                driver: Driver::Busy(Noticed::Nothing),
                reader: None,
                for_driver: ForDriver::default(),
                counted_unsent: 0,
                held_bytes: 0,
                counted_held: 0,
                spare_places: 0,
                groups: BTreeMap::new(),
                single_runners: 0,
                observe_tasks: false,
                observer_is_silent: observer.is_silent(),
                observer,
                span,
            }),
            orders: AtomicU64::new(0),
            next_group: AtomicU64::new(0),
            client,
        }
    }

    /// The one way to the state. What `change` causes is carried out before
    /// the lock is released (orders, counts) or after (wakers, drops, events).
    fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut AfterUnlock) -> R) -> R {
        let mut after = AfterUnlock::default();
        let result = {
            let mut state = self.state.lock();
            let result = change(&mut state, &mut after);
            if state.connection.has_actions() {
                self.carry_out(&mut state, &mut after);
            }
            self.count(&mut state, &mut after);
            if !after.events.is_empty() {
                after.observer = Some(std::sync::Arc::clone(&state.observer));
            }
            result
        };
        self.act(after);
        result
    }

    /// The same for the driver itself, which needs no waking.
    pub(crate) fn drive<R>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> R) -> R {
        self.with(|state, _| change(state))
    }

    fn act(self: &Arc<Self>, after: AfterUnlock) {
        for waker in after.wakers {
            waker.wake();
        }
        if !after.retired.is_empty() || !after.unwanted.is_empty() {
            super::run::drop_quietly((after.retired, after.unwanted));
        }
        if let Some(observer) = after.observer {
            let client = super::handle::ClientHandle::new(Arc::clone(self));
            for event in after.events {
                super::run::unless_panics(|| event.tell(&*observer, &client));
            }
        }
        if after.server_has_room {
            self.client.server.registry.wake_all();
        }
    }

    /// Brings the server's counts up to date, once for all that has happened.
    fn count(&self, state: &mut State, after: &mut AfterUnlock) {
        if state.held_bytes != state.counted_held {
            let counted = std::mem::replace(&mut state.counted_held, state.held_bytes);
            let places = &self.client.server.places.held_bytes;
            places.force(state.held_bytes.saturating_sub(counted));
            places.release(counted.saturating_sub(state.held_bytes));
        }
        if !matches!(state.driver, Driver::Busy(_)) {
            self.release_spare_places(state);
        }
        self.count_unsent(state, after);
    }

    fn release_spare_places(&self, state: &mut State) {
        let spare = std::mem::take(&mut state.spare_places);
        if spare > 0 {
            self.client.server.places.tasks.release(spare);
        }
    }

    fn count_unsent(&self, state: &mut State, after: &mut AfterUnlock) {
        let unsent = state.connection.unsent();
        let counted = std::mem::replace(&mut state.counted_unsent, unsent);
        let places = &self.client.server.places.unsent_bytes;
        if unsent > counted {
            places.force(unsent - counted);
        } else if unsent < counted {
            after.server_has_room = places.release(counted - unsent);
        }
    }

    fn carry_out(&self, state: &mut State, after: &mut AfterUnlock) {
        for action in state.connection.take_actions() {
            self.carry_out_one(action, state, after);
        }
        for retired in state.connection.take_retired() {
            self.retire(state, retired, after);
        }
        notice(&mut state.driver, after);
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
            Action::LimitReached(rule) => after.events.push(Event::LimitReached(rule)),
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
        self.orders.fetch_add(1, Ordering::Release);
    }

    fn retire(&self, state: &mut State, mut retired: Retired<TaskRecord>, after: &mut AfterUnlock) {
        let record = &mut retired.task;
        if record.has_places {
            state.spare_places += 1;
            record.registered.leave();
            state.held_bytes -= record.held_bytes;
        }
        if let Some(ending) = retired.ending
            && state.observe_tasks
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

    // ── the driver's side ────────────────────────────────────────────────

    /// The start of a turn: what has come for the driver.
    pub(crate) fn begin_turn(self: &Arc<Self>) -> ForDriver {
        let server_full = self.client.server.places.unsent_bytes.is_full();
        let observer = self.drive(|state| {
            state.driver = Driver::Busy(Noticed::Nothing);
            state.connection.set_server_full(server_full);
            if state.observer_is_silent {
                return Err(std::mem::take(&mut state.for_driver));
            }
            Ok(std::sync::Arc::clone(&state.observer))
        });
        let observer = match observer {
            Ok(observer) => observer,
            Err(for_driver) => return for_driver,
        };
        let wants = super::run::unless_panics(|| observer.wants_task_events());
        self.drive(|state| {
            state.observe_tasks = wants.unwrap_or(false);
            std::mem::take(&mut state.for_driver)
        })
    }

    /// What was noticed for the driver since the turn began.
    pub(crate) fn take_for_driver(self: &Arc<Self>) -> ForDriver {
        self.drive(|state| std::mem::take(&mut state.for_driver))
    }

    /// Commits the results of what ran in place, then looks at up to `most`
    /// inputs: whether that was all that there is in the buffer.
    pub(crate) fn take_inputs(
        self: &Arc<Self>,
        ended: &mut Vec<(TaskKey, Ended)>,
        unread: (&[u8], &mut usize),
        desk: &mut Desk,
        inputs: &mut Vec<Input>,
        most: usize,
        now: Instant,
    ) {
        self.with(|state, after| {
            for (key, ended) in ended.drain(..) {
                self.finish(state, key, ended, || now, after);
            }
            let (buffer, at) = unread;
            desk.spare_places = std::mem::take(&mut state.spare_places);
            while inputs.len() < most {
                match state.connection.handle_input(buffer, at, desk, now) {
                    Some(input) => self.sort_input(state, input, inputs, after),
                    None => break,
                }
            }
            state.spare_places += std::mem::take(&mut desk.spare_places);
        });
    }

    fn sort_input(
        &self,
        state: &mut State,
        input: Input,
        inputs: &mut Vec<Input>,
        after: &mut AfterUnlock,
    ) {
        match &input {
            Input::Begin { key, .. } => state.reader = Some(ReaderState::new(*key)),
            Input::Payload { payload } => {
                let ended = state.connection.message_has_ended();
                if let Some(reader) = &mut state.reader {
                    reader.chunks.push_back(payload.clone());
                    reader.ended = ended;
                    after.wakers.extend(reader.waker.take());
                }
                return inputs.push(Input::Handled);
            }
            Input::End { .. } => {
                if let Some(reader) = &mut state.reader {
                    reader.ended = true;
                    after.wakers.extend(reader.waker.take());
                }
            }
            Input::Whole {
                key,
                header,
                message,
            } => self.hold(state, *key, *header, message.payload_len, after),
            Input::Message {
                key,
                header,
                payload,
            } => self.hold(state, *key, *header, payload.len(), after),
            Input::Handled => {}
        }
        inputs.push(input);
    }

    /// A whole message was handed over: it counts in the server's L16.
    fn hold(
        &self,
        state: &mut State,
        key: TaskKey,
        header: crate::wire::RequestHeader,
        bytes: usize,
        after: &mut AfterUnlock,
    ) {
        if bytes > 0
            && let Some(task) = state.connection.task_mut(key)
        {
            task.held_bytes = bytes;
            state.held_bytes += bytes;
        }
        if state.observe_tasks {
            let (id, code) = (header.id, header.code);
            after.events.push(Event::Started(ObservedTask { id, code }));
        }
    }

    /// The task function has returned: whether its run function starts now.
    pub(crate) fn read_returned(
        self: &Arc<Self>,
        key: TaskKey,
        outcome: ReadOutcome,
        run_data: Option<RunData>,
        now: Instant,
    ) -> bool {
        self.with(|state, after| {
            state.reader = None;
            if run_data.is_some()
                && let Some(task) = state.connection.task_mut(key)
            {
                task.attach().run_data = run_data;
            }
            let starts = state.connection.read_returned(key, outcome, now);
            if starts && state.observe_tasks {
                self.push_started(state, key, after);
            }
            starts
        })
    }

    fn push_started(&self, state: &State, key: TaskKey, after: &mut AfterUnlock) {
        if let Some((id, code)) = state.connection.ledger().identity(key) {
            after.events.push(Event::Started(ObservedTask { id, code }));
        }
    }

    /// The end of a turn. `Some(waker)`: parks, unless something was noticed
    /// meanwhile. Returns what the driver looks at before it decides.
    pub(crate) fn end_turn(self: &Arc<Self>, now: Instant) -> TurnEnd {
        self.drive(|state| {
            if let Some(reader) = &mut state.reader {
                let asked = std::mem::take(&mut reader.asked);
                let waiting = reader.waiting && reader.chunks.is_empty() && !reader.ended;
                state.connection.reader_progress(asked, waiting, now);
            } else {
                state.connection.reader_progress(false, false, now);
            }
            state.connection.handle_timeout(now);
            self.release_spare_places(state);
            TurnEnd {
                phase: state.connection.phase(),
                next_deadline: state.connection.next_deadline(),
                reading: state.connection.reading(),
                has_output: state.connection.has_output(),
                is_idle: state.connection.is_idle(),
            }
        })
    }

    /// Parks the driver unless something was noticed since its turn began.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if matches!(state.driver, Driver::Busy(Noticed::Something)) {
            return false;
        }
        state.driver = Driver::Parked(waker.clone());
        true
    }

    /// The connection is over: nobody wakes its driver any more.
    pub(crate) fn leave(self: &Arc<Self>) -> ConnectionReport {
        self.drive(|state| {
            state.driver = Driver::Gone;
            state.connection.report()
        })
    }

    /// Moves output out. The places of those whom it answers are free from now on.
    pub(crate) fn fetch_output(&self, into: &mut BytesMut) {
        let mut state = self.state.lock();
        self.release_spare_places(&mut state);
        state.connection.poll_output(into);
    }

    /// Wakes the driver, whatever it is doing.
    pub(crate) fn wake_driver(self: &Arc<Self>) {
        self.with(|state, after| notice(&mut state.driver, after));
    }

    // ── the tasks' side ──────────────────────────────────────────────────

    /// Results of run functions that ran elsewhere.
    pub(crate) fn finish_batch(
        self: &Arc<Self>,
        batch: impl IntoIterator<Item = (TaskKey, Ended)>,
        singles: usize,
    ) {
        self.with(|state, after| {
            state.single_runners -= singles;
            for (key, ended) in batch {
                let now = || self.client.server.clock.now();
                self.finish(state, key, ended, now, after);
            }
            notice(&mut state.driver, after);
        });
    }

    fn finish(
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
        self.orders.load(Ordering::Acquire)
    }

    /// What a run function's wrapper has to do, and whom to wake with news.
    pub(crate) fn runner_order(&self, key: TaskKey, waker: &Waker) -> RunnerOrder {
        let mut state = self.state.lock();
        let Some(task) = state.connection.task_mut(key) else {
            return RunnerOrder::Drop;
        };
        let attachments = task.attach();
        attachments.runner = Some(waker.clone());
        attachments.order
    }

    /// A name for a group of run functions.
    pub(crate) fn next_group_id(&self) -> u64 {
        self.next_group.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells a group's members what they have to do, and keeps the group's
    /// waker for news. Returns the members to wake.
    pub(crate) fn group_orders<'a>(
        &self,
        group: u64,
        waker: &Waker,
        members: impl Iterator<Item = &'a mut RunningTask>,
    ) -> Vec<Waker> {
        let mut state = self.state.lock();
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
        let waker = self.state.lock().groups.remove(&group);
        drop(waker);
    }

    /// A thread got to a blocking function: whether it shall run.
    pub(crate) fn start_blocking(&self, key: TaskKey) -> bool {
        self.state.lock().connection.start_blocking(key)
    }

    pub(crate) fn is_told(&self, key: TaskKey) -> bool {
        let state = self.state.lock();
        is_told(&state, key)
    }

    pub(crate) fn poll_told(&self, key: TaskKey, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
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

    /// The next bytes for the task function; `None` at the message's end.
    pub(crate) fn poll_chunk(self: &Arc<Self>, key: TaskKey, waker: &Waker) -> Poll<Option<Bytes>> {
        self.with(|state, after| {
            let Some(reader) = state.reader.as_mut().filter(|reader| reader.key == key) else {
                // Dropped where it waits (T3): there is nothing to wait for.
                return Poll::Pending;
            };
            reader.asked = true;
            reader.waiting = false;
            match reader.chunks.pop_front() {
                Some(chunk) => {
                    state.connection.bytes_taken(chunk.len());
                    notice(&mut state.driver, after);
                    Poll::Ready(Some(chunk))
                }
                None if reader.ended => Poll::Ready(None),
                None => {
                    reader.waiting = true;
                    reader.waker = Some(waker.clone());
                    Poll::Pending
                }
            }
        })
    }

    // ── the handles' side ────────────────────────────────────────────────

    pub(crate) fn list(&self) -> Vec<TaskMetadata> {
        let list = self.state.lock().connection.ledger().list();
        list.into_iter().map(|(_, task)| task).collect()
    }

    pub(crate) fn metadata(&self, key: TaskKey) -> Option<TaskMetadata> {
        self.state.lock().connection.ledger().metadata(key)
    }

    pub(crate) fn metadata_by_id(&self, id: TaskId) -> Option<TaskMetadata> {
        let state = self.state.lock();
        let ledger = state.connection.ledger();
        ledger.metadata(ledger.find(id)?)
    }

    pub(crate) fn code_of(&self, key: TaskKey) -> Option<TaskCode> {
        let state = self.state.lock();
        state
            .connection
            .ledger()
            .identity(key)
            .map(|(_, code)| code)
    }

    pub(crate) fn run_deadline(&self, key: TaskKey) -> Option<Instant> {
        self.state.lock().connection.ledger().run_deadline(key)
    }

    pub(crate) fn run_data(&self, id: TaskId) -> Option<RunData> {
        let state = self.state.lock();
        let ledger = state.connection.ledger();
        let task = ledger.task(ledger.find(id)?)?;
        task.attachments.as_ref()?.run_data.clone()
    }

    pub(crate) fn cancel(self: &Arc<Self>, id: TaskId, now: Instant) {
        self.with(|state, _| {
            if let Some(key) = state.connection.ledger().find(id) {
                state.connection.cancel(key, CancelCause::Requested, now);
            }
        });
    }

    pub(crate) fn cancel_all(self: &Arc<Self>, now: Instant) {
        self.with(|state, _| {
            for (key, _) in state.connection.ledger().list() {
                state.connection.cancel(key, CancelCause::Requested, now);
            }
        });
    }

    pub(crate) fn disconnect(self: &Arc<Self>, after_time: Duration, now: Instant) {
        self.with(|state, after| {
            state.connection.disconnect(after_time, now);
            notice(&mut state.driver, after);
        });
    }

    pub(crate) fn close(self: &Arc<Self>, now: Instant) {
        self.with(|state, after| {
            state.connection.close(now);
            notice(&mut state.driver, after);
        });
    }

    pub(crate) fn span(&self) -> tracing::Span {
        self.state.lock().span.clone()
    }

    pub(crate) fn set_span(&self, span: tracing::Span) {
        let before = std::mem::replace(&mut self.state.lock().span, span);
        drop(before);
    }

    pub(crate) fn observer(&self) -> std::sync::Arc<dyn Observer> {
        std::sync::Arc::clone(&self.state.lock().observer)
    }

    pub(crate) fn set_observer(&self, observer: std::sync::Arc<dyn Observer>) {
        let is_silent = observer.is_silent();
        let before = {
            let mut state = self.state.lock();
            state.observer_is_silent = is_silent;
            state.observe_tasks &= !is_silent;
            std::mem::replace(&mut state.observer, observer)
        };
        drop(before);
    }

    /// A task's code has panicked: the server's own fault, and no peer's.
    pub(crate) fn log_panic(&self, key: TaskKey, panic: &str) {
        let identity = self.state.lock().connection.ledger().identity(key);
        let (id, code) = identity.map_or((None, None), |(id, code)| (Some(id.0), Some(code)));
        let registered = code.and_then(|code| self.client.server.registry.find(code));
        let name = registered.as_ref().map(|task| &*task.name);
        let code = code.map(|code| code.0);
        let client = &self.client.endpoints;
        tracing::error!(parent: &self.span(), %client, task = name, code, id, panic, "task panicked");
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().connection.phase()
    }

    pub(crate) fn task_span(&self, id: TaskId, code: Option<TaskCode>) -> tracing::Span {
        let name = code.and_then(|code| self.client.server.registry.find(code));
        tracing::debug_span!(
            parent: &self.span(),
            "task",
            id = id.0,
            code = code.map(|code| code.0),
            name = name.as_ref().map(|task| &*task.name),
        )
    }
}

/// What the driver looks at before it decides whether to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnEnd {
    pub(crate) phase: Phase,
    pub(crate) next_deadline: Option<Instant>,
    pub(crate) reading: crate::proto::Reading,
    pub(crate) has_output: bool,
    pub(crate) is_idle: bool,
}

impl ReaderState {
    fn new(key: TaskKey) -> Self {
        Self {
            key,
            chunks: VecDeque::new(),
            ended: false,
            waker: None,
            asked: true,
            waiting: false,
        }
    }
}

/// Invariant 3: a parked driver is woken once, a busy one looks again.
fn notice(driver: &mut Driver, after: &mut AfterUnlock) {
    match std::mem::replace(driver, Driver::Busy(Noticed::Something)) {
        Driver::Parked(waker) => after.wakers.push(waker),
        Driver::Busy(_) => {}
        Driver::Gone => *driver = Driver::Gone,
    }
}

/// A task that is no longer there has been told all that there is to tell.
fn is_told(state: &State, key: TaskKey) -> bool {
    match state.connection.ledger().task(key) {
        Some(task) => task.attachments.as_ref().is_some_and(|some| some.is_told),
        None => true,
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Every run function holds the session, so none is left here; what a
        // connection that never ran has counted is given back all the same.
        let (unsent, held, spare) = {
            let state = self.state.lock();
            (state.counted_unsent, state.counted_held, state.spare_places)
        };
        self.client.server.places.held_bytes.release(held);
        self.client.server.places.tasks.release(spare);
        if unsent > 0 && self.client.server.places.unsent_bytes.release(unsent) {
            self.client.server.registry.wake_all();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

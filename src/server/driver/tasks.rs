//! A turn's tasks: task functions called, run functions polled in place, and
//! those that pend moved to the executor.

use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use bytes::Bytes;

use super::{Driver, Lists};
use crate::proto::TaskKey;
use crate::runtime::Transport;
use crate::server::admission::Registrations;
use crate::server::reading::{ReadingFunction, ReadingStep};
use crate::server::registration::{Execution, Function, Registered};
use crate::server::run::{
    AsyncFunction, BlockingTask, BoxRunFuture, Call, FirstPoll, Group, IdleGroup, NewGroup, Runner,
    RunningTask, Single, Watch, begin_caught, drop_quietly, in_span, poll_in_place,
};
use crate::server::session::Ended;
use crate::server::task::{BlockingFunction, RunFunction, TaskContext};
use crate::wire::{ErrorCode, RequestHeader, TaskId};

/// Room in the list of a new group: little enough for the allocator to keep it with the
/// thread that frees it, which is another one.
const GROUP_ROOM: usize = 16;

/// A thread keeps memory for so many groups that are to be: those of a turn.
const MOST_ROOMS: usize = 8;

impl<S: Transport> Driver<S> {
    fn context(&self, key: TaskKey, id: TaskId) -> TaskContext {
        TaskContext {
            session: self.session.clone(),
            key,
            id,
        }
    }

    pub(super) fn start_whole(
        &mut self,
        registrations: &Registrations,
        key: TaskKey,
        RequestHeader { code, id }: RequestHeader,
        message: Bytes,
    ) {
        let Some(registered) = registrations.find(&self.session, key, code) else {
            return;
        };
        match &registered.registration.function {
            Function::Async(function) => {
                self.start_async(&**function, key, id, message, &registered);
            }
            Function::Blocking(function) => {
                let function = Arc::clone(function);
                let context = self.context(key, id);
                let run = Box::new(move || function(context, message));
                self.start_blocking((key, id), run);
            }
            Function::Streamed(_) => {}
        }
    }

    fn start_async(
        &mut self,
        function: &dyn AsyncFunction,
        key: TaskKey,
        id: TaskId,
        message: Bytes,
        registered: &Arc<Registered>,
    ) {
        let session = &self.session;
        // In a span it is polled by itself.
        let first_poll = if is_polled_in_place(registered) && !session.may_have_spans() {
            FirstPoll::InPlace
        } else {
            FirstPoll::Later
        };
        let call = &mut Call {
            session,
            key,
            id,
            message: Some(message),
            first_poll,
        };
        let Lists { batch, spare, .. } = self.lists.get();
        if spare.is_none() {
            *spare = batch.spares.take();
        }
        let result = batch.ended.next();
        result.key = key;
        let begun = begin_caught(function, call, spare, &mut result.ended);
        if first_poll == FirstPoll::InPlace {
            let clock = &*session.client().server.clock;
            self.stopwatch.polled(registered, clock);
        }
        if begun.is_ready() {
            return result.ended.shorten();
        }
        batch.ended.take_back();
        let Some(function) = spare.take() else {
            return;
        };
        match first_poll {
            FirstPoll::InPlace => self.keep_pending(key, registered, function),
            FirstPoll::Later => self.start_future((key, id), registered, function),
        }
    }

    fn start_run(
        &mut self,
        (key, id): (TaskKey, TaskId),
        registered: &Arc<Registered>,
        function: RunFunction,
    ) {
        match function {
            RunFunction::Future(function) => self.start_future((key, id), registered, function),
            RunFunction::Blocking(function) => self.start_blocking((key, id), function),
        }
    }

    fn start_blocking(&mut self, (key, id): (TaskKey, TaskId), function: BlockingFunction) {
        if self.session.client().server.places.empty.is_full() {
            drop_quietly(function);
            let unavailable = Ended::Error(ErrorCode::UNAVAILABLE);
            return self.lists.get().end(key, unavailable);
        }
        if let Some(task) = BlockingTask::new(self.session.clone(), (key, id), function) {
            let executor = &self.session.client().server.executor;
            executor.spawn_blocking(Box::new(move || task.run()));
        }
    }

    fn start_future(
        &mut self,
        (key, id): (TaskKey, TaskId),
        registered: &Arc<Registered>,
        function: BoxRunFuture,
    ) {
        let mut function = Some(in_span(&self.session, key, id, function));
        if is_polled_in_place(registered) {
            let mut ended = Ended::Dropped;
            let polled = poll_in_place(&self.session, key, &mut function, &mut ended);
            let clock = &*self.session.client().server.clock;
            self.stopwatch.polled(registered, clock);
            if polled.is_ready() {
                return self.lists.get().end(key, ended);
            }
        }
        if let Some(function) = function {
            self.keep_pending(key, registered, function);
        }
    }

    /// What pends is kept here, or goes to the executor at the end of the turn: in
    /// a group, or by itself where its code proves slow.
    fn keep_pending(&mut self, key: TaskKey, registered: &Arc<Registered>, function: BoxRunFuture) {
        let (session, seen_orders) = (&self.session, self.seen_orders);
        let task = |watch| RunningTask::new(session.clone(), key, function, watch, seen_orders);
        match registered.registration.execution {
            Execution::Local => self.lists.get().new_local.push(task(Watch::Local)),
            Execution::Auto if !registered.is_slow() => {
                let Lists { groups, rooms, .. } = self.lists.get();
                let last = groups.last_mut();
                match last.filter(|group| group.has_room_for(registered)) {
                    Some(group) => group.members.push(Some(task(Watch::Group))),
                    None => {
                        let room = rooms.pop();
                        let mut members = room.unwrap_or_else(|| Vec::with_capacity(GROUP_ROOM));
                        members.push(Some(task(Watch::Group)));
                        groups.push(NewGroup {
                            session: session.clone(),
                            registered: Some(Arc::clone(registered)),
                            members,
                            seen_orders,
                        });
                    }
                }
            }
            Execution::Auto | Execution::Spawn => {
                let single = (Arc::clone(registered), task(Watch::Single));
                self.lists.get().singles.push(single);
            }
        }
    }

    pub(super) fn begin_reading(&mut self, key: TaskKey, header: RequestHeader, now: Instant) {
        let registrations = self.desk.registrations();
        let Some(registered) = registrations.find(&self.session, key, header.code) else {
            return;
        };
        let context = self.context(key, header.id);
        let begun = ReadingFunction::begin(registered.into_owned(), context, header);
        match begun {
            Some(reading) => drop_quietly(self.reading.replace(Box::new(reading))),
            None => {
                let outcome = crate::proto::ReadOutcome::Panicked;
                self.session.read_returned(key, outcome, None, now);
            }
        }
    }

    pub(super) fn poll_reading(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        match reading.poll(&self.session, cx, now) {
            ReadingStep::Waits => {}
            ReadingStep::Over => drop_quietly(self.reading.take()),
            ReadingStep::Starts => self.end_reading(true),
        }
    }

    /// The message has ended: what its task function returned is started.
    pub(super) fn end_reading(&mut self, start: bool) {
        if !start {
            return;
        }
        let Some(run) = self.reading.take().and_then(|reading| reading.into_run()) else {
            return;
        };
        match run.function {
            Some(function) => self.start_run((run.key, run.id), &run.registered, function),
            None => self.lists.get().end(run.key, Ended::Panicked),
        }
    }

    /// Drops what a task function returned, if it need not start (T10).
    pub(super) fn drop_unwanted_reading(&mut self) -> bool {
        let key = self.reading.as_ref().map(|reading| reading.key());
        let Some(key) = key.filter(|key| !self.session.may_start(*key)) else {
            return false;
        };
        drop_quietly(self.reading.take());
        self.lists.get().end(key, Ended::Dropped);
        true
    }

    /// What pended moves to the executor; whether there was any.
    pub(super) fn spawn_pending(&mut self, now: Instant) -> bool {
        let Lists {
            groups, singles, ..
        } = self.lists.get();
        if groups.is_empty() && singles.is_empty() {
            return false;
        }
        self.note_runners(now);
        self.spawn_singles();
        self.spawn_groups();
        true
    }

    fn spawn_groups(&mut self) {
        let Lists {
            groups,
            idle_groups,
            rooms,
            ..
        } = self.lists.get();
        if groups.is_empty() {
            return;
        }
        self.session.take_idle_groups(groups.len(), idle_groups);
        let executor = &self.session.client().server.executor;
        for group in groups.drain(..) {
            let refused = match idle_groups.pop() {
                Some(IdleGroup { runner, room }) => {
                    if rooms.len() < MOST_ROOMS {
                        rooms.push(room);
                    }
                    runner.run(group)
                }
                None => Err(group),
            };
            if let Err(group) = refused {
                executor.spawn(Box::pin(Group::new(group)));
            }
        }
    }

    /// Those that get an executor task each: all are counted before one runs.
    fn spawn_singles(&mut self) {
        if self.lists.get().singles.is_empty() {
            return;
        }
        let Lists { singles, idle, .. } = self.lists.get();
        self.session
            .drive(|state| state.single_runners += singles.len());
        self.session.take_idle_runners(singles.len(), idle);
        // Each is dropped as a counted one, should the executor panic.
        let singles = singles.drain(..);
        let singles: Vec<_> = singles.map(|(of, task)| Single::new(task, of)).collect();
        let executor = &self.session.client().server.executor;
        for single in singles {
            let refused = match idle.pop() {
                Some(runner) => runner.run(single),
                None => Err(single),
            };
            if let Err(single) = refused {
                executor.spawn(Box::pin(Runner::new(single)));
            }
        }
    }
}

fn is_polled_in_place(registered: &Registered) -> bool {
    match registered.registration.execution {
        Execution::Spawn => false,
        Execution::Auto => !registered.is_slow(),
        Execution::Local => true,
    }
}

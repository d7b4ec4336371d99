//! The connection's task: all of its I/O, in turns (PROTOCOL L13).
//!
//! A turn takes what it finds waiting in this order: finished tasks, commands,
//! input, output, and expired deadlines last. Each step has a budget; when it is
//! used up, the connection yields.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::io::ReadBuf;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::admission::Desk;
use super::bodies::Bodies;
use super::lent::LentBuffer;
use super::reading::{ReadingFunction, ReadingStep};
use super::registration::{Execution, Function, Registered};
use super::run::{
    BlockingTask, GROUP, Group, RunningTask, drop_quietly, poll_in_place, unless_task_panics,
};
use super::session::{DropReading, Ended, ForDriver, Session, TurnEnd};
use super::task::{RunFunction, TaskContext};
use crate::proto::{ConnectionReport, Input, Phase, Reading, TaskKey};
use crate::runtime::{Timer, Transport};
use crate::sync::atomic::Ordering;
use crate::wire::RequestHeader;

/// Inputs that are looked at under one lock.
const BATCH: usize = 64;
/// Items that a step may take in one turn (L13).
const ITEMS: usize = 256;
/// Bytes that a step may move in one turn (L13).
const BYTES: usize = 64 << 10;
/// Turns in one poll, before others get theirs.
const TURNS: usize = 4;

/// Whether a direction of the transport has to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// It may have more at once.
    MayGoOn,
    /// It will wake the driver.
    Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HalfClose {
    NotYet,
    UnderWay,
    Done,
}

/// What a turn came to.
enum Turn {
    /// Look again.
    Again,
    /// Somebody will wake the driver.
    Park,
    /// The connection is over.
    Over,
}

pub(crate) struct Driver<S> {
    session: Session,
    transport: S,
    desk: Desk,
    buffer: LentBuffer,
    /// Fetched from the session, and not taken by the transport.
    unwritten: BytesMut,
    needs_flush: bool,
    half_close: HalfClose,
    read_side: Side,
    write_side: Side,
    has_ended: bool,
    inputs: Vec<Input>,
    /// Results of what ran in place, committed with the next inputs.
    ended: Vec<(TaskKey, Ended)>,
    /// What pended in place and goes to the executor at the end of its batch.
    pending: Vec<(Arc<Registered>, RunningTask)>,
    local: FuturesUnordered<RunningTask>,
    reading: Option<ReadingFunction>,
    bodies: Bodies,
    timer: Box<dyn Timer>,
    /// When the timer wakes the driver; it is re-armed only for earlier.
    armed: Option<Instant>,
    /// A write was put off for one turn: single runners may soon have more.
    deferred: bool,
    /// Turns whose output was left to the next one.
    gathered: usize,
    context: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<S: Transport> Driver<S> {
    pub(crate) fn new(
        session: Session,
        transport: S,
        context: Option<tokio_util::sync::CancellationToken>,
    ) -> Self {
        let server = Arc::clone(&session.client().server);
        Self {
            timer: server.clock.timer(),
            desk: Desk::new(server),
            session,
            transport,
            buffer: LentBuffer::default(),
            unwritten: BytesMut::new(),
            needs_flush: false,
            half_close: HalfClose::NotYet,
            read_side: Side::MayGoOn,
            write_side: Side::MayGoOn,
            has_ended: false,
            inputs: Vec::new(),
            ended: Vec::new(),
            pending: Vec::new(),
            local: FuturesUnordered::new(),
            reading: None,
            bodies: Bodies::default(),
            armed: None,
            deferred: false,
            gathered: 0,
            context: context.map(|token| Box::pin(token.cancelled_owned())),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let now = self.session.client().server.clock.now();
        (self.read_side, self.write_side) = (Side::MayGoOn, Side::MayGoOn);
        self.desk.refresh();
        self.poll_context(cx, now);
        self.poll_local(cx);
        let news = self.session.begin_turn();
        self.take_news(news);
        let mut items = 0;
        self.input(cx, now, &mut items);
        self.poll_reading(cx, now);
        self.commit(now);
        self.spawn_pending();
        let news = self.session.take_for_driver();
        self.take_news(news);
        let mut moved = self.bodies.pull(&self.session, cx, now);
        if self.defers_write() {
            self.deferred = true;
            cx.waker().wake_by_ref();
            return Turn::Park;
        }
        self.deferred = false;
        if self.gathers(items) {
            self.gathered += 1;
        } else {
            self.gathered = 0;
            moved |= self.output(cx, now) && !self.bodies.is_empty();
        }
        let end = self.session.end_turn(now);
        self.finish_turn(cx, end, moved || items >= ITEMS, now)
    }

    /// Decides whether there is more to do, and parks otherwise.
    fn finish_turn(
        &mut self,
        cx: &mut Context<'_>,
        end: TurnEnd,
        moved: bool,
        now: Instant,
    ) -> Turn {
        if end.phase == Phase::Closed {
            return Turn::Over;
        }
        self.poll_half_close(cx, end.phase, now);
        let may_read = matches!(end.reading, Reading::Take | Reading::Discard);
        let may_read = may_read && !self.has_ended && self.read_side == Side::MayGoOn;
        let may_write =
            (end.has_output || !self.unwritten.is_empty()) && self.write_side == Side::MayGoOn;
        let has_unread = may_read || (may_take(end.reading) && !self.buffer.is_empty());
        if moved || has_unread || may_write || self.is_due(cx, end.next_deadline) {
            return Turn::Again;
        }
        if end.is_idle {
            self.shrink();
        }
        if self.session.park(cx.waker()) {
            self.buffer.give_back();
            Turn::Park
        } else {
            Turn::Again
        }
    }

    /// An idle connection holds next to nothing.
    fn shrink(&mut self) {
        const KEPT: usize = 1024;
        if self.unwritten.is_empty() && self.unwritten.capacity() > KEPT {
            self.unwritten = BytesMut::new();
        }
        if self.inputs.capacity() > 4 {
            self.inputs = Vec::new();
            self.ended = Vec::new();
            self.pending = Vec::new();
            self.session.drive(|state| state.connection.shrink());
        }
    }

    /// Arms the timer; whether the deadline has come already.
    fn is_due(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            return false;
        };
        let at = match self.armed {
            Some(armed) if armed <= deadline => armed,
            _ => deadline,
        };
        self.armed = Some(at);
        if self.timer.poll_until(at, cx).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }

    /// The end of the connection's context is a disconnect (D6).
    fn poll_context(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(context) = &mut self.context
            && context.as_mut().poll(cx).is_ready()
        {
            self.context = None;
            let grace = self.session.client().server.timeouts.grace;
            self.session.disconnect(grace, now);
        }
    }

    fn poll_local(&mut self, cx: &mut Context<'_>) {
        for _ in 0..ITEMS {
            match Pin::new(&mut self.local).poll_next(cx) {
                Poll::Ready(Some(ended)) => self.ended.push(ended),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take_news(&mut self, news: ForDriver) {
        if news.drop_reading == DropReading::Yes
            && let Some(reading) = self.reading.take()
        {
            drop_quietly(reading);
        }
        for (key, body) in news.new_bodies {
            let task = |state: &mut super::session::State| {
                let task = state.connection.ledger().task(key)?;
                Some(task.registered.registration.begin_after_bytes)
            };
            match self.session.drive(task) {
                Some(begin_after) => self.bodies.add(key, body, begin_after),
                None => drop_quietly(body),
            }
        }
        for key in news.dropped_bodies {
            self.bodies.drop_body(key);
        }
    }

    // ── input ────────────────────────────────────────────────────────────

    fn input(&mut self, cx: &mut Context<'_>, now: Instant, items: &mut usize) {
        while *items < ITEMS {
            if self.buffer.is_empty() && !self.read(cx, now) {
                break;
            }
            let before = *items;
            self.take_batch(now);
            *items += self.inputs.len();
            self.act_on_inputs(now);
            if *items == before {
                break;
            }
            // What was begun is polled before more is delivered to it.
            if self.reading.is_some() {
                self.poll_reading(cx, now);
            }
        }
    }

    /// One read; whether it brought bytes.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.has_ended || self.read_side == Side::Waits {
            return false;
        }
        if !may_take(self.session.drive(|state| state.connection.reading())) {
            return false;
        }
        let mut into = ReadBuf::new(self.buffer.room());
        let read = Pin::new(&mut self.transport).poll_read(cx, &mut into);
        let length = into.filled().len();
        match read {
            Poll::Pending => self.read_side = Side::Waits,
            Poll::Ready(Ok(())) if length == 0 => {
                self.has_ended = true;
                self.session
                    .drive(|state| state.connection.handle_end_of_input(now));
            }
            Poll::Ready(Ok(())) => {
                self.buffer.filled(length);
                self.session
                    .drive(|state| state.connection.handle_read(length));
                return true;
            }
            Poll::Ready(Err(error)) => self.transport_failed(&error, now),
        }
        false
    }

    fn transport_failed(&mut self, error: &io::Error, now: Instant) {
        self.has_ended = true;
        self.unwritten.clear();
        let words = error.to_string();
        self.session
            .drive(|state| state.connection.handle_transport_error(&words, now));
    }

    /// Commits what ran in place, and takes the next inputs, under one lock.
    fn take_batch(&mut self, now: Instant) {
        self.inputs.clear();
        self.session.take_inputs(
            &mut self.ended,
            self.buffer.unread(),
            &mut self.desk,
            &mut self.inputs,
            BATCH,
            now,
        );
    }

    fn commit(&mut self, now: Instant) {
        if !self.ended.is_empty() {
            self.inputs.clear();
            let nothing = (&[][..], &mut 0);
            let (ended, desk, inputs) = (&mut self.ended, &mut self.desk, &mut self.inputs);
            self.session
                .take_inputs(ended, nothing, desk, inputs, 0, now);
        }
    }

    fn act_on_inputs(&mut self, now: Instant) {
        let mut inputs = std::mem::take(&mut self.inputs);
        for input in &mut inputs {
            match std::mem::replace(input, Input::Handled) {
                Input::Whole {
                    key,
                    header,
                    message,
                } => {
                    let payload = message.payload(self.buffer.bytes());
                    self.start_whole(key, header, payload);
                }
                Input::Message {
                    key,
                    header,
                    payload,
                } => self.start_whole(key, header, payload),
                Input::Begin { key, header } => self.begin_reading(key, header, now),
                Input::End { start } => self.end_reading(start),
                Input::Payload { .. } | Input::Handled => {}
            }
        }
        self.inputs = inputs;
    }

    fn context(&self, key: TaskKey, header: RequestHeader) -> TaskContext {
        TaskContext {
            session: self.session.clone(),
            key,
            id: header.id,
        }
    }

    fn start_whole(&mut self, key: TaskKey, header: RequestHeader, payload: Bytes) {
        let Some(registered) = self.desk.registered(&self.session, key, header.code) else {
            return;
        };
        let Function::Whole(function) = &registered.registration.function else {
            return;
        };
        let context = self.context(key, header);
        match unless_task_panics(&self.session, key, || function(context, payload)) {
            Some(function) => self.start_run(key, &registered, function),
            None => self.ended.push((key, Ended::Panicked)),
        }
    }

    fn start_run(&mut self, key: TaskKey, registered: &Arc<Registered>, function: RunFunction) {
        let mut function = match function {
            RunFunction::Future(future) => future,
            RunFunction::Blocking(function) => {
                let task = BlockingTask::new(self.session.clone(), key, function);
                let executor = &self.session.client().server.executor;
                return executor.spawn_blocking(Box::new(move || task.run()));
            }
        };
        let execution = registered.registration.execution;
        let in_place = match execution {
            Execution::Spawn => false,
            Execution::Auto => !registered.is_slow.load(Ordering::Relaxed),
            Execution::Local => true,
        };
        if in_place && let Poll::Ready(ended) = poll_in_place(&self.session, key, &mut function) {
            return self.ended.push((key, ended));
        }
        let task = RunningTask::new(self.session.clone(), key, function);
        if execution == Execution::Local {
            self.local.push(task);
        } else {
            self.pending.push((Arc::clone(registered), task));
        }
    }

    // ── task functions ───────────────────────────────────────────────────

    fn begin_reading(&mut self, key: TaskKey, header: RequestHeader, now: Instant) {
        let Some(registered) = self.desk.registered(&self.session, key, header.code) else {
            return;
        };
        let context = self.context(key, header);
        let begun = ReadingFunction::begin(registered, context, header);
        match begun {
            Some(reading) => self.reading = Some(reading),
            None => {
                let outcome = crate::proto::ReadOutcome::Panicked;
                self.session.read_returned(key, outcome, None, now);
            }
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        match reading.poll(&self.session, cx, now) {
            ReadingStep::Waits => {}
            ReadingStep::Over => self.reading = None,
            ReadingStep::Starts => self.end_reading(true),
        }
    }

    /// The message has ended: what its task function returned is started.
    fn end_reading(&mut self, start: bool) {
        if !start {
            return;
        }
        if let Some((key, registered, function)) =
            self.reading.take().and_then(ReadingFunction::into_run)
        {
            match function {
                Some(function) => self.start_run(key, &registered, function),
                None => self.ended.push((key, Ended::Panicked)),
            }
        }
    }

    /// What pended moves to the executor: in groups, or each by itself where
    /// its code proves slow.
    fn spawn_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let executor = Arc::clone(&self.session.client().server.executor);
        let mut group: Option<(Arc<Registered>, FuturesUnordered<RunningTask>)> = None;
        let spawn = |session: &Session, registered, members| {
            let group = Group::new(session.clone(), members, Some(registered));
            executor.spawn(Box::pin(group));
        };
        for (registered, task) in self.pending.drain(..) {
            let alone = registered.registration.execution == Execution::Spawn
                || registered.is_slow.load(Ordering::Relaxed);
            if alone {
                let single = Group::single(self.session.clone(), task);
                executor.spawn(Box::pin(single));
                continue;
            }
            let task = task.in_group();
            match &mut group {
                Some((same, members))
                    if Arc::ptr_eq(same, &registered) && members.len() < GROUP =>
                {
                    members.push(task);
                }
                _ => {
                    let members = FuturesUnordered::new();
                    members.push(task);
                    if let Some((registered, full)) = group.replace((registered, members)) {
                        spawn(&self.session, registered, full);
                    }
                }
            }
        }
        if let Some((registered, members)) = group {
            spawn(&self.session, registered, members);
        }
    }

    // ── output ───────────────────────────────────────────────────────────

    /// While single runners are under way, a write waits one turn for more.
    fn defers_write(&self) -> bool {
        !self.deferred
            && self
                .session
                .drive(|state| state.single_runners > 0 && state.connection.has_output())
    }

    /// A batch that was read at once is answered by one write, even if it takes
    /// some turns.
    fn gathers(&self, items: usize) -> bool {
        items >= ITEMS && !self.buffer.is_empty() && self.gathered + 1 < TURNS
    }

    /// Writes what is queued; whether bytes were taken.
    fn output(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.unwritten.is_empty() {
            self.session.fetch_output(&mut self.unwritten);
        }
        let mut written = 0;
        while !self.unwritten.is_empty() && written < BYTES {
            match Pin::new(&mut self.transport).poll_write(cx, &self.unwritten) {
                Poll::Pending => {
                    self.write_side = Side::Waits;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    let error = io::Error::from(io::ErrorKind::WriteZero);
                    self.transport_failed(&error, now);
                }
                Poll::Ready(Ok(length)) => {
                    self.unwritten.advance(length);
                    written += length;
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => self.transport_failed(&error, now),
            }
        }
        if written > 0 {
            self.session
                .drive(|state| state.connection.handle_written(written));
        }
        self.flush(cx, now);
        written > 0
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.needs_flush {
            return;
        }
        match Pin::new(&mut self.transport).poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.needs_flush = false,
            Poll::Ready(Err(error)) => {
                self.needs_flush = false;
                self.transport_failed(&error, now);
            }
        }
    }

    /// Lingering begins with a half-close (D3); what was given up is not written.
    fn poll_half_close(&mut self, cx: &mut Context<'_>, phase: Phase, now: Instant) {
        if !matches!(phase, Phase::Lingering { .. }) || self.half_close == HalfClose::Done {
            return;
        }
        if self.half_close == HalfClose::NotYet {
            self.half_close = HalfClose::UnderWay;
            self.unwritten.clear();
        }
        match Pin::new(&mut self.transport).poll_shutdown(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.half_close = HalfClose::Done,
            Poll::Ready(Err(error)) => {
                self.half_close = HalfClose::Done;
                self.transport_failed(&error, now);
            }
        }
    }
}

fn may_take(reading: Reading) -> bool {
    matches!(reading, Reading::Take | Reading::Discard)
}

impl<S> Driver<S> {
    /// Whatever ends the connection, its future's drop included (D5).
    fn leave(&mut self) -> ConnectionReport {
        let now = self.session.client().server.clock.now();
        self.session.close(now);
        self.bodies.drop_all();
        if let Some(reading) = self.reading.take() {
            drop_quietly(reading);
        }
        self.pending
            .drain(..)
            .for_each(|(_, task)| self.local.push(task));
        if !self.local.is_empty() {
            // A cooperating function keeps its grace, on the executor (T10).
            let members = std::mem::take(&mut self.local);
            let group = Group::new(self.session.clone(), members, None);
            self.session.client().server.executor.spawn(Box::pin(group));
        }
        for (key, ended) in self.ended.drain(..) {
            self.session.finish_batch([(key, ended)], 0);
        }
        let news = self.session.take_for_driver();
        drop_quietly(news.new_bodies);
        self.session.leave()
    }
}

impl<S: Transport> Future for Driver<S> {
    type Output = ConnectionReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionReport> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Turn::Again => {}
                Turn::Park => return Poll::Pending,
                Turn::Over => return Poll::Ready(self.leave()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if self.session.phase() != Phase::Closed {
            self.leave();
        }
    }
}

//! The connection's task: all of its I/O, in turns (PROTOCOL L13).
//!
//! A turn takes what it finds waiting in this order: finished tasks, commands,
//! input, output, and expired deadlines last. Each step has a budget; when it is
//! used up, the next turn begins with the first step, and after some such turns
//! the connection yields to others.

mod alarm;
mod idle;
mod input;
mod leaving;
mod lists;
mod local;
mod output;
mod stopwatch;
mod tasks;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::alarm::Alarm;
use self::idle::GivesBack;
use self::lists::{LentLists, Lists};
use self::local::LocalTasks;
use self::stopwatch::Stopwatch;
use super::admission::Desk;
use super::bodies::Bodies;
use super::lent::LentBuffer;
use super::reading::ReadingFunction;
use super::run::drop_quietly;
use super::session::{Fetched, News, Session, TurnEnd};
use crate::proto::{ConnectionReport, Phase, Reading};
use crate::runtime::Transport;

/// Items that a step may take in one turn (L13).
const ITEMS: usize = 256;
/// Bytes that a step may move in one turn (L13).
const BYTES: usize = 64 << 10;
/// Turns in one poll, before others get theirs; those that only put more of a body
/// together for one write are none. Each time that a connection lets
/// others go first, Tokio may wake a thread for them, which takes as long as some
/// fifty small requests.
const TURNS: usize = 4;
/// Turns in one poll that take all the items they may, and leave some.
const FULL_TURNS: usize = 2;

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
    /// Look again: a body may have more for the same write.
    Gathered,
    /// Look again: there is more in the buffer than the budget of items allowed (L13).
    Full,
    /// Look again once what was moved to the executor has had its turn: a budget is
    /// used up (L13).
    Yield,
    /// Somebody will wake the driver.
    Park,
    /// The connection is over.
    Over,
}

/// What a turn's input may still take (L13).
#[derive(Default)]
struct Budget {
    items: usize,
    bytes: usize,
}

impl Budget {
    const fn is_used_up(&self) -> bool {
        self.items >= ITEMS || self.bytes >= BYTES
    }
}

pub(crate) struct Driver<S> {
    session: Session,
    transport: S,
    desk: Desk,
    buffer: LentBuffer,
    /// Fetched from the session, and not taken by the transport.
    unwritten: BytesMut,
    /// Bytes that the transport has taken and the session has not been told of.
    newly_written: usize,
    needs_flush: bool,
    /// The transport was asked to pass on what it took, and has not.
    flush_pends: bool,
    half_close: HalfClose,
    read_side: Side,
    write_side: Side,
    has_ended: bool,
    /// What the reading of input came to when it was last looked at.
    may_read: Reading,
    lists: LentLists,
    local: LocalTasks,
    stopwatch: Stopwatch,
    /// How many orders to run functions had been given when it last looked.
    seen_orders: u32,
    /// On the heap: most connections never have one.
    reading: Option<Box<ReadingFunction>>,
    bodies: Bodies,
    alarm: Alarm,
    /// A write was put off for one turn: single runners may soon have more.
    deferred: bool,
    /// Turns whose output was left to the next one.
    gathered: usize,
    /// When it last did anything.
    last_active: Option<Instant>,
    gives_back: GivesBack,
    /// When executor tasks of its own that have been idle for a while are ended, if there
    /// may be any.
    trims_at: Option<Instant>,
    context: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    has_left: bool,
}

impl<S: Transport> Driver<S> {
    pub(crate) fn new(
        session: Session,
        transport: S,
        context: Option<tokio_util::sync::CancellationToken>,
    ) -> Self {
        Self {
            alarm: Alarm::new(session.client().server.clock.timer()),
            stopwatch: Stopwatch::new(session.client().connected_at),
            desk: Desk::new(&session),
            session,
            transport,
            buffer: LentBuffer::default(),
            unwritten: BytesMut::new(),
            newly_written: 0,
            needs_flush: false,
            flush_pends: false,
            half_close: HalfClose::NotYet,
            read_side: Side::MayGoOn,
            write_side: Side::MayGoOn,
            has_ended: false,
            may_read: Reading::Take,
            lists: LentLists::default(),
            local: LocalTasks::default(),
            seen_orders: 0,
            reading: None,
            bodies: Bodies::default(),
            deferred: false,
            gathered: 0,
            last_active: None,
            gives_back: GivesBack::Nothing,
            trims_at: None,
            context: context.map(|token| Box::pin(token.cancelled_owned())),
            has_left: false,
        }
    }

    fn turns(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionReport> {
        let mut full = 0;
        let mut turns = 0;
        while turns < TURNS {
            match self.turn(cx) {
                Turn::Gathered => continue,
                Turn::Again => {}
                Turn::Full if full + 1 == FULL_TURNS => break,
                Turn::Full => full += 1,
                // Right behind what it gave to the executor, or its answers come late.
                Turn::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Park => return Poll::Pending,
                Turn::Over => return Poll::Ready(self.leave()),
            }
            turns += 1;
        }
        let_others_go_first(cx);
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let now = self.session.client().server.clock.now();
        (self.read_side, self.write_side) = (Side::MayGoOn, Side::MayGoOn);
        self.desk.refresh(&self.session);
        self.poll_context(cx, now);
        self.poll_local(cx);
        let Some((news, reading)) = self.session.begin_turn(&mut self.lists.get().batch, now)
        else {
            return Turn::Over;
        };
        self.may_read = reading;
        self.take_news(news);
        self.stopwatch.begin_turn(now);
        let mut budget = Budget::default();
        self.input(cx, now, &mut budget);
        self.poll_reading(cx, now);
        self.poll_new_local(cx);
        let has_spawned = self.spawn_pending(now);
        let gathers = self.gathers(&budget);
        let fetched = self.commit(gathers, now);
        let pulled = self.bodies.pull(&self.session, cx, now);
        self.deferred = fetched == Fetched::MoreComes;
        if self.deferred {
            cx.waker().wake_by_ref();
            return Turn::Park;
        }
        let gathers_body = pulled && self.gathers_body();
        let mut written = 0;
        if gathers_body || (gathers && self.may_leave_output()) {
            self.gathered += 1;
        } else {
            self.gathered = 0;
            written = self.output(cx, fetched, now);
        }
        let pulled = pulled | (written > 0 && self.pull_behind_output(cx, now));
        let end = self.end_turn(now);
        if budget.items + budget.bytes + written > 0 {
            self.note_activity(&budget, now);
        }
        let next = self.finish_turn(cx, end, now);
        let moved = pulled || (written > 0 && !self.bodies.is_empty());
        let is_used_up = budget.is_used_up() || written >= BYTES;
        match next {
            Turn::Park | Turn::Again if is_used_up && has_spawned => Turn::Yield,
            Turn::Park | Turn::Again if budget.items >= ITEMS && !self.buffer.is_empty() => {
                Turn::Full
            }
            Turn::Park | Turn::Again if gathers_body && !is_used_up => Turn::Gathered,
            Turn::Park if is_used_up || moved => Turn::Again,
            next => next,
        }
    }

    /// A result that has room now goes before signs of life (E5).
    fn pull_behind_output(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.bodies.is_empty() {
            return false;
        }
        self.count_written();
        self.bodies.pull(&self.session, cx, now)
    }

    fn end_turn(&mut self, now: Instant) -> TurnEnd {
        let written = std::mem::take(&mut self.newly_written);
        self.session.end_turn(written, now)
    }

    /// Decides whether there is more to do, and parks otherwise.
    fn finish_turn(&mut self, cx: &mut Context<'_>, end: TurnEnd, now: Instant) -> Turn {
        // Tasks elsewhere may answer soon: the memory for that is kept.
        if !end.has_tasks {
            self.give_back_output();
        }
        if end.phase == Phase::Closed {
            return Turn::Over;
        }
        if self.poll_half_close(cx, end.phase, now).is_ready() {
            return Turn::Again;
        }
        let may_read = matches!(end.reading, Reading::Take | Reading::Discard);
        let may_read = may_read && !self.has_ended && self.read_side == Side::MayGoOn;
        let may_write =
            (end.has_output || !self.unwritten.is_empty()) && self.write_side == Side::MayGoOn;
        let has_unread = may_read || (may_take(end.reading) && !self.buffer.is_empty());
        self.trim_runners(&end, now);
        let shrinks = self.shrink_if_quiet(now);
        let deadline = [end.next_deadline, shrinks].into_iter().flatten().min();
        if has_unread || may_write || self.alarm.is_due(deadline, now, cx) {
            return Turn::Again;
        }
        self.shrink_at_rest();
        if self.session.park(cx.waker()) {
            self.buffer.give_back();
            Turn::Park
        } else {
            Turn::Again
        }
    }

    /// The end of the connection's context is a disconnect (D6).
    fn poll_context(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(context) = &mut self.context
            && context.as_mut().poll(cx).is_ready()
        {
            self.context = None;
            let grace = self.session.client().server.settings.timeouts.grace;
            self.session.disconnect(grace, now);
        }
    }

    fn take_news(&mut self, news: News) {
        let Some(news) = news else {
            return;
        };
        for key in news.dropped_readings {
            drop_quietly(self.reading.take_if(|reading| reading.is_for(key)));
        }
        for (key, body) in news.new_bodies {
            let task = |state: &mut super::session::State| {
                let registered = state.registered(key)?;
                Some(registered.registration.begin_after_bytes)
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
}

/// Has the task polled again behind all that is ready, and once the runtime has looked at
/// its sockets and clocks: among tasks that are always ready, it seldom would.
fn let_others_go_first(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

fn may_take(reading: Reading) -> bool {
    matches!(reading, Reading::Take | Reading::Discard)
}

impl<S: Transport> Future for Driver<S> {
    type Output = ConnectionReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionReport> {
        self.lists.borrow();
        let polled = self.turns(cx);
        self.lists.give_back();
        polled
    }
}

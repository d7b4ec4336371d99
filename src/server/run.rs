//! Runs one run function: in place, on the executor, or on a thread; with its
//! panics, its cancel and the end of its connection (PROTOCOL T9, T10, T13).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use super::error::TaskError;
use super::registration::Registered;
use super::response::Response;
use super::session::{Ended, RunnerOrder, Session};
use super::task::{BlockingFunction, BoxRunFuture, RunFuture};
use crate::proto::TaskKey;
use crate::runtime::Timer;
use crate::sync::atomic::Ordering;

/// How many run functions share one executor task.
pub(crate) const GROUP: usize = 64;

/// A poll of a group that takes longer shows that its code computes: from then
/// on each of its run functions gets an executor task of its own.
const SLOW_POLL: std::time::Duration = std::time::Duration::from_millis(1);

/// Runs code of the application's that belongs to no one task; a panic of it is
/// logged and gives `None`.
pub(crate) fn unless_panics<R>(code: impl FnOnce() -> R) -> Option<R> {
    caught(code)
        .map_err(|panic| tracing::error!(%panic, "the application's code panicked"))
        .ok()
}

/// Runs a task's code; a panic of it is logged, with whose it is, and gives `None` (T9).
pub(crate) fn unless_task_panics<R>(
    session: &Session,
    key: TaskKey,
    code: impl FnOnce() -> R,
) -> Option<R> {
    caught(code)
        .map_err(|panic| session.log_panic(key, &panic))
        .ok()
}

/// The message of a panic, if there was one.
fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        // The payload is the task's, too: its destructor may panic.
        drop(catch_unwind(AssertUnwindSafe(|| drop(panic))));
        message.unwrap_or_else(|| "no message".to_owned())
    })
}

/// Drops what belongs to a task: a panicking destructor is logged, no more.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = unless_panics(|| drop(value));
}

/// What a run function returned, as the ledger takes it.
fn ended(result: Result<Response, TaskError>) -> Ended {
    match result {
        Ok(response) => Ended::Response(response),
        Err(TaskError::Coded { code, source }) => {
            if let Some(source) = source {
                tracing::debug!(%code, error = %source, "a task failed");
            }
            Ended::Error(code)
        }
        Err(TaskError::Fatal(source)) => Ended::Fatal(source.to_string().into()),
    }
}

/// The first poll, in the driver's own turn.
pub(crate) fn poll_in_place(
    session: &Session,
    key: TaskKey,
    function: &mut BoxRunFuture,
) -> Poll<Ended> {
    let mut cx = Context::from_waker(Waker::noop());
    poll_caught(session, key, function, &mut cx)
}

/// Polls a run function. What has ended is dropped here: its destructor is the
/// task's code, too, and a panic of it comes before the answer (T9).
fn poll_caught(
    session: &Session,
    key: TaskKey,
    function: &mut BoxRunFuture,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    let polled = unless_task_panics(session, key, || {
        let polled = function.as_mut().poll_run(cx);
        if polled.is_ready() {
            *function = Box::pin(Spent);
        }
        polled
    });
    match polled {
        Some(Poll::Pending) => Poll::Pending,
        Some(Poll::Ready(result)) => Poll::Ready(ended(result)),
        None => {
            let _ = unless_task_panics(session, key, || *function = Box::pin(Spent));
            Poll::Ready(Ended::Panicked)
        }
    }
}

/// Stands where a run function was; never polled, and takes no memory.
struct Spent;

impl RunFuture for Spent {
    fn poll_run(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Response, TaskError>> {
        Poll::Pending
    }
}

/// Who looks for orders to a run function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// It does so itself.
    Itself,
    /// Its group, for all its members under one lock.
    Group,
}

/// A run function that is a future, wherever it is polled.
pub(crate) struct RunningTask {
    session: Session,
    key: TaskKey,
    function: Option<BoxRunFuture>,
    watch: Watch,
    /// What its group was told for it.
    order: RunnerOrder,
    /// The orders that were given up to the last look; `None`: never looked.
    seen_orders: Option<u64>,
    /// The waker of its last poll, or the one that was left with the session.
    waker: Option<Waker>,
    /// Ends the grace once the connection cannot any more.
    grace: Option<(std::time::Instant, Box<dyn Timer>)>,
}

impl RunningTask {
    pub(crate) fn new(session: Session, key: TaskKey, function: BoxRunFuture) -> Self {
        Self {
            session,
            key,
            function: Some(function),
            watch: Watch::Itself,
            order: RunnerOrder::GoOn,
            seen_orders: None,
            waker: None,
            grace: None,
        }
    }

    /// From now on its group looks for orders.
    pub(crate) fn in_group(mut self) -> Self {
        self.watch = Watch::Group;
        self
    }

    pub(crate) const fn key(&self) -> TaskKey {
        self.key
    }

    /// Its group was told this for it; returns whom to wake with the news.
    pub(crate) fn give_order(&mut self, order: RunnerOrder) -> Option<Waker> {
        if self.order == order {
            return None;
        }
        self.order = order;
        self.waker.clone()
    }

    /// Polls the function; it is gone once it has ended.
    fn poll_function(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(function) = &mut self.function else {
            return Poll::Ready(Ended::Dropped);
        };
        let polled = poll_caught(&self.session, self.key, function, cx);
        if polled.is_ready() {
            self.function = None;
        }
        polled
    }

    /// Looks for orders, if there can be new ones.
    fn order(&mut self, cx: &Context<'_>) -> RunnerOrder {
        let same_waker = is_same(self.waker.as_ref(), cx);
        if !same_waker {
            self.waker = Some(cx.waker().clone());
        }
        if self.watch == Watch::Group {
            return self.order;
        }
        let orders = self.session.orders();
        if self.seen_orders == Some(orders) && same_waker {
            return RunnerOrder::GoOn;
        }
        self.seen_orders = Some(orders);
        self.session.runner_order(self.key, cx.waker())
    }

    /// Whether the grace that outlives the connection has passed.
    fn grace_is_over(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.grace {
            Some((end, timer)) => timer.poll_until(*end, cx).is_ready(),
            None => false,
        }
    }
}

impl Future for RunningTask {
    type Output = (TaskKey, Ended);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.order(cx) {
            RunnerOrder::GoOn => {}
            RunnerOrder::Drop => {
                if let Some(function) = this.function.take() {
                    drop_quietly(function);
                }
                return Poll::Ready((this.key, Ended::Dropped));
            }
            RunnerOrder::DropAt(end) => {
                let clock = &this.session.client().server.clock;
                this.grace.get_or_insert_with(|| (end, clock.timer())).0 = end;
            }
        }
        if let Poll::Ready(ended) = this.poll_function(cx) {
            return Poll::Ready((this.key, ended));
        }
        if this.grace_is_over(cx) {
            if let Some(function) = this.function.take() {
                drop_quietly(function);
            }
            return Poll::Ready((this.key, Ended::Dropped));
        }
        Poll::Pending
    }
}

impl Drop for RunningTask {
    /// An executor that drops what has not ended ends its task as cancelled.
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            drop_quietly(function);
            self.session.finish_batch([(self.key, Ended::Dropped)], 0);
        }
    }
}

fn is_same(last: Option<&Waker>, cx: &Context<'_>) -> bool {
    last.is_some_and(|last| last.will_wake(cx.waker()))
}

/// Some run functions that share one executor task: they are polled as they are
/// woken; what has ended is committed, and orders are looked for, under one lock.
pub(crate) struct Group {
    session: Session,
    members: FuturesUnordered<RunningTask>,
    /// Under which the session knows its waker; `None`: its member looks by itself.
    id: Option<u64>,
    seen_orders: Option<u64>,
    waker: Option<Waker>,
    /// Of what they all are; `None`: of several codes.
    registered: Option<Arc<Registered>>,
    /// Counted in the session's single runners.
    is_single: bool,
}

impl Group {
    pub(crate) fn new(
        session: Session,
        members: FuturesUnordered<RunningTask>,
        registered: Option<Arc<Registered>>,
    ) -> Self {
        Self {
            id: Some(session.next_group_id()),
            session,
            members,
            seen_orders: None,
            waker: None,
            registered,
            is_single: false,
        }
    }

    /// One run function, in an executor task of its own.
    pub(crate) fn single(session: Session, member: RunningTask) -> Self {
        session.drive(|state| state.single_runners += 1);
        let members = FuturesUnordered::new();
        members.push(member);
        Self {
            session,
            members,
            id: None,
            seen_orders: None,
            waker: None,
            registered: None,
            is_single: true,
        }
    }

    /// Passes orders on to its members, if there can be new ones.
    fn pass_orders_on(&mut self, cx: &Context<'_>) {
        let Some(id) = self.id else {
            return;
        };
        let orders = self.session.orders();
        if self.seen_orders == Some(orders) && is_same(self.waker.as_ref(), cx) {
            return;
        }
        self.seen_orders = Some(orders);
        self.waker = Some(cx.waker().clone());
        let session = self.session.clone();
        let members = self
            .members
            .iter_mut()
            .filter(|member| member.watch == Watch::Group);
        // Those who have an order are woken once the lock has been released.
        for waker in session.group_orders(id, cx.waker(), members) {
            waker.wake();
        }
    }

    fn note_slowness(&self, began: std::time::Instant) {
        if let Some(registered) = &self.registered {
            let took = self.session.client().server.clock.now() - began;
            if took > SLOW_POLL {
                registered.is_slow.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Future for Group {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let began = this
            .registered
            .is_some()
            .then(|| this.session.client().server.clock.now());
        this.pass_orders_on(cx);
        let mut batch = Vec::new();
        let polled = loop {
            match Pin::new(&mut this.members).poll_next(cx) {
                Poll::Ready(Some(ended)) => batch.push(ended),
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        if let Some(began) = began {
            this.note_slowness(began);
        }
        if !batch.is_empty() {
            let singles = usize::from(std::mem::take(&mut this.is_single));
            this.session.finish_batch(batch, singles);
        }
        polled
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_single {
            self.session.drive(|state| state.single_runners -= 1);
        }
        if let Some(id) = self.id {
            self.session.forget_group(id);
        }
    }
}

/// A run function on its way to a thread.
pub(crate) struct BlockingTask {
    session: Session,
    key: TaskKey,
    function: Option<BlockingFunction>,
}

impl BlockingTask {
    pub(crate) fn new(session: Session, key: TaskKey, function: BlockingFunction) -> Self {
        Self {
            session,
            key,
            function: Some(function),
        }
    }

    /// Runs it, unless its cancel came first (T13).
    pub(crate) fn run(mut self) {
        let Some(function) = self.function.take() else {
            return;
        };
        if !self.session.start_blocking(self.key) {
            return drop_quietly(function);
        }
        let ended = unless_task_panics(&self.session, self.key, function);
        let ended = ended.map_or(Ended::Panicked, self::ended);
        self.session.finish_batch([(self.key, ended)], 0);
    }
}

impl Drop for BlockingTask {
    /// An executor that never runs it ends its task as cancelled.
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            drop_quietly(function);
            self.session.finish_batch([(self.key, Ended::Dropped)], 0);
        }
    }
}

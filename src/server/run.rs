//! Runs one run function: in place, on the executor, or on a thread; with its
//! panics, its cancel and the end of its connection (PROTOCOL T9, T10, T13).

mod blocking;
mod boxed;
mod group;
mod idle;
mod members;
mod running;
mod single;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

pub(crate) use self::blocking::BlockingTask;
pub(crate) use self::boxed::{AsyncFunction, BoxRunFuture, Call, FirstPoll, Spares};
use self::boxed::{Begun, begin_in};
pub(crate) use self::group::{GROUP, Group, IdleGroup, NewGroup, SLOW_POLL};
pub(crate) use self::idle::IdleRunner;
pub(crate) use self::running::{RunningTask, Watch};
pub(crate) use self::single::{Runner, Single};
use super::error::TaskError;
use super::session::{Ended, Finished, Session};
use crate::proto::TaskKey;
use crate::wire::TaskId;

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
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
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

/// Runs code of the application's on many: on each by itself, for a second panic
/// while the first one unwinds would end the process.
pub(crate) fn each_quietly<T>(values: impl IntoIterator<Item = T>, mut code: impl FnMut(T)) {
    let mut values = values.into_iter();
    // Behind one that panics the others go on.
    while unless_panics(|| values.by_ref().for_each(&mut code)).is_none() {}
}

/// [`drop_quietly`] for many.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    each_quietly(values, drop);
}

/// The same of results that have been committed, where they lie; their boxes are kept.
pub(crate) fn drop_results(results: &mut [Finished], spares: &mut Spares) {
    each_quietly(results, |finished| {
        if let Some(function) = finished.function.take() {
            spares.keep(function);
        }
        finished.ended = Ended::Dropped;
    });
}

/// An error that a run function returned, as the ledger takes it. Its words are the
/// application's code, and so is its destructor.
fn failed(session: &Session, key: TaskKey, error: &TaskError) -> Ended {
    if let TaskError::Fatal(source) = error {
        return Ended::Fatal(source.to_string().into());
    }
    session.log_failure(key, error);
    // Only a fatal one has no code.
    error.code().map_or(Ended::Panicked, Ended::Error)
}

/// Calls a task's function, in the driver's own turn. How its run function ended, if
/// it did at once, is left in `into`; its box is left in `spare` unless it panicked.
pub(crate) fn begin_caught(
    function: &dyn AsyncFunction,
    call: &mut Call<'_>,
    spare: &mut Option<BoxRunFuture>,
    into: &mut Ended,
) -> Poll<()> {
    let (session, key) = (call.session, call.key);
    or_panicked(session, key, spare, into, |spare, into| {
        match begin_in(spare, function, call, into) {
            Begun::Ended => Poll::Ready(()),
            Begun::Pending | Begun::Misfit => Poll::Pending,
        }
    })
}

/// The first poll of a function that has been called, in the driver's own turn.
pub(crate) fn poll_in_place(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    into: &mut Ended,
) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    poll_caught(session, key, function, &mut cx, into)
}

/// Polls a run function. What has ended is dropped by its box: its destructor is
/// the task's code, too, and a panic of it comes before the answer (T9).
fn poll_caught(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    cx: &mut Context<'_>,
    into: &mut Ended,
) -> Poll<()> {
    or_panicked(
        session,
        key,
        function,
        into,
        |function, into| match function {
            Some(function) => function.poll(session, key, cx, into),
            None => Poll::Ready(()),
        },
    )
}

/// What the task's code came to; of a function that panics nothing is left.
#[inline]
fn or_panicked(
    session: &Session,
    key: TaskKey,
    function: &mut Option<BoxRunFuture>,
    into: &mut Ended,
    code: impl FnOnce(&mut Option<BoxRunFuture>, &mut Ended) -> Poll<()>,
) -> Poll<()> {
    unless_task_panics(session, key, || code(function, into)).unwrap_or_else(|| {
        let panicked = function.take();
        let _ = unless_task_panics(session, key, || drop(panicked));
        drop_quietly(std::mem::replace(into, Ended::Panicked));
        Poll::Ready(())
    })
}

/// The run function in its task's span, if that is enabled: nobody else pays for it.
#[inline]
pub(crate) fn in_span(
    session: &Session,
    key: TaskKey,
    id: TaskId,
    function: BoxRunFuture,
) -> BoxRunFuture {
    match session.enabled_span(key, id) {
        Some(span) => function.in_span(span),
        None => function,
    }
}

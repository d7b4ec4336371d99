//! Time as the drivers see it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

/// Where a server or client gets its time from.
///
/// `now` must never go back (PROTOCOL L13); `wall` may jump, and is only ever displayed.
///
/// ```
/// use asyncserver::runtime::{Clock, TokioClock};
/// let before = TokioClock.now();
/// assert!(TokioClock.now() >= before);
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The monotonic time, by which everything is decided. It is asked for under
    /// locks, too: it must be quick, and must not come back to the server.
    fn now(&self) -> Instant;

    /// The time of day, for display.
    fn wall(&self) -> SystemTime;

    /// A timer of this clock.
    fn timer(&self) -> Box<dyn Timer>;
}

/// One timer, armed anew with each poll.
///
/// ```
/// # use std::{future::poll_fn, time::Duration};
/// use asyncserver::runtime::{Clock, TokioClock};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let deadline = TokioClock.now() + Duration::from_millis(1);
/// let mut timer = TokioClock.timer();
/// poll_fn(|cx| timer.poll_until(deadline, cx)).await;
/// assert!(TokioClock.now() >= deadline);
/// # });
/// ```
pub trait Timer: Send {
    /// Ready once `deadline` has come; otherwise `cx`'s waker is woken then, or up to
    /// 10 ms before. Only the deadline and the waker of the last call count, and they
    /// count until it is woken: nobody need ask again before.
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()>;
}

/// Tokio's clock. It follows Tokio's paused time in tests.
///
/// Its timers must be polled within a Tokio runtime that has its time driver enabled.
///
/// ```
/// use asyncserver::{runtime::TokioClock, server::Server};
/// let server = Server::builder().clock(TokioClock).build(); // the default
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(TokioTimer { sleep: None })
    }
}

/// Made when it is first armed, so that a timer can be created outside a runtime.
struct TokioTimer {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Timer for TokioTimer {
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

/// Waits until `timer` says that `after` has passed since now.
pub(crate) async fn sleep(clock: &dyn Clock, after: Duration) {
    let Some(deadline) = clock.now().checked_add(after) else {
        return std::future::pending().await;
    };
    let mut timer = clock.timer();
    std::future::poll_fn(|cx| timer.poll_until(deadline, cx)).await;
}

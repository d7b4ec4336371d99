//! Operations that try, and wait for another end or for time to try again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::time::Probe;

/// What came of trying once.
pub(super) enum Attempt<T> {
    Done(io::Result<T>),
    /// Done, and this one can go on, too.
    DoneAndWake(io::Result<T>, Vec<Waker>),
    /// Not now; time alone lets it go on then.
    Wait(Option<Duration>),
    /// The same, and these have something new to look at.
    WaitAndWake(Option<Duration>, Vec<Waker>),
    PutOff,
}

impl<T> Attempt<T> {
    /// The same, and these have something new to look at.
    pub(super) fn and_wake(self, more: Vec<Waker>) -> Self {
        let all = |mut wakers: Vec<Waker>| {
            wakers.extend(more);
            wakers
        };
        match self {
            Self::Done(result) => Self::DoneAndWake(result, all(Vec::new())),
            Self::DoneAndWake(result, wakers) => Self::DoneAndWake(result, all(wakers)),
            Self::Wait(at) => Self::WaitAndWake(at, all(Vec::new())),
            Self::WaitAndWake(at, wakers) => Self::WaitAndWake(at, all(wakers)),
            Self::PutOff => Self::PutOff,
        }
    }
}

pub(super) fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// Drives an operation to its end, or to where it waits.
pub(super) fn poll_attempts<T>(
    probe: &Probe,
    mut now: Duration,
    timer: &mut Timer,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut(Duration, &Context<'_>) -> Attempt<T>,
) -> Poll<io::Result<T>> {
    loop {
        let at = match attempt(now, cx) {
            Attempt::Done(result) => return Poll::Ready(result),
            Attempt::DoneAndWake(result, wakers) => {
                wakers.into_iter().for_each(Waker::wake);
                return Poll::Ready(result);
            }
            Attempt::PutOff => return Poll::Pending,
            Attempt::Wait(at) => at,
            Attempt::WaitAndWake(at, wakers) => {
                wakers.into_iter().for_each(Waker::wake);
                at
            }
        };
        let Some(at) = at else { return Poll::Pending };
        if timer.poll_after(at.saturating_sub(now), cx).is_pending() {
            return Poll::Pending;
        }
        now = probe.elapsed();
    }
}

/// A timer that is made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Timer {
    fn poll_after(&mut self, after: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::now() + after;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

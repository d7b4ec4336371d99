//! The tasks that the models use.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use asyncserver::server::Registration;
use asyncserver_loom_tests::tally::Tally;

/// Answers `done` at its first poll.
pub(crate) fn quick(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            guard.finish();
            Ok("done")
        }
    })
}

/// Answers `done` at its second poll, for which it does not wake itself: the
/// first is in place, the second where it goes from there.
pub(crate) fn second_poll(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            Once::default().await;
            guard.finish();
            Ok("done")
        }
    })
}

/// Never ends by itself.
pub(crate) fn endless(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            std::future::pending::<()>().await;
            guard.finish();
            Ok("never")
        }
    })
}

/// Pending once.
#[derive(Default)]
pub(crate) struct Once {
    polled: bool,
}

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.polled, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

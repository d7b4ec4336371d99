//! Threads that are none: blocking functions run as coroutines, so that the same
//! scenario takes the same course each time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use asyncserver::runtime::BoxFuture;
use generator::{Generator, Gn};

use crate::world::lock;

/// In machine words: unwinding and formatting need room.
const STACK_WORDS: usize = 1 << 16;

/// A blocking function as a future: pending while the function blocks in [`block_on`].
pub(crate) fn thread(function: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
    let coroutine = Gn::<()>::new_opt(STACK_WORDS, move || {
        function();
        wait_for(async {})
    });
    Box::pin(Thread {
        coroutine,
        waits_for: None,
    })
}

struct Thread {
    coroutine: Generator<'static, (), BoxFuture<'static, ()>>,
    waits_for: Option<BoxFuture<'static, ()>>,
}

impl Future for Thread {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(waits_for) = &mut self.waits_for {
                ready!(waits_for.as_mut().poll(cx));
            }
            self.waits_for = self.coroutine.resume();
            if self.waits_for.is_none() {
                return Poll::Ready(());
            }
        }
    }
}

fn wait_for(future: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
    Box::pin(future)
}

/// Blocks the simulated thread until `future` is ready.
///
/// # Panics
/// Outside a blocking function that this harness's executor runs.
pub(crate) fn block_on<R: Send + 'static>(future: impl Future<Output = R> + Send + 'static) -> R {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let wait = wait_for(async move {
        let ready = future.await;
        *lock(&place) = Some(ready);
    });
    #[expect(
        deprecated,
        reason = "a registered function knows nothing of the coroutine that it runs in"
    )]
    generator::yield_with(wait);
    let ready = lock(&result).take();
    ready.expect("a coroutine goes on when what it waited for is ready")
}

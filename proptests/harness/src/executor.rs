//! An executor that counts what it runs, runs blocking functions as coroutines,
//! and notices what panics or spins.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use asyncserver::runtime::{BoxFuture, Executor};
use futures_util::FutureExt;

use crate::threads::thread;
use crate::world::World;

/// How often one future may be polled while no time passes: under paused time
/// one that spins would stop the world.
const POLLS_MOST: u32 = 200_000;

/// Runs everything on another executor, watched.
#[derive(Clone)]
pub struct WatchedExecutor {
    runs_on: Arc<dyn Executor>,
    world: World,
    live: Arc<AtomicUsize>,
}

impl WatchedExecutor {
    /// Runs what it is given on `runs_on`, which needs no threads.
    #[must_use]
    pub fn new(runs_on: Arc<dyn Executor>, world: World) -> Self {
        Self {
            runs_on,
            world,
            live: Arc::default(),
        }
    }

    /// How many futures and blocking functions have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Runs a future of the harness itself, which is not counted.
    pub(crate) fn run_beside(&self, future: BoxFuture<'static, ()>) {
        self.runs_on.spawn(self.watched("the harness", future));
    }

    fn watched(
        &self,
        who: &'static str,
        mut future: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()> {
        let world = self.world.clone();
        let (mut last_us, mut polls) = (u64::MAX, 0_u32);
        let at_rest = std::future::poll_fn(move |cx| {
            let now_us = world.now_us();
            polls = if now_us == last_us { polls + 1 } else { 0 };
            last_us = now_us;
            if polls == POLLS_MOST {
                world.fault(format!("{who} spins: {POLLS_MOST} polls at one time"));
            }
            if polls >= POLLS_MOST {
                return Poll::Pending;
            }
            future.as_mut().poll(cx)
        });
        let world = self.world.clone();
        Box::pin(async move {
            if let Err(panic) = AssertUnwindSafe(at_rest).catch_unwind().await {
                world.fault(format!("{who} panicked: {}", words_of(&*panic)));
            }
        })
    }
}

/// The message of a panic.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let words = owned.or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("something without words")
}

struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Executor for WatchedExecutor {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.live.fetch_add(1, Ordering::Relaxed);
        let live = Live(Arc::clone(&self.live));
        let counted = Box::pin(async move {
            let _live = live;
            future.await;
        });
        self.runs_on
            .spawn(self.watched("a future of the server", counted));
    }

    fn spawn_blocking(&self, function: Box<dyn FnOnce() + Send>) {
        self.spawn(thread(function));
    }
}

impl fmt::Debug for WatchedExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedExecutor")
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

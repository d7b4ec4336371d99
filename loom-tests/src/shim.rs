//! Threads, locks and blocking: loom's under `--cfg asyncserver_loom`, std's
//! otherwise. Both backends have the same names.

#[cfg(asyncserver_loom)]
mod loom;
#[cfg(not(asyncserver_loom))]
mod threads;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

#[cfg(asyncserver_loom)]
use self::loom as backend;
#[cfg(not(asyncserver_loom))]
use self::threads as backend;

pub use self::backend::{JoinHandle, Mutex, RwLock, explore, spawn, step};

/// How many threads a scenario has, and so how far it is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Up to three: every interleaving.
    Three,
    /// Four: every interleaving of at most three preemptions.
    Four,
    /// Two whole drivers, which meet in the server's counts: every interleaving
    /// of at most five preemptions.
    TwoDrivers,
}

/// One thread's sleep: a waker sets its flag, and it waits for that.
///
/// Its count of references is std's, which loom does not see: it would only
/// multiply the interleavings.
#[derive(Debug)]
struct Sleeper(backend::Flag);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.set();
    }
}

/// What one thread waits for and another one opens.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Sleeper>);

impl Gate {
    /// Closed.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Sleeper(backend::Flag::new())))
    }

    /// Lets one through.
    pub fn open(&self) {
        self.0.0.set();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        self.0.0.wait();
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Polls futures on the thread that has it, under one waker.
#[derive(Debug)]
pub struct Poller {
    sleeper: Arc<Sleeper>,
    waker: Waker,
}

impl Poller {
    /// A poller for the calling thread.
    #[must_use]
    pub fn new() -> Self {
        let sleeper = Arc::new(Sleeper(backend::Flag::new()));
        let waker = Waker::from(Arc::clone(&sleeper));
        Self { sleeper, waker }
    }

    /// Polls once.
    pub fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        step();
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// Waits until a waker of this poller's was woken.
    pub fn wait(&self) {
        self.sleeper.0.wait();
    }

    /// Polls, and waits to be woken, until the future is ready. Nobody left to
    /// wake it is a deadlock, and a failure of the model.
    pub fn run<F: Future + ?Sized>(&self, mut future: Pin<&mut F>) -> F::Output {
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut()) {
                return output;
            }
            self.wait();
        }
    }
}

impl Default for Poller {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a future to its end on the calling thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    Poller::new().run(pin!(future))
}

//! An executor with a thread for each thing that it is given.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use asyncserver::runtime::{BoxFuture, Executor};

use crate::shim::{self, JoinHandle};

/// When work that an executor is given starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// When it is given.
    AtOnce,
    /// When the model releases it: what the connection does until then has no
    /// interleavings.
    WhenReleased,
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs each future, and each blocking function, on a thread of its own. Cheap to clone.
#[derive(Clone)]
pub struct Workers(Arc<Mutex<State>>);

struct State {
    starts: Starts,
    held: VecDeque<Work>,
    threads: Vec<JoinHandle>,
}

impl Workers {
    /// No threads yet.
    #[must_use]
    pub fn new(starts: Starts) -> Self {
        Self(Arc::new(Mutex::new(State {
            starts,
            held: VecDeque::new(),
            threads: Vec::new(),
        })))
    }

    /// loom need not see this lock: nothing is decided by who takes it first.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was held starts now, each on a thread of its own; what comes later
    /// starts at once.
    pub fn release(&self) {
        self.lock().starts = Starts::AtOnce;
        while let Some(work) = self.take_held() {
            self.start(work);
        }
    }

    /// The oldest of what is held, to be run, or dropped, by the model itself.
    #[must_use]
    pub fn take_held(&self) -> Option<Work> {
        self.lock().held.pop_front()
    }

    /// How many threads there have been.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.lock().threads.len()
    }

    /// Waits until every thread has ended.
    ///
    /// # Panics
    /// When one of them has panicked.
    pub fn join(&self) {
        loop {
            let Some(thread) = self.lock().threads.pop() else {
                return;
            };
            thread.join().expect("a thread of the executor panicked");
        }
    }

    /// Whether this is its last handle: no server, and so no session, is left.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn take(&self, work: Work) {
        let starts = self.lock().starts;
        match starts {
            Starts::AtOnce => self.start(work),
            Starts::WhenReleased => self.lock().held.push_back(work),
        }
    }

    fn start(&self, work: Work) {
        let thread = shim::spawn(work);
        self.lock().threads.push(thread);
    }
}

impl Executor for Workers {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.take(Box::new(move || shim::block_on(future)));
    }

    fn spawn_blocking(&self, function: Box<dyn FnOnce() + Send>) {
        self.take(function);
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

//! loom: every interleaving of the operations that it sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use loom::sync::{Condvar, MutexGuard};

use super::Threads;

/// A thread that can be waited for.
pub type JoinHandle = loom::thread::JoinHandle<()>;

/// loom's mutex.
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An open lock.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A flag to wait for. (`loom::sync::Notify` wakes spuriously, too, which
/// multiplies the interleavings and finds nothing: a future may always be polled.)
#[derive(Debug)]
pub(super) struct Flag {
    state: Mutex<FlagState>,
    changed: Condvar,
}

#[derive(Debug, PartialEq, Eq)]
enum FlagState {
    Unset,
    Set,
    /// Unset, and its thread waits.
    Awaited,
}

impl Flag {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(FlagState::Unset),
            changed: Condvar::new(),
        }
    }

    pub(super) fn set(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut *state, FlagState::Set) == FlagState::Awaited {
            self.changed.notify_one();
        }
    }

    pub(super) fn wait(&self) {
        let mut state = self.state.lock();
        while *state != FlagState::Set {
            *state = FlagState::Awaited;
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *state = FlagState::Unset;
    }
}

/// Starts a thread.
pub fn spawn(function: impl FnOnce() + Send + 'static) -> JoinHandle {
    loom::thread::spawn(function)
}

/// A point at which a schedule may turn; loom finds them by itself.
pub const fn step() {}

/// Runs the scenario in every interleaving, and prints how many there were.
///
/// # Panics
/// When one of them fails.
pub fn explore(name: &str, threads: Threads, scenario: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 50_000;
    if threads == Threads::Four && builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(3);
    }
    let interleavings = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&interleavings);
    let began = Instant::now();
    let bound = builder
        .preemption_bound
        .map_or_else(|| "unbounded".to_owned(), |bound| format!("bound {bound}"));
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    println!(
        "model {name}: {} interleavings in {:.1} s, {bound}",
        interleavings.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
    );
}

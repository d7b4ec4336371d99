//! loom: every interleaving of the operations that it sees.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock that many may read at a time: loom does not order two readings.
#[derive(Debug)]
pub struct RwLock<T>(loom::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An open lock.
    pub fn new(value: T) -> Self {
        Self(loom::sync::RwLock::new(value))
    }

    /// Takes the lock to read.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock to change.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flag to wait for.
///
/// Setting it is no operation that loom sees: what a woken thread finds is
/// decided under the library's own locks, and only the number of interleavings
/// would grow. That takes some care: `unpark` makes loom run a thread that
/// waits for a lock, too, so it is called for one that sleeps here alone.
#[derive(Debug)]
pub(super) struct Flag(std::sync::Mutex<FlagState>);

#[derive(Debug)]
enum FlagState {
    Unset,
    Set,
    /// Unset, and this thread sleeps.
    Awaited(loom::thread::Thread),
}

impl Flag {
    pub(super) fn new() -> Self {
        Self(std::sync::Mutex::new(FlagState::Unset))
    }

    fn replace(&self, state: FlagState) -> FlagState {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, state)
    }

    pub(super) fn set(&self) {
        if let FlagState::Awaited(sleeper) = self.replace(FlagState::Set) {
            sleeper.unpark();
        }
    }

    pub(super) fn wait(&self) {
        if !matches!(self.replace(FlagState::Unset), FlagState::Set) {
            self.replace(FlagState::Awaited(loom::thread::current()));
            loom::thread::park();
            self.replace(FlagState::Unset);
        }
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
    let bound = match threads {
        Threads::Three => None,
        Threads::Four => Some(3),
        Threads::TwoDrivers => Some(5),
    };
    builder.preemption_bound = builder.preemption_bound.or(bound);
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

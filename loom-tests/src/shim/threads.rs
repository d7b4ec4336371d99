//! std's threads: many runs, whose threads hesitate here and there by a seed.

use std::cell::RefCell;
use std::sync::{Condvar, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Threads;

/// A thread that can be waited for.
pub type JoinHandle = std::thread::JoinHandle<()>;

/// How long a thread waits to be woken before that counts as a deadlock.
const DEADLOCK: Duration = Duration::from_secs(20);

thread_local! {
    static HESITATION: RefCell<Rng> = const { RefCell::new(Rng::with_seed(0)) };
}

/// std's mutex.
#[derive(Debug)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock that many may read at a time: loom does not order two readings.
#[derive(Debug)]
pub struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
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
#[derive(Debug)]
pub(super) struct Flag {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Flag {
    pub(super) const fn new() -> Self {
        Self {
            is_set: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    pub(super) fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_one();
    }

    pub(super) fn wait(&self) {
        let waited = self
            .changed
            .wait_timeout_while(self.is_set.lock(), DEADLOCK, |is_set| !*is_set);
        let (mut is_set, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!outcome.timed_out(), "deadlock: nobody woke this thread");
        *is_set = false;
    }
}

/// Starts a thread.
///
/// # Panics
/// When the operating system has none.
pub fn spawn(function: impl FnOnce() + Send + 'static) -> JoinHandle {
    let seed = HESITATION.with(|rng| rng.borrow_mut().u64(..));
    std::thread::spawn(move || {
        HESITATION.with(|rng| rng.borrow_mut().seed(seed));
        step();
        function();
    })
}

/// A point at which a schedule may turn: the thread goes on, yields, or spins a little.
pub fn step() {
    let choice = HESITATION.with(|rng| rng.borrow_mut().u32(..64));
    match choice {
        0..32 => {}
        32..40 => std::thread::yield_now(),
        40..63 => (0..choice * choice / 8).for_each(|_| std::hint::spin_loop()),
        _ => std::thread::sleep(Duration::from_micros(20)),
    }
}

/// Runs the scenario many times: as often as `LOOM_TESTS_RUNS` says, from the
/// seed in `LOOM_TESTS_SEED` on.
///
/// # Panics
/// When one of the runs fails; its seed is printed.
pub fn explore(name: &str, _: Threads, scenario: fn()) {
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let (first, runs) = (number("LOOM_TESTS_SEED", 1), number("LOOM_TESTS_RUNS", 500));
    let began = Instant::now();
    for seed in first..first + runs {
        HESITATION.with(|rng| rng.borrow_mut().seed(seed));
        let outcome = std::panic::catch_unwind(scenario);
        if let Err(panic) = outcome {
            println!("model {name} failed with LOOM_TESTS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!("model {name}: {runs} runs on threads in {took:.1} s");
}

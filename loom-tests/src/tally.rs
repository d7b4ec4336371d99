//! Counts what becomes of run functions: each is dropped once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of run functions. Cheap to clone. (Its atomics are std's: a model
/// looks only when all threads have ended.)
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
    finished: AtomicUsize,
}

/// Lives in a run function.
#[derive(Debug)]
pub struct Guard(Tally);

impl Tally {
    /// A run function is made.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Guard(self.clone())
    }

    /// How many run functions were made.
    #[must_use]
    pub fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    /// How many came to their own end.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.0.finished.load(Ordering::SeqCst)
    }

    /// Whether all are gone.
    ///
    /// # Panics
    /// When one is not.
    pub fn check(&self) {
        let dropped = self.0.dropped.load(Ordering::SeqCst);
        assert_eq!(self.made(), dropped, "every run function is dropped");
    }
}

impl Guard {
    /// The run function has come to its own end.
    pub fn finish(self) {
        self.0.0.finished.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

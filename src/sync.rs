//! The facade over the primitives that the loom models replace: std's normally,
//! loom's under `--cfg asyncserver_loom`; and what is made of nothing but these.
//!
//! loom knows nothing of poisoning's uses here, so the facade's `Mutex` never
//! reports it: user code does not run under a lock, and a panic of our own
//! under one must not take every other connection's handle with it.
//!
//! `Arc` is std's for the models, too: nothing is decided by a count of
//! references, and loom would order every two drops of a session both ways.

use std::task::{Context, Poll, Waker};

#[cfg(asyncserver_loom)]
pub(crate) use loom::sync::{MutexGuard, atomic};
#[cfg(not(asyncserver_loom))]
pub(crate) use std::sync::{MutexGuard, atomic};

#[cfg(asyncserver_loom)]
use loom::sync::Mutex as Primitive;
#[cfg(not(asyncserver_loom))]
use std::sync::Mutex as Primitive;

/// A mutex without poisoning.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Primitive<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Primitive::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A place for one letter at a time, to one who waits for it and can be woken.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Mutex<Mail<T>>);

#[derive(Debug)]
struct Mail<T> {
    letter: Option<T>,
    /// Whoever changes anything takes it.
    waker: Option<Waker>,
    is_closed: bool,
}

impl<T> Mailbox<T> {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Mail {
            letter: None,
            waker: None,
            is_closed: false,
        }))
    }

    /// From now on `cx` is woken for a letter.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let before = self.0.lock().waker.replace(cx.waker().clone());
        drop(before);
    }

    /// The letter, or `None` once it is closed; pending: `cx` is woken for either.
    pub(crate) fn poll_letter(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut mail = self.0.lock();
        if mail.letter.is_some() || mail.is_closed {
            return Poll::Ready(mail.letter.take());
        }
        let before = mail.waker.replace(cx.waker().clone());
        drop(mail);
        drop(before);
        Poll::Pending
    }

    /// Leaves a letter; returns whom to wake for it. If it is closed, the letter comes back.
    pub(crate) fn post(&self, letter: T) -> Result<Option<Waker>, T> {
        let mut mail = self.0.lock();
        if mail.is_closed {
            return Err(letter);
        }
        debug_assert!(mail.letter.is_none(), "one at a time");
        mail.letter = Some(letter);
        Ok(mail.waker.take())
    }

    /// Takes a letter back that nobody has taken, and closes it; otherwise nothing changes.
    pub(crate) fn take_back(&self) -> Option<T> {
        let mut mail = self.0.lock();
        let letter = mail.letter.take();
        mail.is_closed |= letter.is_some();
        letter
    }

    /// From now on no letter can be left; returns the one that nobody took, and whom to wake.
    pub(crate) fn close(&self) -> (Option<T>, Option<Waker>) {
        let mut mail = self.0.lock();
        mail.is_closed = true;
        (mail.letter.take(), mail.waker.take())
    }
}

/// Which of some have been woken, for the one who polls them all.
#[derive(Debug)]
pub(crate) struct WokenSet {
    places: atomic::AtomicU64,
    poller: Mutex<Option<Waker>>,
}

impl WokenSet {
    /// How many places there are.
    pub(crate) const MOST: usize = u64::BITS as usize;

    /// Empty.
    pub(crate) fn new() -> Self {
        Self {
            places: atomic::AtomicU64::new(0),
            poller: Mutex::new(None),
        }
    }

    /// Who is woken from now on.
    pub(crate) fn set_poller(&self, poller: Waker) {
        let before = self.poller.lock().replace(poller);
        drop(before);
    }

    /// Adds a place; returns whom to wake, if it is the first one.
    pub(crate) fn insert(&self, place: u32) -> Option<Waker> {
        let before = self.places.fetch_or(1 << place, atomic::Ordering::AcqRel);
        match before {
            0 => self.poller.lock().clone(),
            _ => None,
        }
    }

    /// Moves all places out.
    pub(crate) fn take(&self) -> u64 {
        self.places.swap(0, atomic::Ordering::AcqRel)
    }
}

/// Counts orders to run functions, modulo 2³². Whoever was woken because of one sees it.
#[derive(Debug)]
pub(crate) struct OrderCount(atomic::AtomicU32);

impl OrderCount {
    pub(crate) fn new() -> Self {
        Self(atomic::AtomicU32::new(0))
    }

    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, atomic::Ordering::Release);
    }

    #[cfg(not(asyncserver_loom))]
    pub(crate) fn look(&self) -> u32 {
        self.0.load(atomic::Ordering::Acquire)
    }

    /// The wake-up goes through a `FuturesUnordered`, whose synchronisation loom
    /// does not see: a mere load might miss the order that it is about.
    #[cfg(asyncserver_loom)]
    pub(crate) fn look(&self) -> u32 {
        self.0.fetch_add(0, atomic::Ordering::AcqRel)
    }
}

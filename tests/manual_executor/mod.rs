//! An executor that runs what it was given only when a test says so.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use asyncserver::runtime::{BoxFuture, Executor};

type Blocking = Box<dyn FnOnce() + Send>;

#[derive(Clone, Default)]
pub(crate) struct ManualExecutor {
    futures: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
    blocking: Arc<Mutex<Vec<Blocking>>>,
}

impl ManualExecutor {
    /// Runs, from now on, the futures that it was given up to now.
    pub(crate) fn run_futures(&self) {
        for future in self.take_futures() {
            drop(tokio::spawn(future));
        }
    }

    /// Drops them instead.
    pub(crate) fn drop_futures(&self) {
        drop(self.take_futures());
    }

    /// What it was given, for the test to poll.
    pub(crate) fn take_futures(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.futures.lock().unwrap())
    }

    /// A thread gets to the oldest blocking function.
    pub(crate) fn start_thread(&self) -> JoinHandle<()> {
        let function = self.blocking.lock().unwrap().remove(0);
        std::thread::spawn(function)
    }

    /// The blocking functions that wait for a thread are dropped.
    pub(crate) fn drop_blocking(&self) {
        drop(std::mem::take(&mut *self.blocking.lock().unwrap()));
    }
}

impl Executor for ManualExecutor {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.futures.lock().unwrap().push(future);
    }

    fn spawn_blocking(&self, function: Blocking) {
        self.blocking.lock().unwrap().push(function);
    }
}

impl fmt::Debug for ManualExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManualExecutor")
    }
}

//! Where run functions go that do not finish at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A future on the heap.
///
/// ```
/// use asyncserver::runtime::{BoxFuture, Executor};
/// fn run_beside(executor: &dyn Executor, future: BoxFuture<'static, ()>) {
///     executor.spawn(future);
/// }
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs futures and blocking functions beside the connections.
///
/// What an executor drops unfinished ends its task as cancelled. A future that has run
/// one function may wait for its connection's next, for some tenths of a second at most:
/// what an executor puts around a future (a span, a limit) holds for all of them.
///
/// ```
/// use asyncserver::runtime::{Executor, TokioExecutor};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, receiver) = tokio::sync::oneshot::channel();
/// TokioExecutor.spawn(Box::pin(async move { sender.send(1).unwrap() }));
/// assert_eq!(receiver.await, Ok(1));
/// # });
/// ```
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Runs `future` to its end, concurrently with everything else.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// Runs `function` on a thread that may block.
    fn spawn_blocking(&self, function: Box<dyn FnOnce() + Send>);
}

/// The Tokio runtime within which it is called.
///
/// ```
/// use asyncserver::{runtime::TokioExecutor, server::Server};
/// let server = Server::builder().executor(TokioExecutor).build(); // the default
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioExecutor;

impl Executor for TokioExecutor {
    /// # Panics
    /// When called outside a Tokio runtime.
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        drop(tokio::spawn(future));
    }

    /// # Panics
    /// When called outside a Tokio runtime.
    fn spawn_blocking(&self, function: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(function));
    }
}

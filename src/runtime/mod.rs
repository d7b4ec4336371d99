//! The seams to the world: byte streams, listeners, clocks and executors, each
//! with its Tokio version.
//!
//! A server and a client are written against these traits alone. Production
//! runs on [`TcpListener`](tcp::TcpListener), [`TokioClock`] and
//! [`TokioExecutor`]; tests run on [`memory`] and Tokio's paused time; a
//! simulator brings its own.

mod clock;
mod executor;
pub mod memory;
pub mod tcp;
mod transport;

pub(crate) use clock::sleep;
pub use clock::{Clock, Timer, TokioClock};
pub use executor::{BoxFuture, Executor, TokioExecutor};
pub use transport::{Address, Endpoints, Listener, Transport};

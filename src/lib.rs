//! A server, and its client, for many concurrent, cancellable tasks over one connection each.

#[cfg(not(asyncserver_loom))]
pub mod client;
#[doc(hidden)]
pub mod proto;
#[cfg(not(asyncserver_loom))]
pub mod runtime;
pub mod server;
pub(crate) mod sync;
pub mod wire;

//! A server, and its client, for many concurrent, cancellable tasks over one
//! connection each.
//!
//! A client sends a task code, a task id that it chose, and a message. The
//! server runs a *task function*, which reads the message (one at a time per
//! client) and returns a *run function*; that runs concurrently and produces
//! the response, which goes back under the task's id. Tasks and clients can be
//! listed, cancelled and disconnected, gracefully with a deadline or at once.
//!
//! # Quickstart
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use asyncserver::client::Client;
//! use asyncserver::runtime::tcp::TcpListener;
//! use asyncserver::server::{Server, TaskContext};
//! use asyncserver::wire::TaskCode;
//! use bytes::Bytes;
//!
//! const SHOUT: TaskCode = TaskCode(1);
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A server with one task: a function of the task and its message.
//!     let server = Server::builder()
//!         .task(SHOUT, "shout", async |_: TaskContext, message: Bytes| {
//!             Ok(message.to_ascii_uppercase())
//!         })
//!         .build();
//!     let serving = server.serve(TcpListener::bind("127.0.0.1:0").await?);
//!     let address = serving.local_address().cloned().ok_or("no address")?;
//!
//!     // A client: calls run concurrently over one connection, and dropping one cancels it.
//!     let client = Client::new(address);
//!     let answer = client.call(SHOUT, "hello").await?;
//!     println!("{}", String::from_utf8_lossy(&answer));
//!
//!     // The end: no new requests, and ten seconds for those under way.
//!     let report = serving.shutdown(Duration::from_secs(10)).await;
//!     println!("everything was answered: {}", report.is_clean());
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! - [`server`]: [`Server`](server::Server), tasks, handles, reports, limits.
//! - [`client`]: [`Client`](client::Client), calls, streams, reconnection.
//! - [`runtime`]: the seams to the world; TCP, and an in-memory transport for tests.
//! - [`wire`]: the bytes.
//!
//! The contract is `docs/protocol.md` in the repository; `PROTOCOL T10` in these
//! pages is its rule T10.

extern crate alloc;

mod canary;
pub mod client;
#[doc(hidden)]
pub mod proto;
pub mod runtime;
pub mod server;
pub(crate) mod sync;
pub mod wire;

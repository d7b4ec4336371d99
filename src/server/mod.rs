//! The server: it reads requests, runs tasks, and answers them.
//!
//! Start with [`Server::builder`]; then either [`Server::serve`] a listener or
//! hand over single streams with [`Server::handle_connection`].

mod admission;
mod bodies;
mod builder;
mod client;
mod driver;
mod error;
mod handle;
mod handshake;
mod lent;
mod observe;
mod places;
mod reader;
mod reading;
mod registration;
mod registry;
mod response;
mod run;
mod serve;
mod session;
mod shared;
mod task;

pub use self::builder::{Server, ServerBuilder};
pub use self::error::{ErrorCoder, TaskError, TaskFunctionError};
pub use self::handle::ClientHandle;
pub use self::handshake::{ConnectionOptions, Handshake, HandshakeError, NoHandshake};
pub use self::observe::{ObservedTask, Observer};
pub use self::reader::MessageReader;
pub use self::registration::{Execution, RegisterError, Registration, RegistrationView};
pub use self::response::Response;
pub use self::serve::{ClosedConnection, DrainReport, Serving};
pub use self::task::{Request, Task, TaskContext, TaskFunction};
pub use crate::proto::{
    CancelCause, ConnectionReport, EndReason, InterruptedTask, Limits, OnCancel, OnHalfClose,
    ProtocolError, RequestCounts, StuckTask, TaskEnding, TaskMetadata, TaskState, Timeouts,
};

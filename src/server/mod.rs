//! The server.

pub use crate::proto::{Limits, Timeouts};

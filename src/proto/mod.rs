//! What the rules decide: the bookkeeping of both sides of a connection, as
//! plain state machines. Time is an argument; nothing here does I/O.
//!
//! This module is public for the project's own property tests; it is not part
//! of the stable interface.

mod calls;
mod limits;
mod timeouts;

pub use calls::{
    CallOutcome, CallSettings, Calls, ClientTimeouts, Expired, Finished, LostCall, Negotiation,
    NewCall, ProtocolViolation, RequestMessage, ResponseMode, StartError, Started,
};
pub use limits::Limits;
pub use timeouts::Timeouts;

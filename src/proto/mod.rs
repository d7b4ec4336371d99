//! What the rules decide: the bookkeeping of both sides of a connection, as
//! plain state machines. Time is an argument; nothing here does I/O.
//!
//! This module is public for the project's own property tests; it is not part
//! of the stable interface.

mod calls;
mod connection;
mod disconnect;
mod ledger;
mod limits;
mod outbox;
mod pace;
mod report;
mod timeouts;

pub use calls::{
    CallOutcome, CallSettings, Calls, ClientTimeouts, Expired, Finished, LostCall, Negotiation,
    NewCall, ProtocolViolation, RequestMessage, ResponseMode, StartError, Started,
};
pub use connection::{
    Action, Admission, BodyStep, Connection, Delivery, ErrorAnswer, ErrorAnswers, Flush, Found,
    Input, OnHalfClose, Outcome, PauseReason, ReadOutcome, Reading, Retired, Settings,
    TaskFinished, Watching,
};
pub use disconnect::{Disconnect, Phase};
pub use ledger::{
    AlarmStep, CancelCause, CancelStep, FunctionKind, Ledger, NO_TAG, OnCancel, OrphanStep, Policy,
    Removed, TaskKey, TaskMetadata, TaskState,
};
pub use limits::Limits;
pub(crate) use limits::limit_words;
pub use outbox::{Outbox, Taken, Terminal};
pub use pace::{Credit, Exhausted, Pace};
pub use report::{
    ConnectionReport, EndReason, InterruptedTask, ProtocolError, RequestCounts, StuckTask,
    TaskEnding,
};
pub use timeouts::Timeouts;

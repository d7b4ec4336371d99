//! What the server's registry and places say to each header (PROTOCOL T4, L6, L16).

use std::time::Duration;

use crate::proto::ledger::Policy;
use crate::wire::TaskCode;

/// What the server's registry says of a task code; asked at each header.
pub trait Admission<T> {
    /// What is registered under `code`.
    fn find(&mut self, code: TaskCode) -> Option<Found>;
    /// Takes the server's places for a task that was found under `code`, for which
    /// nothing but `task` is kept yet.
    ///
    /// # Errors
    /// The rule by which there is none: L6, L16, or N9 for the registration's
    /// own limit. Nothing has been taken then.
    fn take_places(&mut self, code: TaskCode, task: &T) -> Result<(), &'static str>;
    /// The longest message that any registration takes, in bytes (E3).
    fn largest_message(&self) -> usize;
}

/// A registration, as the connection needs it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// How its run function ends.
    pub policy: Policy,
    /// How long from the start of the run function to the beginning of the
    /// response (T12).
    pub run_limit: Option<Duration>,
    /// L4 for its message.
    pub message_limit_bytes: usize,
    /// How its message is delivered.
    pub delivery: Delivery,
}

/// How a message reaches the server's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, once it has come.
    Whole,
    /// As it arrives, to a task function.
    Streamed,
}

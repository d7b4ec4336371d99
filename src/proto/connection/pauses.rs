//! When reading pauses, and for which limit (PROTOCOL L5, L7, L12, L16, T2).

use super::current::{Current, Returned};
use super::reading::READER_BUFFER;
use super::{Connection, PauseReason};

impl<T> Connection<T> {
    /// The limit for which one more task has no place on this connection.
    pub(super) fn missing_place(&self) -> Option<&'static str> {
        let limits = &self.settings.limits;
        if self.ledger.places() >= limits.in_flight_limit.max(1) {
            return Some("L5");
        }
        // PROTOCOL L16
        (self.ledger.held_bytes() >= limits.held_limit_bytes.max(1)).then_some("L16")
    }

    pub(super) fn output_is_full(&self) -> bool {
        self.server_full || self.outbox.unsent() >= self.settings.limits.unsent_limit_bytes.max(1)
    }

    /// The server's own L7 is reached, or no longer; or what the server keeps
    /// beside its output has to be taken first.
    pub fn set_server_full(&mut self, full: bool) {
        self.server_full = full;
    }

    pub(super) fn pause_reason(&self) -> Option<PauseReason> {
        if self.output_is_full() {
            return Some(PauseReason::Unsent);
        }
        match &self.current {
            Current::Held(..) if self.missing_place().is_some() => Some(PauseReason::Places),
            // PROTOCOL T2: the next request is looked at once the task function is done.
            Current::Task(task) if task.ended => Some(PauseReason::TaskFunction),
            Current::Task(task)
                if task.returned == Returned::NotYet && self.untaken >= READER_BUFFER =>
            {
                Some(PauseReason::TaskFunction)
            }
            _ => None,
        }
    }
}

//! What callers want: a call started, given up, cancelled; and the end.

use std::time::Instant;

use super::table::{CancelState, Entry, Owner, RequestState};
use super::{Calls, Finished, LostCall, NewCall, RequestMessage, StartError, Started, State};
use crate::canary::{Canary, planted};
use crate::wire::TaskId;

impl<T> Calls<T> {
    /// Takes up a call; its request is put out in its turn.
    ///
    /// # Errors
    /// [`StartError`], with the call: nothing has changed.
    pub fn start(
        &mut self,
        call: NewCall<T>,
        now: Instant,
    ) -> Result<TaskId, (StartError, NewCall<T>)> {
        if self.places() == 0 {
            return Err((StartError::NoPlace, call));
        }
        if let RequestMessage::Whole(message) = &call.message {
            let (length_bytes, limit_bytes) = (message.len() as u64, self.message_limit_bytes());
            // PROTOCOL C7: a longer message fails at once, unsent.
            if length_bytes > limit_bytes {
                let error = StartError::TooLong {
                    length_bytes,
                    limit_bytes,
                };
                return Err((error, call));
            }
        }
        let id = match call.id {
            Some(id) if self.table.slot(id).is_some() => {
                return Err((StartError::IdInUse { id }, call));
            }
            Some(id) => id,
            None => self.free_id(),
        };
        let slot = self.insert(
            id,
            call.code,
            Owner::Caller(call.context),
            call.message,
            (call.response, call.response_timeout),
            now,
        );
        self.outgoing.queue(slot);
        self.callers += 1;
        self.clocks.used();
        self.check_invariants();
        Ok(id)
    }

    /// The caller waits no longer (PROTOCOL C5): a request not begun is never
    /// sent; otherwise it is wholly sent, cancelled by E2 where the server
    /// knows that, and its response is discarded. `None`: it is not pending.
    pub fn give_up(&mut self, id: TaskId, now: Instant) -> Option<T> {
        let slot = self.table.slot(id)?;
        let context = self.disown(slot, now)?;
        let entry = self.table.get(slot)?;
        let was_sent = !matches!(entry.request, RequestState::Queued(_));
        if !was_sent || planted(Canary::GivenUpIdReused) {
            self.outgoing.forget(slot);
            self.table.remove(slot);
        } else {
            self.ask_cancel(slot);
        }
        self.check_invariants();
        Some(context)
    }

    /// Asks the server to cancel, and goes on waiting for what it answers.
    /// Where it cannot be asked, the call is given up and what was kept for it
    /// comes back, with whether the task may have run.
    pub fn cancel(&mut self, id: TaskId, now: Instant) -> Option<(T, Started)> {
        let slot = self.table.slot(id)?;
        let begun = !matches!(self.table.get(slot)?.request, RequestState::Queued(_));
        if begun && self.can_cancel() {
            self.ask_cancel(slot);
            return None;
        }
        // What has begun is sent to its end (PROTOCOL C5), and may run yet.
        let started = if begun { Started::Perhaps } else { Started::No };
        Some((self.give_up(id, now)?, started))
    }

    /// The response that is being read is discarded from here on (PROTOCOL C8).
    pub fn discard_response(&mut self, id: TaskId, now: Instant) -> Option<T> {
        let slot = self.table.slot(id)?;
        self.disown(slot, now)
    }

    /// Ends the connection: its calls, in the order of their starts, and
    /// whether each may have run (PROTOCOL C3).
    pub fn into_lost(mut self) -> Vec<LostCall<T>> {
        let taken = self.outgoing.taken();
        let lost = |entry: Entry<T>| {
            let started = entry.started(taken);
            match entry.owner {
                Owner::Caller(context) => Some(LostCall {
                    id: entry.id,
                    context,
                    started,
                }),
                Owner::GivenUp | Owner::KeepAlive | Owner::Negotiate => None,
            }
        };
        self.table.drain().into_iter().filter_map(lost).collect()
    }

    /// The next call that has ended.
    pub fn poll_finished(&mut self) -> Option<Finished<T>> {
        self.finished.pop_front()
    }

    fn can_cancel(&self) -> bool {
        self.negotiated().is_some() && self.state == State::Open
    }

    /// Sees to it that E2 is sent, once, behind the end of the message (PROTOCOL C5).
    fn ask_cancel(&mut self, slot: usize) {
        if !self.can_cancel() {
            return;
        }
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        if entry.cancel != CancelState::NotAsked {
            return;
        }
        match entry.request {
            RequestState::Queued(_) => {}
            RequestState::Sending { .. } => entry.cancel = CancelState::WhenPutOut,
            RequestState::PutOut { .. } => {
                entry.cancel = CancelState::Asked;
                self.outgoing.queue_cancel(entry.id);
            }
        }
    }
}

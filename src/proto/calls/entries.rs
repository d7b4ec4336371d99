//! A live request's beginning and end: its id, its caller, its outcome (PROTOCOL N7).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::table::{CancelState, Entry, Owner, RequestState};
use super::{CallOutcome, Calls, Finished, RequestMessage, ResponseMode, Started};
use crate::wire::{Features, Negotiate, TaskCode, TaskId};

impl<T> Calls<T> {
    pub(super) fn start_negotiate(&mut self, now: Instant) {
        let mut message = BytesMut::new();
        let asked = Negotiate {
            version: crate::wire::NEGOTIATE_VERSION,
            features: Features::SUPPORTED,
        };
        asked.encode(self.settings.byte_order, &mut message);
        self.start_own(TaskCode::NEGOTIATE, Owner::Negotiate, message.freeze(), now);
    }

    /// Starts a request of the connection's own, to go out before any call's.
    pub(super) fn start_own(
        &mut self,
        code: TaskCode,
        owner: Owner<T>,
        message: Bytes,
        now: Instant,
    ) {
        let id = self.free_id();
        let whole = RequestMessage::Whole(message);
        let response = (ResponseMode::Whole, self.settings.timeouts.response);
        if code == TaskCode::KEEP_ALIVE {
            self.keep_alive = Some(id);
        }
        let slot = self.insert(id, code, owner, whole, response, now);
        self.outgoing.queue_first(slot);
    }

    pub(super) fn insert(
        &mut self,
        id: TaskId,
        code: TaskCode,
        owner: Owner<T>,
        message: RequestMessage,
        (response, response_timeout): (ResponseMode, Duration),
        now: Instant,
    ) -> usize {
        let deadline = now.checked_add(response_timeout);
        self.clocks.expect_response(deadline);
        self.started += 1;
        self.table.insert(Entry {
            id,
            code,
            owner,
            request: RequestState::Queued(message),
            response,
            cancel: CancelState::NotAsked,
            started_as: self.started,
            response_timeout,
            deadline,
        })
    }

    /// Ids go up, so that a late second response meets no new task (PROTOCOL N7, C1).
    pub(super) fn free_id(&mut self) -> TaskId {
        loop {
            let id = TaskId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if self.table.slot(id).is_none() {
                return id;
            }
        }
    }

    /// Takes the caller off an entry, whose response is discarded from then on.
    pub(super) fn disown(&mut self, slot: usize, now: Instant) -> Option<T> {
        let entry = self.table.get_mut(slot)?;
        if !matches!(entry.owner, Owner::Caller(_)) {
            return None;
        }
        let Owner::Caller(context) = std::mem::replace(&mut entry.owner, Owner::GivenUp) else {
            return None;
        };
        // The clock of a streamed message runs on: it may not stay unfinished for ever.
        if !self.outgoing.is_streaming(slot) {
            entry.deadline = None;
        }
        self.incoming.discard(slot);
        self.callers -= 1;
        if self.callers == 0 {
            self.clocks.unused(now);
        }
        Some(context)
    }

    /// Takes an entry out, and tells its caller, if it has one, what became of it.
    pub(super) fn end(&mut self, slot: usize, outcome: CallOutcome, now: Instant) {
        let Some(entry) = self.table.remove(slot) else {
            return;
        };
        if entry.cancel == CancelState::Asked {
            // E2 for an id that is not live could meet the id's next task.
            self.outgoing.forget_cancel(entry.id);
        }
        if let Owner::Caller(context) = entry.owner {
            self.callers -= 1;
            if self.callers == 0 {
                self.clocks.unused(now);
            }
            self.finished.push_back(Finished {
                id: entry.id,
                context,
                outcome,
            });
        }
    }

    /// Tells the caller now; the id stays live until the response has come.
    pub(super) fn end_early(&mut self, slot: usize, outcome: CallOutcome, now: Instant) {
        let Some(id) = self.table.get(slot).map(|entry| entry.id) else {
            return;
        };
        if let Some(context) = self.disown(slot, now) {
            self.finished.push_back(Finished {
                id,
                context,
                outcome,
            });
        }
    }
}

impl<T> Entry<T> {
    pub(super) fn started(&self, taken: u64) -> Started {
        match self.request {
            RequestState::PutOut { end, .. } if end <= taken => Started::Perhaps,
            _ => Started::No,
        }
    }
}

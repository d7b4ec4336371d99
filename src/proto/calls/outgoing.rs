//! Requests on their way out: one at a time, in the order of their starts,
//! with E2 and KeepAlive between two of them.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::table::{CancelState, RequestMessage, RequestState};
use super::{Calls, StartError, State};
use crate::wire::{BlockEncoder, TaskCode, TaskId, encode_message, encode_request_header};

/// A whole message up to this length is put out in one step.
const IN_ONE_STEP: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Outgoing {
    /// Slots of the requests that have not begun.
    queue: VecDeque<usize>,
    /// Tasks to send E2 for.
    cancels: VecDeque<TaskId>,
    /// The request that has begun and has not been put out to its end.
    sending: Option<Sending>,
    /// Requests begun, of any code: what Goodbye counts (PROTOCOL E4).
    pub(super) begun: u64,
    /// Bytes given out by `poll_output`.
    put_out: u64,
    /// Of these, bytes that the transport has taken.
    taken: u64,
}

#[derive(Debug)]
struct Sending {
    slot: usize,
    encoder: BlockEncoder,
    /// Payload at hand that has not been encoded.
    piece: Bytes,
    source: Source,
    /// Payload bytes so far, against the server's limit.
    length_bytes: u64,
}

/// Whether a message has more payload than its piece at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It is streamed, and its end has not come.
    Streaming,
    Ended,
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            cancels: VecDeque::new(),
            sending: None,
            begun: 0,
            put_out: 0,
            taken: 0,
        }
    }

    pub(super) fn queue(&mut self, slot: usize) {
        self.queue.push_back(slot);
    }

    pub(super) fn queue_first(&mut self, slot: usize) {
        self.queue.push_front(slot);
    }

    pub(super) fn forget(&mut self, slot: usize) {
        self.queue.retain(|&queued| queued != slot);
    }

    pub(super) fn queue_cancel(&mut self, id: TaskId) {
        self.cancels.push_back(id);
    }

    pub(super) fn forget_cancel(&mut self, id: TaskId) {
        self.cancels.retain(|&queued| queued != id);
    }

    pub(super) fn is_streaming(&self, slot: usize) -> bool {
        self.sending
            .as_ref()
            .is_some_and(|sending| sending.slot == slot && sending.source == Source::Streaming)
    }

    /// Whether nothing is to be put out, and all that was has been taken.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.cancels.is_empty()
            && self.sending.is_none()
            && !self.has_untaken()
    }

    pub(super) const fn has_untaken(&self) -> bool {
        self.put_out > self.taken
    }

    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) const fn put_out(&self) -> u64 {
        self.put_out
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Nothing more goes out (PROTOCOL C2); the transport may still take what is out.
    pub(super) fn stop(&mut self) {
        self.queue.clear();
        self.cancels.clear();
        self.sending = None;
    }
}

impl<T> Calls<T> {
    /// Appends what is to be sent next to `into` until that holds about
    /// `at_most` bytes. The write clock starts if it stood still.
    pub fn poll_output(&mut self, into: &mut BytesMut, at_most: usize, now: Instant) {
        if self.state == State::Draining {
            return;
        }
        let had = into.len();
        let idle_before = !self.outgoing.has_untaken();
        while into.len() < at_most {
            let before = into.len();
            let go_on = self.put_out_step(into, at_most, now);
            self.outgoing.put_out += (into.len() - before) as u64;
            self.mark_put_out(now);
            if !go_on {
                break;
            }
        }
        if idle_before && into.len() > had {
            self.clocks.output_appeared(now);
        }
        self.check_invariants();
    }

    /// One step of the output: part of a message, or the beginning of a
    /// request. `false`: nothing more is at hand.
    fn put_out_step(&mut self, into: &mut BytesMut, at_most: usize, now: Instant) -> bool {
        if let Some(sending) = &mut self.outgoing.sending {
            if sending.piece.is_empty() && sending.source == Source::Streaming {
                return false;
            }
            let take = sending.piece.len().min(at_most - into.len());
            sending.encoder.push(&sending.piece[..take], into);
            sending.piece.advance(take);
            let slot = sending.slot;
            if sending.piece.is_empty() && sending.source == Source::Ended {
                sending.encoder.finish(into);
            }
            if let Some(entry) = self.table.get_mut(slot)
                && take > 0
            {
                entry.deadline = now.checked_add(entry.response_timeout);
            }
            return true;
        }
        // Nothing follows Negotiate until it is answered (PROTOCOL C6), and E2 is
        // never queued before.
        if let Some(id) = self.outgoing.cancels.pop_front() {
            self.outgoing.begun += 1;
            let order = self.settings.byte_order;
            encode_request_header(TaskCode::CANCEL, id, order, into);
            encode_message(&[], into);
            return true;
        }
        let Some(slot) = self.outgoing.queue.pop_front() else {
            return false;
        };
        self.begin_request(slot, into, now);
        true
    }

    fn begin_request(&mut self, slot: usize, into: &mut BytesMut, now: Instant) {
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        let sequence = self.outgoing.begun;
        self.outgoing.begun += 1;
        let before = into.len();
        encode_request_header(entry.code, entry.id, self.settings.byte_order, into);
        let begun = RequestState::Sending { sequence };
        let RequestState::Queued(message) = std::mem::replace(&mut entry.request, begun) else {
            return;
        };
        let (piece, source) = match message {
            RequestMessage::Whole(payload) if payload.len() <= IN_ONE_STEP => {
                encode_message(&payload, into);
                let end = self.outgoing.put_out + (into.len() - before) as u64;
                entry.request = RequestState::PutOut { sequence, end };
                return entry.restart_clock(now);
            }
            RequestMessage::Whole(payload) => (payload, Source::Ended),
            RequestMessage::Streamed => (Bytes::new(), Source::Streaming),
        };
        self.outgoing.sending = Some(Sending {
            slot,
            encoder: BlockEncoder::new(),
            source,
            length_bytes: 0,
            piece,
        });
    }

    /// Notes that the request being sent has been put out to its end, if so.
    fn mark_put_out(&mut self, now: Instant) {
        let ended =
            |sending: &mut Sending| sending.piece.is_empty() && sending.source == Source::Ended;
        let Some(sending) = self.outgoing.sending.take_if(ended) else {
            return;
        };
        let end = self.outgoing.put_out;
        let Some(entry) = self.table.get_mut(sending.slot) else {
            return;
        };
        if let RequestState::Sending { sequence } = entry.request {
            entry.request = RequestState::PutOut { sequence, end };
        }
        entry.restart_clock(now);
        match entry.cancel {
            CancelState::WhenPutOut => {
                entry.cancel = CancelState::Asked;
                self.outgoing.cancels.push_back(entry.id);
            }
            CancelState::NotAsked | CancelState::Asked => {}
        }
        if matches!(entry.owner, super::Owner::GivenUp) {
            entry.deadline = None;
        }
    }

    /// Whether a request waits for `poll_output`.
    #[must_use]
    pub fn has_queued_output(&self) -> bool {
        !self.outgoing.queue.is_empty() || !self.outgoing.cancels.is_empty()
    }

    /// The task whose streamed message must go on before anything else can be sent.
    #[must_use]
    pub fn wanted_piece(&self) -> Option<TaskId> {
        let sending = self.outgoing.sending.as_ref()?;
        let wanted = sending.source == Source::Streaming && sending.piece.is_empty();
        let entry = self.table.get(sending.slot)?;
        wanted.then_some(entry.id)
    }

    /// Goes on with the message that [`Calls::wanted_piece`] named.
    ///
    /// # Errors
    /// [`StartError::TooLong`]: the message is longer than the server takes. It
    /// cannot be ended early, so the connection must be given up (PROTOCOL C5).
    pub fn push_piece(&mut self, piece: Bytes) -> Result<(), StartError> {
        let limit_bytes = self.message_limit_bytes();
        let Some(sending) = &mut self.outgoing.sending else {
            return Ok(());
        };
        debug_assert!(sending.piece.is_empty() && sending.source == Source::Streaming);
        let length_bytes = sending.length_bytes + piece.len() as u64;
        if length_bytes > limit_bytes {
            return Err(StartError::TooLong {
                length_bytes,
                limit_bytes,
            });
        }
        sending.length_bytes = length_bytes;
        sending.piece = piece;
        Ok(())
    }

    /// Ends the message that [`Calls::wanted_piece`] named.
    pub fn end_message(&mut self) {
        if let Some(sending) = &mut self.outgoing.sending {
            sending.source = Source::Ended;
        }
    }

    /// The transport has taken `bytes` more of the output.
    pub fn handle_written(&mut self, bytes: usize, now: Instant) {
        self.outgoing.taken += bytes as u64;
        self.clocks.moved(now);
        self.check_invariants();
    }
}

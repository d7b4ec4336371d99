//! Responses: whose they are, and what ends with them (PROTOCOL C1, C2, C6).

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::table::{Owner, RequestState, ResponseMode};
use super::{CallOutcome, Calls, ProtocolViolation, Server, State};
use crate::wire::{
    ByteOrder, ErrorCode, Features, Negotiated, Response, ResponseDecoder, ResponsePart, TaskId,
    WholeMessage,
};

/// Bytes that are kept of an answer to Negotiate; what follows its layout is ignored (E3).
const NEGOTIATED_KEPT_BYTES: usize = Negotiated::LENGTH;

#[derive(Debug)]
pub(super) struct Incoming {
    decoder: ResponseDecoder,
    /// The result whose message is being read; responses do not interleave (PROTOCOL N8).
    current: Option<Receiving>,
}

#[derive(Debug)]
struct Receiving {
    slot: usize,
    body: Body,
}

/// What is done with the message of a result.
#[derive(Debug)]
enum Body {
    /// It is handed over whole at its end.
    Whole(Vec<u8>),
    /// This much of it waits for `take_piece`.
    Pieces(BytesMut),
    Negotiated(Vec<u8>),
    Discarded,
}

impl Incoming {
    pub(super) const fn new(order: ByteOrder) -> Self {
        Self {
            decoder: ResponseDecoder::new(order),
            current: None,
        }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.decoder.offset() > 0
    }

    /// Discards the rest of the message being read, if it is this slot's.
    pub(super) fn discard(&mut self, slot: usize) {
        if let Some(current) = &mut self.current
            && current.slot == slot
        {
            current.body = Body::Discarded;
        }
    }
}

impl<T> Calls<T> {
    /// Takes bytes from the server, cut anywhere.
    ///
    /// # Errors
    /// [`ProtocolViolation`]: the connection must be closed; its calls are to
    /// be had from [`Calls::into_lost`], and fail with the violation.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolViolation> {
        self.clocks.moved(now);
        let mut at = 0;
        while let Some(part) = self.incoming.decoder.next(input, &mut at)? {
            match part {
                ResponsePart::Response(response) => {
                    self.handle_response(response, input, &mut at, now)?;
                }
                ResponsePart::Payload(range) => self.handle_payload(&input[range], now),
                ResponsePart::End => self.handle_message_end(now),
            }
        }
        // What has come of a response is a sign of it (PROTOCOL C4).
        if let Some(current) = &self.incoming.current
            && let Some(entry) = self.table.get_mut(current.slot)
        {
            entry.restart_clock(now);
        }
        self.check_invariants();
        Ok(())
    }

    /// What has come of a streamed response that has not ended.
    pub fn take_piece(&mut self) -> Option<(TaskId, &mut T, Bytes)> {
        let current = self.incoming.current.as_mut()?;
        let Body::Pieces(piece) = &mut current.body else {
            return None;
        };
        if piece.is_empty() {
            return None;
        }
        let piece = std::mem::take(piece).freeze();
        let entry = self.table.get_mut(current.slot)?;
        match &mut entry.owner {
            Owner::Caller(context) => Some((entry.id, context, piece)),
            _ => None,
        }
    }

    fn handle_response(
        &mut self,
        response: Response,
        input: &[u8],
        at: &mut usize,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        match response {
            Response::Ok(id) => {
                let slot = self.awaited(id)?;
                let body = self.body_for(slot);
                if matches!(body, Body::Whole(_))
                    && let Some(message) = WholeMessage::find(input, *at)
                    && message.payload_len <= self.settings.response_limit_bytes
                {
                    *at = message.encoded.end;
                    self.incoming.decoder.skip_message(message.encoded.len());
                    self.end(slot, CallOutcome::Ok(message.payload(input)), now);
                } else {
                    self.incoming.current = Some(Receiving { slot, body });
                }
            }
            Response::Error(id, code) => {
                let slot = self.awaited(id)?;
                self.handle_error(slot, code, now);
            }
            Response::Processing(id) => {
                if !self.granted(Features::PROCESSING) {
                    let extension = "Processing";
                    return Err(ProtocolViolation::NotGranted { extension });
                }
                let slot = self.awaited(id)?;
                if let Some(entry) = self.table.get_mut(slot) {
                    entry.restart_clock(now);
                }
            }
            Response::Goodbye { accepted } => self.handle_goodbye(accepted, now)?,
        }
        Ok(())
    }

    /// The live request that a response is for (PROTOCOL C1).
    fn awaited(&self, id: TaskId) -> Result<usize, ProtocolViolation> {
        let slot = self.table.slot(id);
        let entry = slot.and_then(|slot| self.table.get(slot));
        match (slot, entry.map(|entry| &entry.request)) {
            (Some(slot), Some(RequestState::PutOut { end, .. }))
                if *end <= self.outgoing.taken() =>
            {
                Ok(slot)
            }
            // No response is queued before the request's end has been looked at (PROTOCOL T5).
            (_, Some(RequestState::Sending { .. } | RequestState::PutOut { .. })) => {
                Err(ProtocolViolation::TooEarly { id })
            }
            _ => {
                let offset = self.incoming.decoder.offset();
                Err(ProtocolViolation::NotLive { id, offset })
            }
        }
    }

    fn body_for(&self, slot: usize) -> Body {
        let Some(entry) = self.table.get(slot) else {
            return Body::Discarded;
        };
        match (&entry.owner, entry.response) {
            (Owner::Negotiate, _) => Body::Negotiated(Vec::new()),
            (Owner::Caller(_), ResponseMode::Whole) => Body::Whole(Vec::new()),
            (Owner::Caller(_), ResponseMode::Streamed) => Body::Pieces(BytesMut::new()),
            (Owner::GivenUp | Owner::KeepAlive, _) => Body::Discarded,
        }
    }

    fn handle_payload(&mut self, payload: &[u8], now: Instant) {
        let limit = self.settings.response_limit_bytes;
        let Some(current) = &mut self.incoming.current else {
            return;
        };
        match &mut current.body {
            Body::Whole(message) if message.len() + payload.len() > limit => {
                // PROTOCOL C8: the rest is discarded.
                let outcome = CallOutcome::TooLong {
                    length_bytes: (message.len() + payload.len()) as u64,
                    limit_bytes: limit as u64,
                };
                let slot = current.slot;
                self.end_early(slot, outcome, now);
            }
            Body::Whole(message) => message.extend_from_slice(payload),
            Body::Pieces(piece) => piece.extend_from_slice(payload),
            Body::Negotiated(message) => {
                let room = NEGOTIATED_KEPT_BYTES - message.len();
                message.extend_from_slice(&payload[..payload.len().min(room)]);
            }
            Body::Discarded => {}
        }
    }

    fn handle_message_end(&mut self, now: Instant) {
        let Some(Receiving { slot, body }) = self.incoming.current.take() else {
            return;
        };
        let message = match body {
            Body::Whole(message) => message.into(),
            Body::Pieces(piece) => piece.freeze(),
            Body::Negotiated(message) => return self.handle_negotiated(slot, &message, now),
            Body::Discarded => Bytes::new(),
        };
        self.end(slot, CallOutcome::Ok(message), now);
    }

    fn handle_error(&mut self, slot: usize, code: ErrorCode, now: Instant) {
        let own = self.table.get(slot).map(|entry| &entry.owner);
        if matches!(own, Some(Owner::Negotiate)) {
            // PROTOCOL C6: a base server, whatever its word for "unknown task" is.
            self.state = State::Open;
        }
        self.end(slot, CallOutcome::Error(code), now);
    }

    fn handle_negotiated(&mut self, slot: usize, message: &[u8], now: Instant) {
        if let Ok(mut negotiated) = Negotiated::decode(message, self.settings.byte_order) {
            negotiated.granted = negotiated.granted.intersection(Features::SUPPORTED);
            self.server = Server::Negotiated(negotiated);
        }
        self.state = State::Open;
        self.end(slot, CallOutcome::Ok(Bytes::new()), now);
    }

    /// PROTOCOL C2: what the server did not take was never started.
    fn handle_goodbye(&mut self, accepted: u32, now: Instant) -> Result<(), ProtocolViolation> {
        if !self.granted(Features::GOODBYE) {
            let extension = "Goodbye";
            return Err(ProtocolViolation::NotGranted { extension });
        }
        if self.state == State::Draining {
            // It said so already; there is nothing left that this could change.
            return Ok(());
        }
        let sent = self.outgoing.begun();
        // The count is modulo 2³²: of the numbers up to `sent`, the greatest that fits.
        let not_accepted = u64::from((sent as u32).wrapping_sub(accepted));
        let Some(accepted_in_all) = sent.checked_sub(not_accepted) else {
            return Err(ProtocolViolation::AcceptedTooMany { accepted, sent });
        };
        self.state = State::Draining;
        self.outgoing.stop();
        let was_accepted = |request: &RequestState| match request {
            RequestState::PutOut { sequence, .. } => *sequence < accepted_in_all,
            RequestState::Queued(_) | RequestState::Sending { .. } => false,
        };
        let mut refused: Vec<_> = self
            .table
            .iter()
            .filter(|(_, entry)| !was_accepted(&entry.request))
            .map(|(slot, entry)| (entry.started_as, slot))
            .collect();
        refused.sort_unstable();
        for (_, slot) in refused {
            self.end(slot, CallOutcome::NotAccepted { accepted }, now);
        }
        Ok(())
    }
}

//! The message that is being read: its payload, its limit, its end (PROTOCOL T2,
//! T3, L4).

use std::ops::Range;
use std::time::Instant;

use super::current::{After, Current, Receiving, Returned};
use super::parts::Parts;
use super::{Action, Connection, Delivery, Input};
use crate::proto::ledger::TaskKey;
use crate::proto::report::EndReason;
use crate::wire::{RequestDecoder, RequestHeader};

impl Receiving {
    /// Takes what has come of its message, as far as it may; returns whether that is
    /// too long (L4).
    fn collect(
        &mut self,
        first: Range<usize>,
        (buffer, at): (&[u8], &mut usize),
        decoder: &mut RequestDecoder,
        parts: &mut Parts,
        untaken: usize,
    ) -> bool {
        // What a task function left unread is discarded (T2).
        let keeps = self.returned == Returned::NotYet;
        if keeps {
            // Room for all that has come of it at once, not block by block.
            let come = first.len() + decoder.payload_ahead(buffer, *at);
            parts.reserve(come.min(self.room(parts.len())));
        }
        let mut payload = first;
        loop {
            self.payload_len += payload.len();
            if keeps {
                parts.extend(&buffer[payload]);
            }
            let announced = self.payload_len + decoder.announced();
            if announced > self.limit_bytes {
                return true;
            }
            let waiting = parts.len() + untaken;
            if self.is_full(waiting) {
                return false;
            }
            // No more than leaves it neither too long nor full.
            let most = (self.limit_bytes - announced).min(self.room(waiting).saturating_sub(1));
            for block in decoder.next_full_blocks(buffer, at, most) {
                self.payload_len += block.len();
                if keeps {
                    parts.extend(block);
                }
            }
            match decoder.next_payload(buffer, at) {
                Some(more) => payload = more,
                None => return false,
            }
        }
    }
}

impl<T> Connection<T> {
    /// Takes what comes of the payload, for as long as the message goes on in the
    /// buffer, and neither L4 nor what a task function may leave untaken is reached.
    pub(super) fn handle_payload(
        &mut self,
        first: Range<usize>,
        buffer: &[u8],
        at: &mut usize,
        now: Instant,
    ) {
        // A block that is announced counts at once: its bytes need not be waited for.
        let (header, limit_bytes, is_too_long) = match &mut self.current {
            Current::Discarding(request) => {
                let payload = &buffer[first];
                if let After::Negotiate { prefix, length } = &mut request.after {
                    let take = payload.len().min(prefix.len() - *length);
                    prefix[*length..*length + take].copy_from_slice(&payload[..take]);
                    *length += take;
                }
                request.payload_len += payload.len();
                let announced = request.payload_len + self.decoder.announced();
                let is_too_long = announced > request.limit_bytes;
                (request.header, request.limit_bytes, is_too_long)
            }
            Current::Task(task) => {
                let before = *at;
                let is_too_long = task.collect(
                    first,
                    (buffer, at),
                    &mut self.decoder,
                    &mut self.parts,
                    self.untaken,
                );
                self.newly_read += *at - before;
                (task.header, task.limit_bytes, is_too_long)
            }
            Current::Between | Current::Held(..) => return,
        };
        if is_too_long {
            let RequestHeader { code, id } = header;
            let reason = EndReason::MessageTooLong {
                id,
                code,
                limit_bytes,
            };
            self.actions.push(Action::LimitReached("L4"));
            self.fail(reason, now);
        }
    }

    /// The zero byte that ends a task's message has been looked at.
    pub(super) fn finish_message(&mut self, mut task: Receiving, now: Instant) -> Input {
        self.accept(task.key, task.header, now);
        task.ended = true;
        if task.delivery == Delivery::Whole {
            let payload = self.parts.take_whole(now);
            self.ledger.hold(task.key, payload.len());
            if let Some(cause) = self.start(task.key, task.run_limit, now) {
                self.answer_own_error(task.key, cause.error_code(), now);
                return Input::Handled;
            }
            return Input::Message {
                key: task.key,
                header: task.header,
                payload,
            };
        }
        if self.parts.is_empty() {
            let start = self.conclude_reading(task, now);
            return Input::End { start };
        }
        let payload = self.parts.take();
        self.current = Current::Task(task);
        Input::Payload { payload }
    }

    fn accept(&mut self, key: TaskKey, header: RequestHeader, now: Instant) {
        self.count_accepted(header);
        self.ledger.accept(key, now);
    }
}

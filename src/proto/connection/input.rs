//! What comes from the client, request by request (PROTOCOL N3–N7, T3–T5, T11,
//! L4–L6, L16).

use std::time::Instant;

use super::current::{After, Current, Held, Receiving, Returned};
use super::{Action, Admission, Connection, Delivery, Found, Input};
use crate::canary::{Canary, planted};
use crate::proto::disconnect::Phase;
use crate::proto::report::ProtocolError;
use crate::wire::{
    ErrorCode, Negotiate, RequestHeader, RequestPart, TaskCode, TaskId, WholeMessage,
};

impl<T: Default> Connection<T> {
    /// Looks at `buffer[*at..]` and moves `at` behind what was looked at.
    /// `None`: more bytes are wanted, reading is paused, or everything is
    /// discarded from now on. An error of the client's ends the connection:
    /// the phase says so.
    pub fn handle_input(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
    ) -> Option<Input> {
        let mut input = Input::Handled;
        let found = self.look_at_input(buffer, at, admission, now, &mut input);
        found.then_some(input)
    }

    /// The same into a place of the caller's, unless nothing was found.
    #[inline]
    pub fn look_at_input(
        &mut self,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
        into: &mut Input,
    ) -> bool {
        // While this runs, `offset + at` is the place in the stream.
        self.offset = self.offset.wrapping_sub(*at as u64);
        let found = loop {
            if self.phase() != Phase::Open {
                *at = buffer.len();
                break false;
            }
            if self.pause_reason().is_some() {
                break false;
            }
            if let Current::Held(..) = self.current {
                let Current::Held(held) = std::mem::replace(&mut self.current, Current::Between)
                else {
                    break false;
                };
                if self.admit(*held, buffer, at, admission, now, into) {
                    break true;
                }
                continue;
            }
            let before = *at;
            let part = self.decoder.next(buffer, at);
            if self.decoder.is_in_message() {
                self.newly_read += *at - before;
            }
            let Some(part) = part else {
                break leave(self.deliver_chunk(), into);
            };
            if self.handle_part(part, buffer, at, admission, now, into) {
                break true;
            }
        };
        self.offset = self.offset.wrapping_add(*at as u64);
        self.check_invariants();
        found
    }

    /// Counts bytes that the transport gave, whatever becomes of them.
    pub fn handle_read(&mut self, bytes: usize) {
        self.bytes_read += bytes as u64;
    }

    /// Inlined, with what it calls for a header: what they hand on would be copied
    /// just after it was written, which takes longer than all that they do.
    #[inline(always)]
    fn handle_part(
        &mut self,
        part: RequestPart,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
        into: &mut Input,
    ) -> bool {
        match part {
            RequestPart::Header(header) => {
                self.newly_read = 0;
                self.read_afresh = true;
                self.pace.stop_reading();
                self.handle_header(header, buffer, at, admission, now, into)
            }
            RequestPart::Payload(range) => {
                self.handle_payload(range, buffer, at, now);
                if self.phase() == Phase::Open && self.chunk_is_full() {
                    return leave(self.deliver_chunk(), into);
                }
                false
            }
            RequestPart::End => {
                *into = match std::mem::replace(&mut self.current, Current::Between) {
                    Current::Discarding(request) => {
                        self.finish_discarded(request, admission, now);
                        Input::Handled
                    }
                    Current::Task(task) => self.finish_message(task, now),
                    Current::Between | Current::Held(..) => return false,
                };
                true
            }
        }
    }

    #[inline(always)]
    fn handle_header(
        &mut self,
        header: RequestHeader,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
        into: &mut Input,
    ) -> bool {
        let RequestHeader { code, id } = header;
        if code == TaskCode::CANCEL {
            self.discard(header, After::Cancel);
            return false;
        }
        // PROTOCOL T11: judged before any pause, for every code but Cancel.
        if self.is_live(id, code) {
            let offset = self.offset.wrapping_add(*at as u64).wrapping_sub(5);
            let error = ProtocolError::DuplicateTaskId { id, code, offset };
            self.fail(error.into(), now);
            return false;
        }
        let missing = self.missing_place();
        if missing.is_none()
            && !code.is_reserved()
            && let Some(found) = admission.find(code)
        {
            return self.admit(Held::new(header, found), buffer, at, admission, now, into);
        }
        self.handle_rare_header(header, missing, admission);
        false
    }

    /// A header that has to wait for its place, or that begins no task.
    #[cold]
    fn handle_rare_header(
        &mut self,
        header: RequestHeader,
        missing: Option<&'static str>,
        admission: &mut impl Admission<T>,
    ) {
        if let Some(rule) = missing
            && !header.code.is_reserved()
            && let Some(found) = admission.find(header.code)
        {
            self.actions.push(Action::LimitReached(rule));
            self.current = Current::Held(Box::new(Held::new(header, found)));
            return;
        }
        let after = match header.code {
            TaskCode::KEEP_ALIVE => After::KeepAlive,
            TaskCode::NEGOTIATE => After::Negotiate {
                prefix: [0; Negotiate::LENGTH],
                length: 0,
            },
            // PROTOCOL T4, E6.
            _ => After::Error(ErrorCode::UNKNOWN_TASK),
        };
        self.discard(header, after);
    }

    fn is_live(&self, id: TaskId, code: TaskCode) -> bool {
        let live = self.ledger.find(id);
        if planted(Canary::DuplicateByCode) {
            let found = live.and_then(|key| self.ledger.identity(key));
            return found.is_some_and(|(_, of)| of == code);
        }
        live.is_some()
    }

    /// The header has its place on the connection; the server's come next. Where
    /// there are none its message is discarded; otherwise its task begins.
    #[inline(always)]
    fn admit(
        &mut self,
        Held {
            header,
            found,
            task,
        }: Held<T>,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
        into: &mut Input,
    ) -> bool {
        let Found {
            policy,
            run_limit,
            message_limit_bytes: limit_bytes,
            delivery,
        } = found;
        if let Err(rule) = admission.take_places(header.code, &task) {
            self.actions.push(Action::LimitReached(rule));
            let after = After::Error(ErrorCode::UNAVAILABLE);
            self.discard_up_to(header, after, limit_bytes);
            return false;
        }
        let RequestHeader { code, id } = header;
        let is_streamed = delivery == Delivery::Streamed;
        if !is_streamed
            && let Some(message) = WholeMessage::find(buffer, *at)
            && message.payload_len <= limit_bytes
        {
            *at = message.encoded.end;
            self.decoder.skip_message();
            let (held, limit) = (message.payload_len, run_limit);
            let ledger = &mut self.ledger;
            let key = ledger.begin_whole((id, code), policy, task, held, limit, now);
            self.count_accepted(header);
            self.note_start(header);
            *into = Input::Whole {
                key,
                header,
                message,
            };
            return true;
        }
        let key = self.ledger.begin(id, code, policy, task, now);
        self.current = Current::Task(Receiving {
            header,
            key,
            delivery,
            run_limit,
            payload_len: 0,
            limit_bytes,
            ended: false,
            returned: Returned::NotYet,
        });
        if is_streamed {
            self.untaken = 0;
            *into = Input::Begin { key, header };
        }
        is_streamed
    }
}

/// Leaves an input to the caller, if there is one.
fn leave(input: Option<Input>, into: &mut Input) -> bool {
    let Some(input) = input else {
        return false;
    };
    *into = input;
    true
}

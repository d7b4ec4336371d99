//! What comes from the client (PROTOCOL N3–N7, E1–E3, T1–T5, L4–L7, L16).

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{
    Action, Admission, After, Connection, Current, Delivery, Discarding, Found, Input, OnHalfClose,
    PauseReason, ReadOutcome, Receiving, Returned,
};
use crate::proto::disconnect::Phase;
use crate::proto::ledger::{CancelCause, TaskKey};
use crate::proto::report::{EndReason, ProtocolError};
use crate::wire::{
    ErrorCode, Features, NEGOTIATE_VERSION, Negotiate, Negotiated, RequestHeader, RequestPart,
    TaskCode, WholeMessage,
};

/// How much payload a task function may leave untaken before reading pauses,
/// and the most that is delivered at once.
const READER_BUFFER: usize = 64 << 10;

/// A value that stands for "no limit" in an answer to Negotiate (E3).
const NO_LIMIT: u32 = u32::MAX;

impl<T> Connection<T> {
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
        // While this runs, `offset + at` is the place in the stream.
        self.offset = self.offset.wrapping_sub(*at as u64);
        let input = loop {
            if self.phase() != Phase::Open {
                *at = buffer.len();
                break None;
            }
            if self.pause_reason().is_some() {
                break None;
            }
            if let Current::Held(..) = self.current {
                let Current::Held(header, found) =
                    std::mem::replace(&mut self.current, Current::Between)
                else {
                    break None;
                };
                match self.admit(header, *found, buffer, at, admission, now) {
                    Some(input) => break Some(input),
                    None => continue,
                }
            }
            let before = *at;
            let part = self.decoder.next(buffer, at);
            if self.decoder.is_in_message() {
                self.newly_read += *at - before;
            }
            let Some(part) = part else {
                break self.deliver_chunk();
            };
            if let Some(input) = self.handle_part(part, buffer, at, admission, now) {
                break Some(input);
            }
        };
        self.offset = self.offset.wrapping_add(*at as u64);
        self.check_invariants();
        input
    }

    /// Counts bytes that the transport gave, whatever becomes of them.
    pub fn handle_read(&mut self, bytes: usize) {
        self.bytes_read += bytes as u64;
    }

    fn handle_part(
        &mut self,
        part: RequestPart,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
    ) -> Option<Input> {
        match part {
            RequestPart::Header(header) => {
                self.newly_read = 0;
                self.read_afresh = true;
                self.pace.stop_reading();
                self.handle_header(header, buffer, at, admission, now)
            }
            RequestPart::Payload(range) => {
                self.handle_payload(&buffer[range], now);
                if self.phase() == Phase::Open && self.chunk_is_full() {
                    return self.deliver_chunk();
                }
                None
            }
            RequestPart::End => match std::mem::replace(&mut self.current, Current::Between) {
                Current::Discarding(request) => {
                    self.finish_discarded(request, admission, now);
                    Some(Input::Handled)
                }
                Current::Task(task) => Some(self.finish_message(task, now)),
                Current::Between | Current::Held(..) => None,
            },
        }
    }

    fn handle_header(
        &mut self,
        header: RequestHeader,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
    ) -> Option<Input> {
        let RequestHeader { code, id } = header;
        if code == TaskCode::CANCEL {
            return self.discard(header, After::Cancel);
        }
        // PROTOCOL T11: judged before any pause, for every code but Cancel.
        if self.ledger.find(id).is_some() {
            let offset = self.offset.wrapping_add(*at as u64 - 5);
            let error = ProtocolError::DuplicateTaskId { id, code, offset };
            self.fail(error.into(), now);
            return None;
        }
        match code {
            TaskCode::KEEP_ALIVE => self.discard(header, After::KeepAlive),
            TaskCode::NEGOTIATE => self.discard(
                header,
                After::Negotiate {
                    prefix: [0; Negotiate::LENGTH],
                    length: 0,
                },
            ),
            _ => match (!code.is_reserved())
                .then(|| admission.find(code))
                .flatten()
            {
                Some(found) if self.has_places() => {
                    self.admit(header, found, buffer, at, admission, now)
                }
                Some(found) => {
                    self.actions.push(Action::LimitReached("L5"));
                    self.current = Current::Held(header, Box::new(found));
                    None
                }
                // PROTOCOL T4, E6.
                None => self.discard(header, After::Error(ErrorCode::UNKNOWN_TASK)),
            },
        }
    }

    fn discard(&mut self, header: RequestHeader, after: After) -> Option<Input> {
        self.discard_up_to(header, after, self.settings.limits.message_limit_bytes)
    }

    fn discard_up_to(
        &mut self,
        header: RequestHeader,
        after: After,
        limit_bytes: usize,
    ) -> Option<Input> {
        self.current = Current::Discarding(Discarding {
            header,
            after,
            payload_len: 0,
            limit_bytes,
        });
        None
    }

    /// PROTOCOL L5, L16: whether one more task has a place on this connection.
    fn has_places(&self) -> bool {
        let limits = &self.settings.limits;
        self.ledger.places() < limits.in_flight_limit.max(1)
            && self.ledger.held_bytes() < limits.held_limit_bytes.max(1)
    }

    pub(super) fn output_is_full(&self) -> bool {
        self.server_full || self.outbox.unsent() >= self.settings.limits.unsent_limit_bytes.max(1)
    }

    /// The server's own L7 is reached, or no longer.
    pub fn set_server_full(&mut self, full: bool) {
        self.server_full = full;
    }

    pub(super) fn pause_reason(&self) -> Option<PauseReason> {
        if self.output_is_full() {
            return Some(PauseReason::Unsent);
        }
        match &self.current {
            Current::Held(..) if !self.has_places() => Some(PauseReason::Places),
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

    /// The header has its place on the connection; the server's come next.
    fn admit(
        &mut self,
        header: RequestHeader,
        mut found: Found<T>,
        buffer: &[u8],
        at: &mut usize,
        admission: &mut impl Admission<T>,
        now: Instant,
    ) -> Option<Input> {
        let limit_bytes = found.message_limit_bytes;
        if !admission.take_places(&mut found.task) {
            self.actions.push(Action::LimitReached("L6"));
            let after = After::Error(ErrorCode::UNAVAILABLE);
            return self.discard_up_to(header, after, limit_bytes);
        }
        let RequestHeader { code, id } = header;
        let key = self.ledger.begin(id, code, found.policy, found.task, now);
        let task = Receiving {
            header,
            key,
            delivery: found.delivery,
            payload_len: 0,
            limit_bytes,
            ended: false,
            returned: Returned::NotYet,
        };
        if found.delivery == Delivery::Streamed {
            self.current = Current::Task(task);
            self.untaken = 0;
            return Some(Input::Begin { key, header });
        }
        let whole = WholeMessage::find(buffer, *at);
        let Some(message) = whole.filter(|message| message.payload_len <= limit_bytes) else {
            self.current = Current::Task(task);
            return None;
        };
        *at = message.encoded.end;
        self.decoder.skip_message();
        self.accept(key, now);
        self.ledger.hold(key, message.payload_len);
        self.ledger.start(key, now);
        Some(Input::Whole {
            key,
            header,
            message,
        })
    }

    fn accept(&mut self, key: TaskKey, now: Instant) {
        self.counts.accepted += 1;
        self.active = true;
        self.ledger.accept(key, now);
    }

    fn handle_payload(&mut self, payload: &[u8], now: Instant) {
        let (header, payload_len, limit_bytes) = match &mut self.current {
            Current::Discarding(request) => {
                if let After::Negotiate { prefix, length } = &mut request.after {
                    let take = payload.len().min(prefix.len() - *length);
                    prefix[*length..*length + take].copy_from_slice(&payload[..take]);
                    *length += take;
                }
                request.payload_len += payload.len();
                (request.header, request.payload_len, request.limit_bytes)
            }
            Current::Task(task) => {
                task.payload_len += payload.len();
                // What a task function left unread is discarded (T2).
                if task.returned == Returned::NotYet {
                    self.chunk.extend_from_slice(payload);
                }
                (task.header, task.payload_len, task.limit_bytes)
            }
            Current::Between | Current::Held(..) => return,
        };
        // A block that is announced counts at once: its bytes need not be waited for.
        if payload_len + self.decoder.announced() > limit_bytes {
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

    fn chunk_is_full(&self) -> bool {
        let streamed =
            matches!(&self.current, Current::Task(task) if task.delivery == Delivery::Streamed);
        streamed && self.chunk.len() + self.untaken >= READER_BUFFER
    }

    /// Hands what has come to the task function.
    fn deliver_chunk(&mut self) -> Option<Input> {
        let Current::Task(task) = &self.current else {
            return None;
        };
        if task.delivery == Delivery::Whole || self.chunk.is_empty() {
            return None;
        }
        let payload = self.chunk.split().freeze();
        self.untaken += payload.len();
        Some(Input::Payload { payload })
    }

    /// The zero byte that ends a task's message has been looked at.
    fn finish_message(&mut self, mut task: Receiving, now: Instant) -> Input {
        self.accept(task.key, now);
        task.ended = true;
        if task.delivery == Delivery::Whole {
            let payload = self.take_chunk();
            self.ledger.hold(task.key, payload.len());
            if let Some(cause) = self.ledger.start(task.key, now) {
                self.answer_error(task.key, cause.error_code());
                return Input::Handled;
            }
            return Input::Message {
                key: task.key,
                header: task.header,
                payload,
            };
        }
        if self.chunk.is_empty() {
            let start = self.conclude_reading(task, now);
            return Input::End { start };
        }
        let payload = self.chunk.split().freeze();
        self.untaken += payload.len();
        self.current = Current::Task(task);
        Input::Payload { payload }
    }

    /// A message collected in parts, without the spare room that collecting left.
    fn take_chunk(&mut self) -> Bytes {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.capacity() > chunk.len() + chunk.len() / 4 {
            return Bytes::copy_from_slice(&chunk);
        }
        chunk.freeze()
    }

    /// Whether the end of the task function's message has been looked at.
    #[must_use]
    pub fn message_has_ended(&self) -> bool {
        matches!(&self.current, Current::Task(task) if task.ended)
    }

    /// What is due once the message has ended and the task function returned:
    /// whether its run function starts.
    fn conclude_reading(&mut self, task: Receiving, now: Instant) -> bool {
        let key = task.key;
        match task.returned {
            Returned::NotYet => self.current = Current::Task(task),
            Returned::Failed(code) => self.answer_error(key, code),
            Returned::Nothing | Returned::Run => match self.ledger.start(key, now) {
                Some(cause) => self.answer_error(key, cause.error_code()),
                None if task.returned == Returned::Run => return true,
                None => self.complete_empty(key),
            },
        }
        false
    }

    /// The task function took bytes.
    pub fn bytes_taken(&mut self, bytes: usize) {
        self.untaken = self.untaken.saturating_sub(bytes);
    }

    /// L14: the task function asked for bytes since the last call, or is
    /// waiting for some, or neither.
    pub fn reader_progress(&mut self, asked: bool, waiting: bool, now: Instant) {
        // A message that is collected is always asked for.
        let reading = matches!(
            &self.current,
            Current::Task(task)
                if task.delivery == Delivery::Streamed && task.returned == Returned::NotYet
        );
        if !reading || waiting {
            self.reader_deadline = None;
        } else if asked || self.reader_deadline.is_none() {
            self.reader_deadline = now.checked_add(self.settings.timeouts.task_function);
        }
    }

    /// L14 has passed: the task function is dropped.
    pub(super) fn drop_slow_reader(&mut self, now: Instant) {
        self.actions.push(Action::LimitReached("L14"));
        self.actions.push(Action::DropReading);
        self.reader_returned(Returned::Failed(ErrorCode::DEADLINE), now);
    }

    /// The task function has returned, for the task with this key: whether its
    /// run function starts now. Otherwise it starts at [`Input::End`], or never.
    pub fn read_returned(&mut self, key: TaskKey, outcome: ReadOutcome, now: Instant) -> bool {
        if !self.is_receiving(key) {
            return false;
        }
        match outcome {
            ReadOutcome::Run(kind) => {
                self.ledger.set_kind(key, kind);
                self.reader_returned(Returned::Run, now)
            }
            ReadOutcome::Nothing => self.reader_returned(Returned::Nothing, now),
            ReadOutcome::Panicked => {
                self.reader_returned(Returned::Failed(ErrorCode::PANICKED), now)
            }
            ReadOutcome::Error(reason) => {
                self.reject(key);
                self.fail(reason, now);
                false
            }
        }
    }

    /// PROTOCOL T3: a request whose task function failed was not accepted,
    /// unless a Goodbye has counted it.
    fn reject(&mut self, key: TaskKey) {
        if self.said_goodbye {
            return;
        }
        if self.ledger.is_accepted(key) {
            self.counts.accepted -= 1;
        }
        self.current = Current::Between;
        self.retire(key, None);
    }

    fn reader_returned(&mut self, returned: Returned, now: Instant) -> bool {
        self.chunk = BytesMut::new();
        self.untaken = 0;
        self.reader_deadline = None;
        let Current::Task(task) = &mut self.current else {
            return false;
        };
        if task.returned == Returned::NotYet {
            task.returned = returned;
        }
        if !task.ended {
            return false;
        }
        match std::mem::replace(&mut self.current, Current::Between) {
            Current::Task(task) => self.conclude_reading(task, now),
            _ => false,
        }
    }

    /// A cancel came while the task function was reading (T10): it is dropped,
    /// and the answer follows the end of the message.
    pub(super) fn cancel_reading(&mut self, key: TaskKey) {
        self.actions.push(Action::DropReading);
        self.chunk = BytesMut::new();
        self.untaken = 0;
        self.reader_deadline = None;
        if let Current::Task(task) = &mut self.current
            && task.key == key
        {
            if !matches!(task.returned, Returned::Failed(_)) {
                task.returned = Returned::Failed(ErrorCode::CANCELLED);
            }
            if task.ended {
                let Returned::Failed(code) = task.returned else {
                    return;
                };
                self.current = Current::Between;
                self.answer_error(key, code);
            }
        }
    }

    fn finish_discarded(
        &mut self,
        request: Discarding,
        admission: &impl Admission<T>,
        now: Instant,
    ) {
        self.counts.accepted += 1;
        self.active = true;
        let RequestHeader { code, id } = request.header;
        match request.after {
            After::KeepAlive => self.outbox.push_ok(id, code, &[]),
            After::Error(error_code) => self.outbox.push_error(id, code, error_code),
            After::Cancel => {
                self.counts.cancels += 1;
                if let Some(key) = self.ledger.find(id) {
                    self.cancel(key, CancelCause::Requested, now);
                }
            }
            After::Negotiate { prefix, length } => {
                match Negotiate::decode(&prefix[..length], self.settings.order) {
                    Ok(asked) => self.negotiate(request.header, asked, admission),
                    Err(_) => self.outbox.push_error(id, code, ErrorCode::MALFORMED),
                }
            }
        }
    }

    fn negotiate(
        &mut self,
        header: RequestHeader,
        asked: Negotiate,
        admission: &impl Admission<T>,
    ) {
        self.granted = asked.features.intersection(Features::SUPPORTED);
        let seconds = |time: std::time::Duration| {
            let rounded_up = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            u32::try_from(rounded_up).unwrap_or(NO_LIMIT)
        };
        let count = |limit: usize| u32::try_from(limit).unwrap_or(NO_LIMIT);
        let answer = Negotiated {
            version: NEGOTIATE_VERSION,
            granted: self.granted,
            max_in_flight: count(self.settings.limits.in_flight_limit.max(1)),
            max_message_bytes: count(admission.largest_message()),
            idle_limit_s: seconds(self.settings.timeouts.wait),
            processing_interval_s: seconds(self.settings.timeouts.processing_interval),
        };
        let mut payload = BytesMut::with_capacity(Negotiated::LENGTH);
        answer.encode(self.settings.order, &mut payload);
        self.outbox.push_ok(header.id, header.code, &payload);
    }

    /// The client's end of stream (D7, section 9).
    pub fn handle_end_of_input(&mut self, now: Instant) {
        if self.phase() != Phase::Open {
            self.disconnect.handle_end_of_input();
            self.finish_if_closed(now);
            return;
        }
        // A header that is held has been read wholly, and its message has not ended.
        if let Some(end) = self.decoder.unexpected_end() {
            self.fail(ProtocolError::from(end).into(), now);
        } else {
            match self.settings.on_half_close {
                OnHalfClose::ClientIsGone => self.fail(EndReason::ClientClosed, now),
                OnHalfClose::Finish => {
                    if self.disconnect.start_draining(EndReason::ClientClosed) {
                        self.left_open(now);
                    }
                }
            }
        }
        self.disconnect.handle_end_of_input();
        self.finish_if_closed(now);
    }
}

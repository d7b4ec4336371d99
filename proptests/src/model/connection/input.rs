//! What comes from the client (PROTOCOL N3–N7, E1–E3, T1–T4, L4–L6, L12).

use super::*;

impl Connection {
    /// A connection on which nothing has happened.
    #[must_use]
    pub fn new(settings: Settings, free_places: usize) -> Self {
        let mut pace = Pace::new(settings.wait, settings.read, settings.write);
        pace.set_idle(true, true, 0);
        Self {
            ledger: Ledger::default(),
            disconnect: Disconnect::default(),
            outbox: Outbox::new(settings.order()),
            pace,
            buffer: Vec::new(),
            offset: 0,
            header: Vec::new(),
            block: 0,
            looked_at: 0,
            current: Current::Between,
            untaken: 0,
            reader_deadline: None,
            body_deadlines: Vec::new(),
            under_way: None,
            granted: 0,
            said_goodbye: false,
            server_full: false,
            was_full: false,
            flush_pends: false,
            is_watched: false,
            panics: 0,
            free_places,
            counts: Counts::default(),
            interrupted: Vec::new(),
            bytes_read: 0,
            bytes_written: 0,
            ended: None,
            events: Vec::new(),
            acts: Vec::new(),
            retired: Vec::new(),
            reached: Vec::new(),
            read_in_turn: 0,
            reads_afresh: true,
            written_in_turn: 0,
            accepted_in_turn: false,
            settings,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.disconnect.phase
    }

    /// L12: why reading pauses, in Open.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        if self.is_full() {
            return Some(Pause::Unsent);
        }
        match &self.current {
            Current::Held { .. } if !self.has_places() => Some(Pause::Places),
            // T2: only when the task function has ended is the next one looked at.
            Current::Task {
                has_ended: true, ..
            } => Some(Pause::TaskFunction),
            Current::Task {
                reader: Reader::Reads,
                is_streamed: true,
                ..
            } if self.untaken >= BUFFER => Some(Pause::TaskFunction),
            _ => None,
        }
    }

    /// Whether part of a header has come.
    #[must_use]
    pub fn is_in_header(&self) -> bool {
        self.offset > 0 && self.header.len() < 5
    }

    /// Whether a header has come, and its message has not ended.
    #[must_use]
    pub fn is_in_message(&self) -> bool {
        self.offset > 0 && self.header.len() == 5
    }

    /// L7.
    pub(super) fn is_full(&self) -> bool {
        self.server_full || self.outbox.unsent() >= self.settings.unsent.max(1)
    }

    /// L5, L16.
    pub(super) fn has_places(&self) -> bool {
        !self.is_at_in_flight_limit() && self.ledger.held() < self.settings.held.max(1)
    }

    fn is_at_in_flight_limit(&self) -> bool {
        self.ledger.tasks.len() >= self.settings.in_flight.max(1)
    }

    /// Looks at what came, until it is paused or nothing is left.
    pub fn look(&mut self, now: Nanos) {
        loop {
            if self.phase() != Phase::Open {
                // L12, D1: in every later state input is discarded.
                self.buffer.clear();
                return;
            }
            if self.pause().is_some() {
                return;
            }
            if let Current::Held { code, id } = self.current {
                self.admit(code, id, now);
                continue;
            }
            if self.buffer.is_empty() {
                return;
            }
            if self.header.len() < 5 {
                let byte = self.next_bytes(1);
                self.header.extend(byte);
                if self.header.len() == 5 {
                    self.on_header(now);
                }
            } else if self.block == 0 {
                self.block = usize::from(self.next_bytes(1)[0]);
                self.read_in_turn += 1;
                if self.block == 0 {
                    self.on_end(now);
                }
            } else {
                let piece = self.next_bytes(self.block.min(self.buffer.len()));
                self.block -= piece.len();
                self.read_in_turn += piece.len();
                self.on_payload(&piece, now);
            }
        }
    }

    pub(super) fn next_bytes(&mut self, count: usize) -> Vec<u8> {
        self.offset += count as u64;
        self.looked_at += count as u64;
        self.buffer.drain(..count).collect()
    }

    pub(super) fn on_header(&mut self, now: Nanos) {
        // L2: credit starts with each body.
        self.read_in_turn = 0;
        self.reads_afresh = true;
        self.pace.stop_reading();
        let code = self.header[0];
        let id = codec::as_integer(self.settings.order(), &self.header[1..]);
        let limit = self.settings.message_limit;
        // E2: T11 does not apply to it.
        if code != 251 && self.ledger.live(id).is_some() {
            let offset = self.looked_at - 5;
            return self.fail(Reason::Duplicate { id, code, offset }, now);
        }
        match code {
            250 => self.discard(code, id, Then::KeepAlive, limit),
            251 => self.discard(code, id, Then::Cancel, limit),
            // *Choice*: a limit below Negotiate's own length does not end it.
            252 => self.discard(code, id, Then::Negotiate, limit.max(5)),
            // E6, T4.
            _ if usize::from(code) >= self.settings.registrations.len() => {
                self.discard(code, id, Then::Error(251), limit);
            }
            _ if self.has_places() => self.admit(code, id, now),
            _ => {
                let (rule, reached) = if self.is_at_in_flight_limit() {
                    ("L5", "held back by L5")
                } else {
                    ("L16", "held back by L16")
                };
                self.acts.push(Act::Limit(rule));
                self.reached.push(reached);
                self.current = Current::Held { code, id };
            }
        }
    }

    pub(super) fn discard(&mut self, code: u8, id: u32, then: Then, limit: usize) {
        self.current = Current::Discarding {
            code,
            id,
            then,
            payload: Vec::new(),
            limit,
        };
    }

    /// L6: looked at once L5 has a place.
    pub(super) fn admit(&mut self, code: u8, id: u32, now: Nanos) {
        let registration = self.settings.registrations[usize::from(code)];
        let limit = registration.message_limit;
        if self.free_places == 0 {
            self.acts.push(Act::Limit("L6"));
            return self.discard(code, id, Then::Error(252), limit);
        }
        self.free_places -= 1;
        if self.outbox.has_answer_for(id) {
            self.reached.push("id used again before its answer is sent");
        }
        if self.ledger.tasks.iter().any(|task| task.id == id) {
            self.reached.push("id of a stuck task used again");
        }
        let number = self.ledger.begin(id, code, registration.policy, now);
        self.current = Current::Task {
            number,
            code,
            id,
            is_streamed: registration.is_streamed,
            limit,
            length: 0,
            payload: Vec::new(),
            has_ended: false,
            reader: Reader::Reads,
        };
        if registration.is_streamed {
            self.untaken = 0;
            self.events.push(Event::Begin(number));
        }
    }

    pub(super) fn on_payload(&mut self, piece: &[u8], now: Nanos) {
        let (code, id, length, limit) = match &mut self.current {
            Current::Discarding {
                code,
                id,
                payload,
                limit,
                ..
            } => {
                payload.extend(piece);
                (*code, *id, payload.len(), *limit)
            }
            Current::Task {
                code,
                id,
                is_streamed,
                limit,
                length,
                payload,
                reader,
                ..
            } => {
                *length += piece.len();
                // T2: what it left unread is discarded.
                match (*reader, *is_streamed) {
                    (Reader::Reads, true) => {
                        self.untaken += piece.len();
                        self.events.push(Event::Payload(piece.to_vec()));
                    }
                    (Reader::Reads, false) => payload.extend(piece),
                    _ => {}
                }
                (*code, *id, *length, *limit)
            }
            Current::Between | Current::Held { .. } => return,
        };
        // L4. *Choice*: a block counts as soon as its first byte has come.
        if length + self.block > limit {
            self.acts.push(Act::Limit("L4"));
            self.fail(Reason::TooLong { id, code, limit }, now);
        }
    }

    pub(super) fn on_end(&mut self, now: Nanos) {
        self.header.clear();
        self.offset = 0;
        match std::mem::replace(&mut self.current, Current::Between) {
            Current::Discarding {
                code,
                id,
                then,
                payload,
                ..
            } => {
                self.count_accepted(id, code);
                self.act_on_discarded(code, id, then, &payload, now);
            }
            Current::Task {
                number,
                is_streamed: false,
                payload,
                ..
            } => {
                self.accept(number, now);
                self.ledger.hold(number, payload.len());
                match self.start(number, now) {
                    Some(cause) => self.answer_own(number, cause.error_code(), now),
                    None => self.events.push(Event::Starts(number, payload)),
                }
            }
            mut task => {
                if let Current::Task {
                    number, has_ended, ..
                } = &mut task
                {
                    *has_ended = true;
                    let number = *number;
                    self.current = task;
                    self.accept(number, now);
                    self.conclude(now);
                }
            }
        }
    }

    pub(super) fn count_accepted(&mut self, id: u32, code: u8) {
        if self.is_watched {
            self.acts.push(Act::Accepted(id, code));
        }
        self.counts.accepted += 1;
        self.accepted_in_turn = true;
    }

    /// T3: the zero byte has been looked at.
    pub(super) fn accept(&mut self, number: usize, now: Nanos) {
        if let Some((id, code)) = self.identity(number) {
            self.count_accepted(id, code);
        }
        self.ledger.accept(number, now);
    }

    pub(super) fn act_on_discarded(
        &mut self,
        code: u8,
        id: u32,
        then: Then,
        payload: &[u8],
        now: Nanos,
    ) {
        match then {
            // E1: at once.
            Then::KeepAlive => self.outbox.push_ok(id, code, &[]),
            Then::Error(error_code) => self.send_own(id, code, error_code, now),
            Then::Cancel => {
                self.counts.cancels += 1;
                // E2: an id that is not live is ignored.
                match self.ledger.live(id).map(|task| task.number) {
                    Some(number) => {
                        self.reached.push("Cancel on the wire, live");
                        self.cancel(number, Cause::Requested, now);
                    }
                    None => self.reached.push("Cancel on the wire, not live"),
                }
            }
            // E3: shorter than 5 bytes, or of version 0.
            Then::Negotiate if payload.len() < 5 || payload[0] == 0 => {
                self.send_own(id, code, 250, now);
            }
            Then::Negotiate => {
                let order = self.settings.order();
                // E3: asked ∩ supported.
                self.granted = codec::as_integer(order, &payload[1..5]) & 3;
                let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
                let fields = [
                    self.granted,
                    number(self.settings.in_flight.max(1)),
                    number(self.settings.largest_message()),
                    whole_seconds(self.settings.wait),
                    whole_seconds(self.settings.interval.max(SHORTEST_INTERVAL)),
                ];
                let answer = codec::negotiated(order, fields);
                self.outbox.push_ok(id, code, &answer);
            }
        }
    }

    /// Bytes came from the transport.
    pub fn arrive(&mut self, bytes: &[u8]) {
        self.bytes_read += bytes.len() as u64;
        self.buffer.extend(bytes);
    }

    /// The client's end of stream, when everything before it has been looked at.
    pub fn end_of_input(&mut self, now: Nanos) {
        if self.phase() == Phase::Open {
            if self.offset > 0 {
                // Section 9.
                let missing = match (self.offset, self.block) {
                    (..5, _) => "task id",
                    (_, 0) => "length byte",
                    _ => "block bytes",
                };
                let offset = self.offset;
                self.fail(Reason::UnexpectedEnd { offset, missing }, now);
            } else if !self.settings.finishes_after_half_close {
                self.fail(Reason::ClientClosed, now);
            } else if self.disconnect.drain(Reason::ClientClosed) {
                self.left_open();
            }
        }
        self.disconnect.end_of_input();
        self.finish_if_closed(now);
    }
}

/// E3: rounded up; `FFFFFFFF` is none, or one that does not fit.
pub(super) fn whole_seconds(nanos: Nanos) -> u32 {
    if nanos == NEVER {
        return u32::MAX;
    }
    u32::try_from(nanos.div_ceil(SECOND)).unwrap_or(u32::MAX)
}

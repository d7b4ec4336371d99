//! Bytes from the client, as they are looked at (PROTOCOL N3–N7, L4, L5, L12).

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

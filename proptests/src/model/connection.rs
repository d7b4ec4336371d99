//! The server's side of one connection (PROTOCOL sections 3–9).

use asyncserver::wire::ByteOrder;

use super::codec;
use super::disconnect::{Disconnect, Phase, Reason};
use super::ledger::{Cause, Kind, Ledger, OnAlarm, OnCancel, OnEnd, Policy, State};
use super::outbox::{Answer, Outbox};
use super::pace::{Pace, Reached};
use super::time::{NEVER, Nanos, SECOND, earliest, has_come, later};

/// *Choice*: how much a task function may leave untaken (L12), and a whole
/// result that takes the wire at once.
pub const BUFFER: usize = 64 << 10;

/// What a task code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Registration {
    /// T10, T12.
    pub policy: Policy,
    /// L4.
    pub message_limit: usize,
    /// Whether a task function reads the message as it arrives.
    pub is_streamed: bool,
}

/// What a connection is set to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// N2.
    pub is_little: bool,
    /// D7.
    pub finishes_after_half_close: bool,
    /// L1.
    pub wait: Nanos,
    /// L2.
    pub read: Nanos,
    /// L3.
    pub write: Nanos,
    /// L11.
    pub linger: Nanos,
    /// L14.
    pub task_function: Nanos,
    /// L15.
    pub body: Nanos,
    /// E5.
    pub interval: Nanos,
    /// L4.
    pub message_limit: usize,
    /// L5.
    pub in_flight: usize,
    /// L7.
    pub unsent: usize,
    /// L16.
    pub held: usize,
    /// What is registered: the code is the place in this list.
    pub registrations: Vec<Registration>,
}

impl Settings {
    /// N2.
    #[must_use]
    pub const fn order(&self) -> ByteOrder {
        if self.is_little {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        }
    }

    /// E3: the largest message that any registration takes. *Choice*: without
    /// registrations, the server's own limit.
    #[must_use]
    pub fn largest_message(&self) -> usize {
        let limits = self.registrations.iter().map(|task| task.message_limit);
        limits.max().unwrap_or(self.message_limit)
    }
}

/// Why nothing is read (L12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// L5, L16.
    Places,
    /// L7.
    Unsent,
    /// T2, L12.
    TaskFunction,
}

/// What the server's program sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A task function starts.
    Begin(usize),
    /// It is given bytes.
    Payload(Vec<u8>),
    /// A run function starts, with a whole message.
    Starts(usize, Vec<u8>),
    /// The run function that a task function returned starts.
    StartsReturned(usize),
}

/// What is to be done, or known, outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Act {
    Tell(usize),
    Drop(usize),
    Orphan(usize, Option<Nanos>),
    DropReading,
    Cancelled(u32, u8, Cause),
    Stuck(u32, u8),
    Interrupted(u32, u8),
    Limit(&'static str),
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Ending {
    Ok,
    Error(u8),
    /// It was said before, or it was never accepted.
    Silent,
}

/// What a run function comes to (T6–T9).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Outcome {
    Whole(usize),
    Body,
    Error(u8),
    Fatal,
    Panicked,
    Dropped,
}

/// What a task function comes to (T3, T9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Returned {
    Run(Kind),
    Nothing,
    Error,
    Panicked,
}

/// What becomes of a task whose run function has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is gone.
    Removed(Ending),
    /// Its body has to wait for its turn, or is to be produced.
    Pull,
    /// Nobody knows it.
    Unknown,
}

/// A step of a body (T7, T9, L15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum BodyStep {
    Bytes(usize),
    End,
    Failed(Option<u8>),
    Panicked,
    Waiting,
    NotWaiting,
}

/// D9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "D9 lists them")]
pub struct Counts {
    pub accepted: u64,
    pub ok: u64,
    pub errors: u64,
    pub cancelled: u64,
    pub cancels: u64,
}

/// What is done at the end of a message that is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    KeepAlive,
    Cancel,
    Negotiate,
    Error(u8),
}

/// What the task function has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    Run,
    Nothing,
    /// Dropped, or panicked: the answer.
    Failed(u8),
}

/// The request that is looked at.
#[derive(Clone, Debug)]
enum Current {
    Between,
    Held {
        code: u8,
        id: u32,
    },
    Discarding {
        code: u8,
        id: u32,
        then: Then,
        payload: Vec<u8>,
        limit: usize,
    },
    Task {
        number: usize,
        code: u8,
        id: u32,
        is_streamed: bool,
        limit: usize,
        length: usize,
        /// What is collected of a message that is handed over whole.
        payload: Vec<u8>,
        has_ended: bool,
        reader: Reader,
    },
}

/// The model.
#[derive(Clone, Debug)]
pub struct Connection {
    settings: Settings,
    /// Sections 6 and 8, L1–L3, and what is queued.
    pub ledger: Ledger,
    #[allow(missing_docs, reason = "as above")]
    pub disconnect: Disconnect,
    #[allow(missing_docs, reason = "as above")]
    pub outbox: Outbox,
    pace: Pace,
    /// Bytes that came and have not been looked at.
    pub buffer: Vec<u8>,
    /// Bytes of the request that have been looked at; up to five are its header.
    offset: u64,
    header: Vec<u8>,
    /// Bytes of the block that have not come.
    block: usize,
    /// Bytes of the stream that have been looked at.
    looked_at: u64,
    /// The same, when the last look began.
    look_began: u64,
    current: Current,
    /// Bytes that the task function has not taken (L12).
    untaken: usize,
    /// L14.
    reader_deadline: Option<Nanos>,
    /// L15, by task.
    body_deadlines: Vec<(usize, Nanos)>,
    /// The task whose response is under way.
    pub under_way: Option<usize>,
    /// E3.
    pub granted: u32,
    /// E4: what it counted stays accepted (T3).
    said_goodbye: bool,
    /// L7 of the server.
    pub server_full: bool,
    /// L6: places of the server that are free.
    pub free_places: usize,
    /// D9.
    pub counts: Counts,
    /// D9: each with its state.
    pub interrupted: Vec<(u32, u8, &'static str)>,
    /// D9.
    pub bytes_read: u64,
    #[allow(missing_docs, reason = "as above")]
    pub bytes_written: u64,
    /// When it was closed.
    pub ended: Option<Nanos>,
    /// What happened since the program last looked.
    pub events: Vec<Event>,
    #[allow(missing_docs, reason = "as above")]
    pub acts: Vec<Act>,
    #[allow(missing_docs, reason = "as above")]
    pub retired: Vec<(u32, u8, Ending)>,
    /// Bugs of the library that show from here on.
    pub known: Vec<&'static str>,
    /// Interesting states that were reached, for suites that count them.
    pub reached: Vec<&'static str>,
    // What happened in this turn (L13).
    read_in_turn: usize,
    reads_afresh: bool,
    written_in_turn: usize,
    accepted_in_turn: bool,
}

// What comes from the client.
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
            look_began: 0,
            current: Current::Between,
            untaken: 0,
            reader_deadline: None,
            body_deadlines: Vec::new(),
            under_way: None,
            granted: 0,
            said_goodbye: false,
            server_full: false,
            free_places,
            counts: Counts::default(),
            interrupted: Vec::new(),
            bytes_read: 0,
            bytes_written: 0,
            ended: None,
            events: Vec::new(),
            acts: Vec::new(),
            retired: Vec::new(),
            known: Vec::new(),
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
    fn is_full(&self) -> bool {
        self.server_full || self.outbox.unsent() >= self.settings.unsent.max(1)
    }

    /// L5, L16.
    fn has_places(&self) -> bool {
        self.ledger.tasks.len() < self.settings.in_flight.max(1)
            && self.ledger.held() < self.settings.held.max(1)
    }

    /// Looks at what came, until it is paused or nothing is left.
    pub fn look(&mut self, now: Nanos) {
        self.look_began = self.looked_at;
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

    fn next_bytes(&mut self, count: usize) -> Vec<u8> {
        self.offset += count as u64;
        self.looked_at += count as u64;
        self.buffer.drain(..count).collect()
    }

    fn on_header(&mut self, now: Nanos) {
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
            if self.looked_at - self.look_began < 5 {
                self.known
                    .push("T11: a duplicate id whose header comes in parts overflows");
            }
            return self.fail(Reason::Duplicate { id, code, offset }, now);
        }
        match code {
            250 => self.discard(code, id, Then::KeepAlive, limit),
            251 => self.discard(code, id, Then::Cancel, limit),
            252 => self.discard(code, id, Then::Negotiate, limit),
            // E6, T4.
            _ if usize::from(code) >= self.settings.registrations.len() => {
                self.discard(code, id, Then::Error(251), limit);
            }
            _ if self.has_places() => self.admit(code, id, now),
            _ => {
                self.acts.push(Act::Limit("L5"));
                self.reached
                    .push(if self.ledger.held() >= self.settings.held.max(1) {
                        "held back by L16"
                    } else {
                        "held back by L5"
                    });
                self.current = Current::Held { code, id };
            }
        }
    }

    fn discard(&mut self, code: u8, id: u32, then: Then, limit: usize) {
        self.current = Current::Discarding {
            code,
            id,
            then,
            payload: Vec::new(),
            limit,
        };
    }

    /// L6: looked at once L5 has a place.
    fn admit(&mut self, code: u8, id: u32, now: Nanos) {
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

    fn on_payload(&mut self, piece: &[u8], now: Nanos) {
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

    fn on_end(&mut self, now: Nanos) {
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
                self.count_accepted();
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
                match self.ledger.start(number, now) {
                    Some(cause) => self.answer(number, cause.error_code()),
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

    fn count_accepted(&mut self) {
        self.counts.accepted += 1;
        self.accepted_in_turn = true;
    }

    /// T3: the zero byte has been looked at.
    fn accept(&mut self, number: usize, now: Nanos) {
        self.count_accepted();
        self.ledger.accept(number, now);
    }

    fn act_on_discarded(&mut self, code: u8, id: u32, then: Then, payload: &[u8], now: Nanos) {
        match then {
            // E1: at once.
            Then::KeepAlive => self.outbox.push_ok(id, code, &[]),
            Then::Error(error_code) => self.outbox.push_error(id, code, error_code),
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
                self.outbox.push_error(id, code, 250);
            }
            Then::Negotiate => {
                let order = self.settings.order();
                if [self.settings.wait, self.settings.interval].contains(&NEVER) {
                    self.known
                        .push("E3: a limit that is absent overflows the answer to Negotiate");
                }
                // E3: asked ∩ supported.
                self.granted = codec::as_integer(order, &payload[1..5]) & 3;
                let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
                let fields = [
                    self.granted,
                    number(self.settings.in_flight.max(1)),
                    number(self.settings.largest_message()),
                    whole_seconds(self.settings.wait),
                    whole_seconds(self.settings.interval),
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
fn whole_seconds(nanos: Nanos) -> u32 {
    if nanos == NEVER {
        return u32::MAX;
    }
    u32::try_from(nanos.div_ceil(SECOND)).unwrap_or(u32::MAX)
}

// The task function.
impl Connection {
    /// Whether a task function reads, or what it returned waits for the end.
    #[must_use]
    pub fn reading(&self) -> Option<usize> {
        match &self.current {
            Current::Task {
                number,
                is_streamed: true,
                reader: Reader::Reads,
                ..
            } => Some(*number),
            _ => None,
        }
    }

    /// It took bytes.
    pub fn taken(&mut self, bytes: usize) {
        self.untaken = self.untaken.saturating_sub(bytes);
    }

    /// L14: it asked for bytes, or waits for some, or neither.
    pub fn progress(&mut self, has_asked: bool, waits: bool, now: Nanos) {
        if self.reading().is_none() || waits {
            self.reader_deadline = None;
        } else if has_asked || self.reader_deadline.is_none() {
            self.reader_deadline = later(now, self.settings.task_function);
        }
    }

    /// T3, T9: it has returned.
    pub fn returned(&mut self, returned: Returned, now: Nanos) {
        let Some(number) = self.reading() else {
            return;
        };
        match returned {
            Returned::Run(kind) => {
                self.ledger.set_kind(number, kind);
                self.reader_is(Reader::Run, now);
            }
            Returned::Nothing => self.reader_is(Reader::Nothing, now),
            Returned::Panicked => self.reader_is(Reader::Failed(254), now),
            Returned::Error => {
                let task = self.ledger.task(number).cloned();
                self.stop_reader();
                // T3: not accepted, unless a Goodbye has counted it.
                if !self.said_goodbye {
                    if task.as_ref().is_some_and(|task| task.accepted) {
                        self.counts.accepted -= 1;
                    }
                    self.current = Current::Between;
                    self.retire(number, Ending::Silent);
                }
                if let Some(task) = task {
                    let (id, code) = (task.id, task.code);
                    self.fail(Reason::TaskFunction { id, code }, now);
                }
            }
        }
    }

    fn stop_reader(&mut self) {
        self.untaken = 0;
        self.reader_deadline = None;
    }

    fn reader_is(&mut self, is: Reader, now: Nanos) {
        self.stop_reader();
        if let Current::Task {
            reader, payload, ..
        } = &mut self.current
        {
            *reader = is;
            payload.clear();
            self.conclude(now);
        }
    }

    /// T3: what is due once the message has ended and the function has returned,
    /// whichever is later.
    fn conclude(&mut self, now: Nanos) {
        let Current::Task {
            number,
            has_ended: true,
            reader,
            ..
        } = self.current
        else {
            return;
        };
        if reader == Reader::Reads {
            return;
        }
        self.current = Current::Between;
        let cancelled = match reader {
            Reader::Failed(error_code) => return self.answer(number, error_code),
            _ => self.ledger.start(number, now),
        };
        match (cancelled, reader) {
            (Some(cause), _) => self.answer(number, cause.error_code()),
            (None, Reader::Run) => self.events.push(Event::StartsReturned(number)),
            // T6: no run function.
            (None, _) => {
                if let Some(task) = self.ledger.task(number) {
                    self.outbox.push_ok(task.id, task.code, &[]);
                }
                self.retire(number, Ending::Ok);
            }
        }
    }
}

// Run functions, bodies, cancels.
impl Connection {
    /// Takes the entry away, and gives back its place of the server.
    fn retire(&mut self, number: usize, ending: Ending) {
        if let Some((id, code)) = self.remove(number) {
            self.retired.push((id, code, ending));
        }
    }

    fn remove(&mut self, number: usize) -> Option<(u32, u8)> {
        self.body_deadlines.retain(|(task, _)| *task != number);
        let task = self.ledger.remove(number)?;
        self.free_places += 1;
        Some((task.id, task.code))
    }

    fn answer(&mut self, number: usize, error_code: u8) {
        if let Some(task) = self.ledger.task(number) {
            self.outbox.push_error(task.id, task.code, error_code);
        }
        self.retire(number, Ending::Error(error_code));
    }

    /// N8, L7: whether a response may begin.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.under_way.is_none() && !self.is_full()
    }

    /// L7: how many bytes of a body are wanted.
    #[must_use]
    pub fn body_room(&self) -> usize {
        if self.is_full() {
            0
        } else {
            self.settings.unsent.max(1) - self.outbox.unsent()
        }
    }

    /// A run function has ended (T6–T10).
    pub fn finished(&mut self, number: usize, outcome: &Outcome, now: Nanos) -> Finished {
        let Some(task) = self.ledger.task(number).cloned() else {
            return Finished::Unknown;
        };
        let counts = matches!(task.state, State::Running | State::Cooperating(_));
        if let Outcome::Whole(length) = outcome
            && *length <= BUFFER
            && counts
            && self.may_begin()
        {
            self.outbox.push_ok(task.id, task.code, &pattern(*length));
            self.remove(number);
            return Finished::Removed(Ending::Ok);
        }
        let error_code = match self.ledger.function_ended(number) {
            // T13: its late result is discarded.
            None => {
                self.remove(number);
                return Finished::Removed(Ending::Silent);
            }
            Some(Some(cause)) => cause.error_code(),
            Some(None) => match outcome {
                Outcome::Whole(_) | Outcome::Body => return Finished::Pull,
                Outcome::Error(error_code) => *error_code,
                Outcome::Panicked => 254,
                Outcome::Dropped => 255,
                Outcome::Fatal => {
                    let (id, code) = (task.id, task.code);
                    self.fail(Reason::RunFunction { id, code }, now);
                    return Finished::Unknown;
                }
            },
        };
        self.outbox.push_error(task.id, task.code, error_code);
        self.remove(number);
        Finished::Removed(Ending::Error(error_code))
    }

    /// T7: a body takes its turn on the wire.
    pub fn begin_body(&mut self, number: usize) -> bool {
        let Some((id, code)) = self.ledger.task(number).map(|task| (task.id, task.code)) else {
            return false;
        };
        if !self.may_begin() || !self.ledger.begin_response(number) {
            return false;
        }
        self.outbox.begin_body(id, code);
        self.under_way = Some(number);
        true
    }

    /// A step of a body (T7, T9, L15).
    pub fn body(&mut self, number: usize, step: BodyStep, now: Nanos) {
        let Some((id, code)) = self.ledger.task(number).map(|task| (task.id, task.code)) else {
            return;
        };
        let has_begun = self.under_way == Some(number);
        match step {
            BodyStep::Waiting => {
                let waits = self.body_deadlines.iter().any(|(task, _)| *task == number);
                if !waits {
                    let deadline = later(now, self.settings.body);
                    self.body_deadlines.extend(deadline.map(|at| (number, at)));
                }
                return;
            }
            BodyStep::NotWaiting => {}
            BodyStep::Bytes(length) => self.outbox.push_body(&pattern(length)),
            BodyStep::End => {
                self.outbox.end_body();
                self.under_way = None;
                self.retire(number, Ending::Ok);
            }
            BodyStep::Failed(Some(error_code)) if !has_begun => self.answer(number, error_code),
            BodyStep::Panicked if !has_begun => self.answer(number, 254),
            // T7: once it has begun, or without a code.
            BodyStep::Failed(_) | BodyStep::Panicked => self.fail(Reason::Body { id, code }, now),
        }
        self.body_deadlines.retain(|(task, _)| *task != number);
    }

    /// T10.
    pub fn cancel(&mut self, number: usize, cause: Cause, now: Nanos) {
        if self.phase() != Phase::Closed {
            let step = self.ledger.cancel(number, cause, now);
            self.act_on_cancel(number, step, cause);
        }
    }

    fn act_on_cancel(&mut self, number: usize, step: OnCancel, cause: Cause) {
        if step == OnCancel::Nothing {
            return;
        }
        if let Some(task) = self.ledger.task(number) {
            self.acts.push(Act::Cancelled(task.id, task.code, cause));
        }
        match step {
            OnCancel::Nothing | OnCancel::Wait => {}
            OnCancel::Tell => self.acts.push(Act::Tell(number)),
            OnCancel::Drop => self.acts.push(Act::Drop(number)),
            OnCancel::Answer(cause) => self.answer(number, cause.error_code()),
            OnCancel::Unread => self.cancel_reading(),
        }
    }

    /// T10, Receiving: `Error CANCELLED` once the message is read. A panic or
    /// L14 that came before has decided already.
    fn cancel_reading(&mut self) {
        self.stop_reader();
        let Current::Task {
            number,
            is_streamed,
            payload,
            has_ended,
            reader,
            ..
        } = &mut self.current
        else {
            return;
        };
        payload.clear();
        if !matches!(reader, Reader::Failed(_)) {
            *reader = Reader::Failed(255);
            if *is_streamed {
                self.acts.push(Act::DropReading);
            }
        }
        if let (true, Reader::Failed(error_code), number) = (*has_ended, *reader, *number) {
            self.current = Current::Between;
            self.answer(number, error_code);
        }
    }
}

// The transport's progress, and time.
impl Connection {
    /// The transport took bytes.
    pub fn written(&mut self, bytes: usize) {
        self.bytes_written += bytes as u64;
        self.written_in_turn += bytes;
        for answer in self.outbox.taken(bytes) {
            // D9: answered once its last byte was taken.
            match answer {
                Answer::Ok => self.counts.ok += 1,
                Answer::Error => self.counts.errors += 1,
                Answer::Cancelled => self.counts.cancelled += 1,
            }
        }
    }

    /// The end of a turn (L13): the clocks are set by what happened in it, then
    /// judged.
    pub fn end_turn(&mut self, now: Nanos) {
        self.set_clocks(now);
        self.expire(now);
        self.say_processing(now);
        self.linger_if_done(now);
    }

    fn set_clocks(&mut self, now: Nanos) {
        let bytes = std::mem::take(&mut self.read_in_turn);
        let is_read = self.phase() == Phase::Open && self.pause().is_none() && self.offset > 0;
        if !is_read {
            // L12: it starts afresh when reading goes on.
            self.pace.stop_reading();
            self.reads_afresh = true;
        } else if self.header.len() < 5 {
            self.pace.await_header(now);
        } else {
            self.pace.await_body(bytes, self.reads_afresh, now);
            self.reads_afresh = false;
        }
        // L3; while a body's next bytes are awaited it stands still.
        let bytes = std::mem::take(&mut self.written_in_turn);
        let is_pending = !self.outbox.is_empty();
        let stands_still = self.outbox.unsent() == 0;
        self.pace.wrote(bytes, is_pending, stands_still, now);
        let is_active = std::mem::take(&mut self.accepted_in_turn);
        if self.phase() == Phase::Open {
            // L1: no live task, no partly read request (a header held by a pause
            // is none) and nothing to write.
            let is_unread = self.offset == 0 || matches!(self.current, Current::Held { .. });
            let is_idle = is_unread && self.ledger.live_count() == 0 && self.outbox.is_empty();
            self.pace.set_idle(is_idle, is_active, now);
        }
    }

    /// *Choice*: the order in which deadlines of one turn are judged.
    fn expire(&mut self, now: Nanos) {
        self.disconnect.timeout(now);
        self.finish_if_closed(now);
        if self.phase() == Phase::Closed {
            return;
        }
        while let Some((number, step)) = self.ledger.take_next_alarm(now) {
            self.act_on_alarm(number, step);
        }
        if has_come(self.reader_deadline, now) {
            // L14: dropped; the rest is discarded.
            self.acts.push(Act::Limit("L14"));
            self.acts.push(Act::DropReading);
            self.reader_is(Reader::Failed(253), now);
        }
        self.end_slow_bodies(now);
        if self.phase() == Phase::Open {
            match self.pace.read(now) {
                Some(Reached::Timeout) => self.fail(Reason::ReadTimeout, now),
                Some(Reached::TooSlow) => self.fail(Reason::ReadTooSlow, now),
                // L1 ends as `disconnect(linger)` does.
                None if self.pace.waited(now) => {
                    self.leave(Reason::WaitedTooLong, self.settings.linger, now);
                }
                None => {}
            }
        }
        match self.pace.written(now) {
            Some(Reached::Timeout) => self.give_up_output(Reason::WriteTimeout, now),
            Some(Reached::TooSlow) => self.give_up_output(Reason::WriteTooSlow, now),
            None => {}
        }
    }

    fn act_on_alarm(&mut self, number: usize, step: OnAlarm) {
        match step {
            OnAlarm::Cancel(step) => self.act_on_cancel(number, step, Cause::Limit),
            OnAlarm::Drop => self.acts.push(Act::Drop(number)),
            OnAlarm::Answer(cause) => self.answer(number, cause.error_code()),
            OnAlarm::Stuck(cause) => {
                // T13: answered, reported, and it keeps its places.
                if let Some(task) = self.ledger.task(number) {
                    self.acts.push(Act::Stuck(task.id, task.code));
                    let error_code = cause.error_code();
                    self.outbox.push_error(task.id, task.code, error_code);
                }
                self.acts.push(Act::Drop(number));
            }
        }
    }

    /// L15: `Error DEADLINE` before the response has begun, else body error.
    fn end_slow_bodies(&mut self, now: Nanos) {
        let is_late = |(_, at): &&(usize, Nanos)| *at <= now;
        let late = self.body_deadlines.iter().filter(is_late);
        let mut late: Vec<usize> = late.map(|(number, _)| *number).collect();
        late.sort_by_key(|number| self.ledger.task(*number).map(|task| task.rank));
        for number in late {
            self.acts.push(Act::Limit("L15"));
            self.body(number, BodyStep::Failed(Some(253)), now);
        }
    }

    fn next_processing(&self) -> Option<(usize, Nanos)> {
        // E5: none is queued while L7 is reached.
        if self.granted & 2 == 0 || self.is_full() {
            return None;
        }
        let (number, since) = self.ledger.first_turn()?;
        Some((number, later(since, self.settings.interval)?))
    }

    fn say_processing(&mut self, now: Nanos) {
        if !matches!(self.phase(), Phase::Open | Phase::Draining) {
            return;
        }
        while let Some((number, due)) = self.next_processing() {
            if due > now {
                return;
            }
            if let Some(task) = self.ledger.task(number) {
                if self.outbox.has_processing_of_another(task.id, number) {
                    self.known
                        .push("E5: a sign of life is withheld for another task's");
                }
                if self.outbox.unsent() > 0 && self.under_way.is_some() {
                    self.reached.push("Processing behind a body");
                }
                // *Choice*: one that is skipped, since another is unsent, counts
                // as queued.
                self.outbox.push_processing(task.id, task.code, number);
            }
            self.ledger.restart_turn(number, now);
        }
    }

    /// When `end_turn` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        earliest([
            self.disconnect.next(),
            self.pace.next(),
            self.ledger.next_alarm(),
            self.reader_deadline,
            self.body_deadlines.iter().map(|(_, at)| *at).min(),
            self.next_processing().map(|(_, due)| due),
        ])
    }
}

// Section 8.
impl Connection {
    /// D1, D2.
    pub fn disconnect(&mut self, after: Nanos, now: Nanos) {
        self.leave(Reason::Graceful, after, now);
    }

    fn leave(&mut self, reason: Reason, after: Nanos, now: Nanos) {
        if self.disconnect.disconnect(reason, after, now) {
            self.left_open();
        }
    }

    /// D5.
    pub fn close(&mut self, now: Nanos) {
        self.disconnect.close(Reason::Aborted);
        self.finish_if_closed(now);
    }

    /// D8.
    pub fn transport_error(&mut self, now: Nanos) {
        self.disconnect.close(Reason::Transport);
        self.finish_if_closed(now);
    }

    /// D1: reading has stopped.
    fn left_open(&mut self) {
        self.pace.stop_reading();
        self.pace.set_idle(false, false, 0);
        match std::mem::replace(&mut self.current, Current::Between) {
            // It was accepted: its task function goes on.
            task @ Current::Task {
                has_ended: true, ..
            } => self.current = task,
            // A request not wholly read is not accepted, its task function is dropped.
            Current::Task {
                number,
                is_streamed,
                reader,
                ..
            } => {
                self.drop_reader(is_streamed, reader);
                self.retire(number, Ending::Silent);
            }
            Current::Held { .. } | Current::Discarding { .. } | Current::Between => {}
        }
        // E4: the count is of what was accepted up to here.
        self.said_goodbye = self.granted & 1 != 0;
        if self.said_goodbye {
            self.reached
                .push(match (self.under_way, self.counts.accepted) {
                    (Some(_), _) => "Goodbye behind a body",
                    (_, 1) => "Goodbye, Negotiate alone accepted",
                    _ => "Goodbye, some accepted",
                });
            self.outbox.push_goodbye(self.counts.accepted as u32);
        }
    }

    fn drop_reader(&mut self, is_streamed: bool, reader: Reader) {
        self.stop_reader();
        // *Choice*: what it had not been given yet, it does not see.
        while let Some(Event::Payload(_)) = self.events.last() {
            self.events.pop();
        }
        if is_streamed && matches!(reader, Reader::Reads | Reader::Run) {
            self.acts.push(Act::DropReading);
        }
    }

    /// D8: reading stops, live tasks are cancelled; what is queued is still
    /// written, up to a response that has begun and is not whole.
    fn fail(&mut self, reason: Reason, now: Nanos) {
        let was_open = self.phase() == Phase::Open;
        if !self.disconnect.fail(reason) {
            return;
        }
        if was_open {
            self.left_open();
        }
        self.end_tasks(now);
        self.under_way = None;
        let lost = self.outbox.break_under_way();
        if !lost.is_empty() {
            self.reached.push("response broken, answers behind it lost");
        }
        self.lose(lost);
    }

    /// L3: what cannot be written is given up.
    fn give_up_output(&mut self, reason: Reason, now: Nanos) {
        self.fail(reason, now);
        let lost = self.outbox.abandon();
        self.lose(lost);
    }

    /// T5: every live task is interrupted.
    fn end_tasks(&mut self, now: Nanos) {
        if let Current::Task {
            is_streamed,
            reader,
            ..
        } = std::mem::replace(&mut self.current, Current::Between)
        {
            self.drop_reader(is_streamed, reader);
        }
        self.body_deadlines.clear();
        let live: Vec<_> = self.ledger.tasks.clone();
        for task in live.iter().filter(|task| task.is_live()) {
            if task.accepted {
                self.interrupted.push((task.id, task.code, task.shown()));
                self.acts.push(Act::Interrupted(task.id, task.code));
            }
            match self.ledger.orphan(task.number, now) {
                OnEnd::Nothing => {}
                OnEnd::Remove => self.retire(task.number, Ending::Silent),
                OnEnd::Drop => self.acts.push(Act::Drop(task.number)),
                OnEnd::Tell(until) => self.acts.push(Act::Orphan(task.number, until)),
            }
        }
    }

    /// D9: *Responding* while its response is queued.
    fn lose(&mut self, lost: Vec<(u32, u8)>) {
        let lost = lost.into_iter();
        let lost = lost.map(|(id, code)| (id, code, "Responding"));
        self.interrupted.extend(lost);
    }

    fn finish_if_closed(&mut self, now: Nanos) {
        if self.phase() == Phase::Closed && self.ended.is_none() {
            self.ended = Some(now);
            if self.disconnect.deadline_reached && self.under_way.is_some() {
                self.reached.push("deadline while a body streams");
            }
            if self.disconnect.deadline_reached && self.ledger.live_count() > 0 {
                self.reached.push("deadline while tasks run");
            }
            self.pace.stop();
            self.end_tasks(now);
            self.under_way = None;
            let lost = self.outbox.abandon();
            self.lose(lost);
        }
    }

    /// D3.
    fn linger_if_done(&mut self, now: Nanos) {
        let is_done = match self.phase() {
            Phase::Draining => self.ledger.live_count() == 0 && self.outbox.is_empty(),
            Phase::Failing => self.outbox.is_empty(),
            _ => false,
        };
        if is_done {
            self.pace.stop();
            self.disconnect.linger(self.settings.linger, now);
            self.finish_if_closed(now);
        }
    }
}

/// Bytes of a result.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

//! What is queued for the wire, and which request each byte of it answers
//! (PROTOCOL N8, L7, D9).
//!
//! One response at a time may be *under way*: begun and not whole. What is
//! queued meanwhile waits behind it, for responses never interleave.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::ledger::TaskKey;
use crate::canary::{Canary, planted};
use crate::wire::{BlockEncoder, ByteOrder, ErrorCode, Response, TaskCode, TaskId, encode_ok};

/// How a request was answered, as the report counts it (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// `OK`.
    Ok,
    /// `Error` with any code but `CANCELLED`.
    Error,
    /// `Error CANCELLED`.
    Cancelled,
}

/// What the transport has taken wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The answer to a request.
    Answer(Terminal),
    /// A sign of life of this task.
    Processing(TaskKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The last bytes of a request's answer.
    Terminal(Terminal),
    /// Bytes of a response that goes on.
    Part,
    /// A sign of life of a task (E5).
    Processing(TaskKey),
    Goodbye,
}

/// A run of queued bytes.
#[derive(Clone, Copy, Debug)]
struct Record {
    length: u32,
    id: TaskId,
    code: TaskCode,
    kind: Kind,
}

impl Record {
    const fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Terminal(_))
    }
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    records: VecDeque<Record>,
}

#[derive(Debug)]
struct UnderWay {
    key: TaskKey,
    id: TaskId,
    code: TaskCode,
    encoder: BlockEncoder,
    /// What goes behind it.
    behind: Queue,
}

/// The queue of bytes towards the client.
#[derive(Debug)]
pub struct Outbox {
    order: ByteOrder,
    /// In the order of the wire. Its records may cover bytes that the driver
    /// has fetched and the transport has not taken.
    ready: Queue,
    /// On the heap: most connections never have one.
    under_way: Option<Box<UnderWay>>,
    /// Fetched or not: bytes that the transport has not taken.
    unsent: usize,
    /// Bytes of the first record that the transport has taken.
    first_taken: u32,
}

impl Outbox {
    /// Nothing queued.
    #[must_use]
    pub fn new(order: ByteOrder) -> Self {
        Self {
            order,
            ready: Queue::default(),
            under_way: None,
            unsent: 0,
            first_taken: 0,
        }
    }

    /// Queued bytes that the transport has not taken (L7).
    #[must_use]
    pub const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Those of them that wait for the transport alone, not behind the response under way.
    #[must_use]
    pub fn writable(&self) -> usize {
        let behind = self.under_way.as_ref();
        self.unsent - behind.map_or(0, |response| response.behind.bytes.len())
    }

    /// Whether bytes wait to be fetched.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.ready.bytes.is_empty()
    }

    /// The task whose response is under way.
    #[must_use]
    pub fn under_way(&self) -> Option<TaskKey> {
        self.under_way.as_ref().map(|response| response.key)
    }

    /// Whether nothing is queued or under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.unsent == 0 && self.under_way.is_none()
    }

    /// Queues what `encode` appends, behind the response that is under way if there is one.
    fn push(
        &mut self,
        id: TaskId,
        code: TaskCode,
        kind: Kind,
        encode: impl FnOnce(ByteOrder, &mut BytesMut),
    ) {
        let queue = match &mut self.under_way {
            Some(response) if !planted(Canary::Interleaved) => &mut response.behind,
            _ => &mut self.ready,
        };
        let before = queue.bytes.len();
        encode(self.order, &mut queue.bytes);
        let length = queue.bytes.len() - before;
        self.unsent += length;
        if queue.records.capacity() == 0 {
            // Many connections have one answer at a time.
            queue.records.reserve_exact(1);
        }
        queue.records.push_back(Record {
            length: length as u32,
            id,
            code,
            kind,
        });
    }

    /// Queues a whole result.
    pub fn push_ok(&mut self, id: TaskId, code: TaskCode, payload: &[u8]) {
        self.push(id, code, Kind::Terminal(Terminal::Ok), |order, into| {
            encode_ok(id, payload, order, into);
        });
    }

    /// Queues a failure.
    pub fn push_error(&mut self, id: TaskId, code: TaskCode, error_code: ErrorCode) {
        self.push_own_error(id, code, error_code, error_code);
    }

    /// Queues one of the library's errors, sent as `answer` (N9), and counted
    /// as what it is.
    pub fn push_own_error(
        &mut self,
        id: TaskId,
        code: TaskCode,
        error: ErrorCode,
        answer: ErrorCode,
    ) {
        let terminal = if error == ErrorCode::CANCELLED {
            Terminal::Cancelled
        } else {
            Terminal::Error
        };
        self.push(id, code, Kind::Terminal(terminal), |order, into| {
            Response::Error(id, answer).encode(order, into);
        });
    }

    /// Queues a Goodbye (E4).
    pub fn push_goodbye(&mut self, accepted: u32) {
        self.push(TaskId(0), TaskCode(0), Kind::Goodbye, |order, into| {
            Response::Goodbye { accepted }.encode(order, into);
        });
    }

    /// Queues a sign of life (E5).
    pub fn push_processing(&mut self, key: TaskKey, id: TaskId, code: TaskCode) {
        self.push(id, code, Kind::Processing(key), |order, into| {
            Response::Processing(id).encode(order, into);
        });
    }

    /// Queues the header of a result whose body follows in pieces. No other
    /// response may be under way.
    pub fn begin_body(&mut self, key: TaskKey, id: TaskId, code: TaskCode) {
        debug_assert!(self.under_way.is_none(), "PROTOCOL N8");
        self.push(id, code, Kind::Part, |order, into| {
            Response::Ok(id).encode(order, into);
        });
        self.under_way = Some(Box::new(UnderWay {
            key,
            id,
            code,
            encoder: BlockEncoder::new(),
            behind: Queue::default(),
        }));
    }

    /// Queues more of the body that is under way.
    pub fn push_body(&mut self, payload: &[u8]) {
        let Some(response) = &mut self.under_way else {
            return;
        };
        let before = self.ready.bytes.len();
        response.encoder.push(payload, &mut self.ready.bytes);
        let (id, code) = (response.id, response.code);
        self.record_body(before, id, code, Kind::Part);
    }

    /// Ends the body that is under way; what waited behind it follows.
    pub fn end_body(&mut self) {
        let Some(mut response) = self.under_way.take() else {
            return;
        };
        let before = self.ready.bytes.len();
        response.encoder.finish(&mut self.ready.bytes);
        let terminal = Kind::Terminal(Terminal::Ok);
        self.record_body(before, response.id, response.code, terminal);
        self.ready.bytes.unsplit(response.behind.bytes);
        self.ready.records.append(&mut response.behind.records);
    }

    fn record_body(&mut self, before: usize, id: TaskId, code: TaskCode, kind: Kind) {
        let length = self.ready.bytes.len() - before;
        if length == 0 {
            return;
        }
        self.unsent += length;
        self.ready.records.push_back(Record {
            length: length as u32,
            id,
            code,
            kind,
        });
    }

    /// The response under way will never be whole: nothing behind it is written
    /// (D8). Returns the requests whose answers are lost with it.
    pub fn break_under_way(&mut self) -> Vec<(TaskId, TaskCode)> {
        let Some(response) = self.under_way.take() else {
            return Vec::new();
        };
        self.unsent -= response.behind.bytes.len();
        answered(response.behind.records)
    }

    /// Nothing more is fetched. What the driver has fetched the transport may
    /// still take; the requests whose answers are lost for certain are returned.
    pub fn close(&mut self) -> Vec<(TaskId, TaskCode)> {
        let lost = self.break_under_way();
        self.unsent -= self.ready.bytes.len();
        self.ready.bytes = BytesMut::new();
        lost
    }

    /// The requests whose answers the transport has not taken wholly, those
    /// aside that wait behind the response under way.
    pub fn unanswered(&self) -> impl Iterator<Item = (TaskId, TaskCode)> {
        let answers = self
            .ready
            .records
            .iter()
            .filter(|record| record.is_answer());
        answers.map(|record| (record.id, record.code))
    }

    /// Gives up everything that the transport has not taken; returns the
    /// requests whose answers are lost.
    pub fn abandon(&mut self) -> Vec<(TaskId, TaskCode)> {
        let mut lost = answered(std::mem::take(&mut self.ready).records);
        lost.extend(self.break_under_way());
        self.unsent = 0;
        self.first_taken = 0;
        lost
    }

    /// Moves what is queued behind what `into` still holds.
    pub fn fetch(&mut self, into: &mut BytesMut) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.ready.bytes);
        } else {
            into.extend_from_slice(&self.ready.bytes);
            self.ready.bytes.clear();
        }
    }

    /// Takes `memory` for what is queued next, if there is none here.
    pub fn lend(&mut self, memory: &mut BytesMut) {
        if self.ready.bytes.capacity() == 0 {
            std::mem::swap(memory, &mut self.ready.bytes);
        }
    }

    /// The transport took `bytes`: `tell` is called for each answer, and each
    /// sign of life, that it has taken wholly.
    pub fn taken(&mut self, bytes: usize, mut tell: impl FnMut(Taken)) {
        debug_assert!(bytes <= self.unsent);
        self.unsent -= bytes;
        let mut bytes = bytes + self.first_taken as usize;
        while let Some(first) = self.ready.records.front() {
            if (first.length as usize) > bytes {
                break;
            }
            bytes -= first.length as usize;
            match first.kind {
                Kind::Terminal(terminal) => tell(Taken::Answer(terminal)),
                Kind::Processing(key) => tell(Taken::Processing(key)),
                Kind::Part | Kind::Goodbye => {}
            }
            self.ready.records.pop_front();
        }
        self.first_taken = bytes as u32;
    }

    /// Gives back memory that a burst left behind.
    pub fn shrink(&mut self) {
        const KEPT: usize = 1024;
        let Queue { bytes, records } = &mut self.ready;
        if bytes.is_empty() && bytes.capacity() > KEPT {
            *bytes = BytesMut::new();
        }
        if records.is_empty() && records.capacity() > KEPT / 16 {
            *records = VecDeque::new();
        }
    }
}

fn answered(records: VecDeque<Record>) -> Vec<(TaskId, TaskCode)> {
    records
        .into_iter()
        .filter(Record::is_answer)
        .map(|record| (record.id, record.code))
        .collect()
}

//! What is queued for the wire (PROTOCOL N8, L7, D8, D9).

use asyncserver::wire::ByteOrder;

use super::codec;

/// How a request was answered, as the report counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "D9 lists them")]
pub enum Answer {
    Ok,
    Error,
    Cancelled,
}

/// What a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer of a request.
    Answer(Answer),
    /// E4.
    Goodbye,
    /// E5, and for which task: its number, for ids are used again.
    Processing(usize),
}

/// What the transport has taken wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The answer of a request.
    Answer(Answer),
    /// A sign of life of the task with this number.
    Processing(usize),
}

/// A response in the queue.
#[derive(Clone, Debug)]
pub struct Response {
    /// Of which request.
    pub id: u32,
    /// Its task code.
    pub code: u8,
    /// What it is.
    pub kind: Kind,
    bytes: Vec<u8>,
    /// How many of them the transport has taken.
    taken: usize,
    /// Its body's bytes that do not fill a block yet; `None`: it is whole.
    open_block: Option<Vec<u8>>,
}

/// The model: responses in the order of the wire.
#[derive(Clone, Debug)]
pub struct Outbox {
    order: ByteOrder,
    queue: Vec<Response>,
    /// Bytes fetched and not taken.
    pub fetched: usize,
    /// Whether nothing more is fetched.
    is_closed: bool,
}

impl Outbox {
    /// Nothing queued.
    #[must_use]
    pub const fn new(order: ByteOrder) -> Self {
        Self {
            order,
            queue: Vec::new(),
            fetched: 0,
            is_closed: false,
        }
    }

    fn under_way(&self) -> Option<usize> {
        let is_open = |response: &Response| response.open_block.is_some();
        self.queue.iter().position(is_open)
    }

    /// The id of the response that has begun and is not whole.
    #[must_use]
    pub fn id_under_way(&self) -> Option<u32> {
        self.under_way().map(|at| self.queue[at].id)
    }

    /// L7: bytes queued that the transport has not taken.
    #[must_use]
    pub fn unsent(&self) -> usize {
        if self.is_closed {
            return self.fetched;
        }
        let left = |response: &Response| response.bytes.len() - response.taken;
        self.queue.iter().map(left).sum()
    }

    /// Whether nothing is queued or under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.under_way().is_none()
    }

    /// What may go to the wire: N8, nothing behind a response that is not whole.
    fn sendable(&self) -> impl Iterator<Item = &[u8]> {
        let end = self.under_way().map_or(self.queue.len(), |at| at + 1);
        let left = |response: &'_ Response| response.taken..response.bytes.len();
        self.queue[..end]
            .iter()
            .map(move |response| &response.bytes[left(response)])
    }

    /// Bytes that nothing but the transport holds up.
    #[must_use]
    pub fn writable(&self) -> usize {
        if self.is_closed {
            return self.fetched;
        }
        self.sendable().map(<[u8]>::len).sum()
    }

    /// Whether an answer for this id is queued.
    #[must_use]
    pub fn has_answer_for(&self, id: u32) -> bool {
        let is_it =
            |response: &Response| response.id == id && matches!(response.kind, Kind::Answer(_));
        self.queue.iter().any(is_it)
    }

    /// What is queued, for suites that count it.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.queue.iter().map(|response| match response.kind {
            _ if response.open_block.is_some() => "a body is under way",
            Kind::Answer(Answer::Ok) if response.code == 252 => "Negotiate answered",
            Kind::Answer(Answer::Error) if response.code == 252 => "Negotiate malformed",
            Kind::Answer(Answer::Error) if response.bytes.ends_with(&[251]) => "unknown task code",
            Kind::Answer(_) => "an answer is queued",
            Kind::Goodbye => "Goodbye",
            Kind::Processing(_) => "Processing",
        })
    }

    /// Whether there is something to fetch.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.writable() > self.fetched
    }

    /// What has become sendable since the last call.
    pub fn fetch(&mut self) -> Vec<u8> {
        if self.is_closed {
            return Vec::new();
        }
        let bytes = self.sendable().collect::<Vec<_>>().concat();
        let bytes = bytes[self.fetched..].to_vec();
        self.fetched += bytes.len();
        bytes
    }

    fn push(&mut self, id: u32, code: u8, kind: Kind, bytes: Vec<u8>) {
        self.queue.push(Response {
            id,
            code,
            kind,
            bytes,
            taken: 0,
            open_block: None,
        });
    }

    /// T7: a whole result.
    pub fn push_ok(&mut self, id: u32, code: u8, payload: &[u8]) {
        let bytes = codec::ok(self.order, id, payload);
        self.push(id, code, Kind::Answer(Answer::Ok), bytes);
    }

    /// T8.
    pub fn push_error(&mut self, id: u32, code: u8, error_code: u8) {
        self.push_own_error(id, code, error_code, error_code);
    }

    /// N9: one of the library's errors, and what is sent for it.
    pub fn push_own_error(&mut self, id: u32, code: u8, error: u8, sent: u8) {
        let bytes = codec::error(self.order, id, sent);
        // D9 counts `Error CANCELLED` apart, whatever is sent for it.
        let answer = if error == 255 {
            Answer::Cancelled
        } else {
            Answer::Error
        };
        self.push(id, code, Kind::Answer(answer), bytes);
    }

    /// E4.
    pub fn push_goodbye(&mut self, accepted: u32) {
        let bytes = codec::goodbye(self.order, accepted);
        self.push(0, 0, Kind::Goodbye, bytes);
    }

    /// E5.
    pub fn push_processing(&mut self, id: u32, code: u8, task: usize) {
        let bytes = codec::processing(self.order, id);
        self.push(id, code, Kind::Processing(task), bytes);
    }

    /// E5: whether a sign of life of this task is unsent.
    #[must_use]
    pub fn has_processing_of(&self, task: usize) -> bool {
        let is_it = |response: &Response| response.kind == Kind::Processing(task);
        self.queue.iter().any(is_it)
    }

    /// Whether a sign of life of an ended task with this id is unsent.
    #[must_use]
    pub fn has_processing_of_another(&self, id: u32, task: usize) -> bool {
        self.queue.iter().any(|response| match response.kind {
            Kind::Processing(other) => response.id == id && other != task,
            _ => false,
        })
    }

    /// T7: the response begins; its body follows.
    pub fn begin_body(&mut self, id: u32, code: u8) {
        let bytes = codec::header(self.order, 0, id);
        self.push(id, code, Kind::Answer(Answer::Ok), bytes);
        if let Some(response) = self.queue.last_mut() {
            response.open_block = Some(Vec::new());
        }
    }

    /// N4: blocks go out as they are full.
    pub fn push_body(&mut self, payload: &[u8]) {
        if let Some(at) = self.under_way() {
            let response = &mut self.queue[at];
            let mut open = response.open_block.take().unwrap_or_default();
            open.extend(payload);
            response.bytes.extend(codec::full_blocks(&open));
            let left = open.len() % 255;
            response.open_block = Some(open.split_off(open.len() - left));
        }
    }

    /// The body is whole.
    pub fn end_body(&mut self) {
        if let Some(at) = self.under_way() {
            let open = self.queue[at].open_block.take().unwrap_or_default();
            self.queue[at].bytes.extend(codec::message(&open));
        }
    }

    /// D8: the response under way will never be whole; nothing behind it is
    /// written. The requests whose answers are lost behind it.
    pub fn break_under_way(&mut self) -> Vec<(u32, u8)> {
        let Some(at) = self.under_way() else {
            return Vec::new();
        };
        let behind = self.queue.split_off(at + 1);
        // What was queued of it is still written. Its task is counted where it
        // is live, not here.
        self.queue[at].open_block = None;
        self.queue[at].kind = Kind::Goodbye;
        if self.queue[at].bytes.len() == self.queue[at].taken {
            self.queue.remove(at);
        }
        answers(&behind)
    }

    /// D5: nothing more is fetched; what was, the transport may still take. The
    /// requests whose answers are lost for certain.
    pub fn close(&mut self) -> Vec<(u32, u8)> {
        let lost = self.break_under_way();
        self.is_closed = true;
        lost
    }

    /// D9: the requests that would count as interrupted if the transport took
    /// nothing more. *Choice*: those behind a body that is under way are not
    /// named before it is whole or broken.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(u32, u8)> {
        let end = self.under_way().unwrap_or(self.queue.len());
        answers(&self.queue[..end])
    }

    /// All is given up that the transport has not taken: the requests whose
    /// answers are lost (D9: answered once their last byte was taken).
    pub fn abandon(&mut self) -> Vec<(u32, u8)> {
        let under_way = self.under_way();
        let lost = std::mem::take(&mut self.queue);
        let whole = lost.into_iter().enumerate();
        let whole = whole.filter(|(at, _)| Some(*at) != under_way);
        let whole: Vec<Response> = whole.map(|(_, response)| response).collect();
        self.fetched = 0;
        answers(&whole)
    }

    /// The transport took bytes: what it has taken wholly by that.
    pub fn taken(&mut self, mut bytes: usize) -> Vec<Taken> {
        self.fetched -= bytes.min(self.fetched);
        let mut whole = Vec::new();
        while let Some(first) = self.queue.first_mut() {
            let take = bytes.min(first.bytes.len() - first.taken);
            first.taken += take;
            bytes -= take;
            if first.taken < first.bytes.len() || first.open_block.is_some() {
                break;
            }
            match first.kind {
                Kind::Answer(answer) => whole.push(Taken::Answer(answer)),
                Kind::Processing(task) => whole.push(Taken::Processing(task)),
                Kind::Goodbye => {}
            }
            self.queue.remove(0);
        }
        whole
    }
}

fn answers(responses: &[Response]) -> Vec<(u32, u8)> {
    let answer = |response: &&Response| matches!(response.kind, Kind::Answer(_));
    let named = |response: &Response| (response.id, response.code);
    responses.iter().filter(answer).map(named).collect()
}

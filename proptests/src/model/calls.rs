//! The client's side of one connection (PROTOCOL section 10).

use asyncserver::wire::ByteOrder;

use super::codec;
use super::time::{Nanos, SECOND, earliest, has_come, later};

/// *Choice*: a whole message up to this length goes out in one step, whatever
/// room there is.
const IN_ONE_STEP: usize = 16 << 10;

/// What a client is set to (C4, C6, C8).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "C4 lists them")]
pub struct Settings {
    pub is_little: bool,
    pub negotiates: bool,
    pub response_limit: usize,
    pub keep_alive: Nanos,
    pub write: Nanos,
    pub unused: Nanos,
    pub own_response: Nanos,
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A caller, by the call's number.
    Caller,
    /// Nobody: its id stays live (C5).
    GivenUp,
    /// The connection (C4).
    KeepAlive,
    /// The connection (C6).
    Negotiate,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No byte of it is out.
    Queued,
    /// Some are: with its place among the requests begun (E4).
    Sending(u64),
    /// All are, up to this byte of the stream.
    Sent(u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    NotAsked,
    /// C5: E2 follows the message's end.
    WhenSent,
    Asked,
}

/// A request whose id is live (N7).
#[derive(Clone, Debug)]
pub struct Call {
    /// Its place among all requests that were started.
    pub number: usize,
    /// Its id.
    pub id: u32,
    code: u8,
    /// Who waits.
    pub owner: Owner,
    /// How far it is.
    pub progress: Progress,
    /// `None`: it is streamed.
    message: Option<Vec<u8>>,
    /// Whether its response is handed over in pieces.
    pub response_is_streamed: bool,
    timeout: Nanos,
    deadline: Option<Nanos>,
    cancel: Cancel,
}

/// What became of a call while the connection went on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Outcome {
    Ok(Vec<u8>),
    Error(u8),
    /// C2.
    NotAccepted(u32),
    /// C4; whether it may have run.
    TimedOut(bool),
    /// C8.
    TooLong(u64),
}

/// Why the connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum End {
    // C4.
    Write,
    KeepAlive,
    Negotiate,
    Message(u32),
    Unused,
    // C1.
    UnknownCode(u8, u64),
    NotLive(u32, u64),
    TooEarly(u32),
    NotGranted(&'static str),
    AcceptedTooMany(u32, u64),
}

/// Why a call was not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum NotStarted {
    NoPlace,
    TooLong(u64),
    IdInUse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Negotiating,
    Open,
    Draining,
}

/// What is done with the result that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Whole(Vec<u8>),
    Pieces(Vec<u8>),
    Negotiated(Vec<u8>),
    Discarded,
}

/// What the library had room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// So many bytes.
    pub bytes: usize,
    /// *Choice*: whether of a streamed message's piece some is left.
    pub leaves_piece: bool,
}

/// The request that goes out.
#[derive(Clone, Debug)]
struct Outgoing {
    /// `None`: an E2.
    number: Option<usize>,
    /// Its bytes that can go out and have not.
    bytes: Vec<u8>,
    /// Bytes of its header that are not out.
    header: usize,
    /// Of a streamed message: what does not fill a block yet.
    open_block: Option<Vec<u8>>,
    /// Payload of it is at hand that counts as being sent (C4).
    has_piece: bool,
    length: u64,
}

/// What a server answered to Negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "E3 lists them")]
pub struct Told {
    pub granted: u32,
    pub max_in_flight: u32,
    pub max_message: u32,
    pub idle_limit: u32,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Calls {
    settings: Settings,
    standing: Standing,
    /// C6: what the server answered; a base server did not.
    pub told: Option<Told>,
    /// Live requests, in the order of their starts.
    pub calls: Vec<Call>,
    numbers: usize,
    next_id: u32,
    /// Numbers of those that have not begun.
    queue: Vec<usize>,
    /// Ids to send E2 for.
    cancels: Vec<u32>,
    outgoing: Option<Outgoing>,
    begun: u64,
    put_out: u64,
    taken: u64,
    /// Of the response that is read: its header, then its block.
    header: Vec<u8>,
    in_message: bool,
    block: usize,
    current: Option<(usize, Body)>,
    /// Bytes that have come.
    heard: u64,
    moved: Nanos,
    output_since: Nanos,
    unused_since: Option<Nanos>,
    last_keep_alive: Option<u32>,
    /// What became of calls, by number, in order.
    pub finished: Vec<(usize, u32, Outcome)>,
    /// As in the connection's model.
    pub known: Vec<&'static str>,
    /// As in the connection's model.
    pub reached: Vec<&'static str>,
}

// Getters.
impl Calls {
    /// Before the first byte.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut calls = Self {
            standing: Standing::Open,
            told: None,
            calls: Vec::new(),
            numbers: 0,
            next_id: 1,
            queue: Vec::new(),
            cancels: Vec::new(),
            outgoing: None,
            begun: 0,
            put_out: 0,
            taken: 0,
            header: Vec::new(),
            in_message: false,
            block: 0,
            current: None,
            heard: 0,
            moved: 0,
            output_since: 0,
            unused_since: Some(0),
            last_keep_alive: None,
            finished: Vec::new(),
            known: Vec::new(),
            reached: Vec::new(),
            settings,
        };
        if calls.settings.negotiates {
            // C6: the first request, and nothing follows.
            calls.standing = Standing::Negotiating;
            let mut message = vec![1];
            message.extend(codec::integer(calls.order(), 3));
            calls.start_own(252, Owner::Negotiate, message, 0);
        }
        calls
    }

    const fn order(&self) -> ByteOrder {
        if self.settings.is_little {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        }
    }

    fn call(&self, number: usize) -> Option<&Call> {
        self.calls.iter().find(|call| call.number == number)
    }

    fn call_mut(&mut self, number: usize) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.number == number)
    }

    /// The live request with this id.
    #[must_use]
    pub fn by_id(&self, id: u32) -> Option<&Call> {
        self.calls.iter().find(|call| call.id == id)
    }

    /// C7: `max in flight`, 1,024 if not told. *Choice*: at least 1, at most 65,536.
    #[must_use]
    pub fn places(&self) -> usize {
        let limit = self.told.map_or(1_024, |told| {
            usize::try_from(told.max_in_flight)
                .unwrap_or(0)
                .clamp(1, 65_536)
        });
        match self.standing {
            Standing::Open => limit.saturating_sub(self.calls.len()),
            _ => 0,
        }
    }

    /// C6.
    #[must_use]
    pub fn is_negotiating(&self) -> bool {
        self.standing == Standing::Negotiating
    }

    /// C2.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.standing == Standing::Draining
    }

    /// How many calls have a caller.
    #[must_use]
    pub fn pending(&self) -> usize {
        let waits = |call: &&Call| call.owner == Owner::Caller;
        self.calls.iter().filter(waits).count()
    }

    /// Whether a byte has come.
    #[must_use]
    pub const fn has_heard(&self) -> bool {
        self.heard > 0
    }

    /// The id whose result is being read.
    #[must_use]
    pub fn id_read(&self) -> Option<u32> {
        let (number, _) = self.current.as_ref()?;
        self.call(*number).map(|call| call.id)
    }

    /// E4: requests begun, of any code.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    fn granted(&self, bit: u32) -> bool {
        self.told.is_some_and(|told| told.granted & bit != 0)
    }

    fn message_limit(&self) -> u64 {
        match self.told {
            // E3: `FFFFFFFF` is none.
            Some(told) if told.max_message != u32::MAX => told.max_message.into(),
            _ => u64::MAX,
        }
    }

    /// Whether its last byte has been taken: only then may it have run (C3).
    #[must_use]
    pub fn may_have_run(&self, call: &Call) -> bool {
        matches!(call.progress, Progress::Sent(_, end) if end <= self.taken)
    }
}

// The callers.
impl Calls {
    /// # Errors
    /// [`NotStarted`]: nothing has changed.
    pub fn start(
        &mut self,
        code: u8,
        id: Option<u32>,
        message: Option<Vec<u8>>,
        (response_is_streamed, timeout): (bool, Nanos),
        now: Nanos,
    ) -> Result<u32, NotStarted> {
        if self.places() == 0 {
            return Err(NotStarted::NoPlace);
        }
        // C7: a longer message fails at once, unsent.
        let length = message.as_ref().map_or(0, Vec::len) as u64;
        if length > self.message_limit() {
            return Err(NotStarted::TooLong(length));
        }
        let id = match id {
            // N7.
            Some(id) if self.by_id(id).is_some() => return Err(NotStarted::IdInUse),
            Some(id) => id,
            None => self.free_id(),
        };
        let number = self.insert(code, id, Owner::Caller, message, timeout, now);
        if let Some(call) = self.call_mut(number) {
            call.response_is_streamed = response_is_streamed;
        }
        self.queue.push(number);
        if self.last_keep_alive == Some(id) {
            self.known
                .push("C4: a call has the id that a KeepAlive had");
        }
        self.unused_since = None;
        Ok(id)
    }

    fn free_id(&mut self) -> u32 {
        while self.by_id(self.next_id).is_some() {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    fn insert(
        &mut self,
        code: u8,
        id: u32,
        owner: Owner,
        message: Option<Vec<u8>>,
        timeout: Nanos,
        now: Nanos,
    ) -> usize {
        let number = self.numbers;
        self.numbers += 1;
        self.calls.push(Call {
            number,
            id,
            code,
            owner,
            progress: Progress::Queued,
            message,
            response_is_streamed: false,
            timeout,
            deadline: later(now, timeout),
            cancel: Cancel::NotAsked,
        });
        number
    }

    /// A request of the connection's own goes before any call's.
    fn start_own(&mut self, code: u8, owner: Owner, message: Vec<u8>, now: Nanos) {
        let (id, timeout) = (self.free_id(), self.settings.own_response);
        let number = self.insert(code, id, owner, Some(message), timeout, now);
        if owner == Owner::KeepAlive {
            self.last_keep_alive = Some(id);
        }
        self.queue.insert(0, number);
    }

    /// C5: whether it had a caller.
    pub fn give_up(&mut self, id: u32, now: Nanos) -> bool {
        let Some(number) = self.disown(id, now) else {
            return false;
        };
        if self.call(number).map(|call| call.progress) == Some(Progress::Queued) {
            // Not begun: never sent.
            self.queue.retain(|queued| *queued != number);
            self.calls.retain(|call| call.number != number);
        } else {
            self.ask_cancel(number);
        }
        true
    }

    /// Takes the caller off: the response is discarded from here on.
    fn disown(&mut self, id: u32, now: Nanos) -> Option<usize> {
        let number = self
            .by_id(id)
            .filter(|call| call.owner == Owner::Caller)?
            .number;
        let streams = self.streams(number);
        if let Some(call) = self.call_mut(number) {
            call.owner = Owner::GivenUp;
            // A streamed message may not stay unfinished for ever.
            if !streams {
                call.deadline = None;
            }
        }
        if let Some((current, body)) = &mut self.current
            && *current == number
        {
            *body = Body::Discarded;
        }
        self.note_unused(now);
        Some(number)
    }

    fn note_unused(&mut self, now: Nanos) {
        if self.pending() == 0 && self.unused_since.is_none() {
            self.unused_since = Some(now);
        }
    }

    /// Whether its streamed message is going out, and its end has not come.
    fn streams(&self, number: usize) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| {
            outgoing.number == Some(number) && outgoing.open_block.is_some()
        })
    }

    /// C5: E2 if the server answered Negotiate, behind the message's end, once.
    fn ask_cancel(&mut self, number: usize) {
        if self.told.is_none() || self.standing != Standing::Open {
            return;
        }
        let Some(call) = self.call_mut(number) else {
            return;
        };
        match (call.cancel, call.progress) {
            (Cancel::NotAsked, Progress::Sending(_)) => call.cancel = Cancel::WhenSent,
            (Cancel::NotAsked, Progress::Sent(..)) => {
                call.cancel = Cancel::Asked;
                let id = call.id;
                self.cancels.push(id);
            }
            _ => {}
        }
    }

    /// The caller asks for a cancel, and waits on: `None`; where the server
    /// cannot be asked the call is given up: whether it may have run.
    pub fn cancel(&mut self, id: u32, now: Nanos) -> Option<bool> {
        let call = self.by_id(id)?;
        let (number, may_have_run) = (call.number, self.may_have_run(call));
        let has_begun = call.progress != Progress::Queued;
        if has_begun && self.told.is_some() && self.standing == Standing::Open {
            self.ask_cancel(number);
            return None;
        }
        self.give_up(id, now).then_some(may_have_run)
    }

    /// C8: whether it had a caller.
    pub fn discard_response(&mut self, id: u32, now: Nanos) -> bool {
        self.disown(id, now).is_some()
    }

    /// C3: what was lost with the connection: calls, and whether each may have run.
    #[must_use]
    pub fn lost(&self) -> Vec<(usize, u32, bool)> {
        let callers = self.calls.iter().filter(|call| call.owner == Owner::Caller);
        callers
            .map(|call| (call.number, call.id, self.may_have_run(call)))
            .collect()
    }

    fn end(&mut self, number: usize, outcome: Outcome, now: Nanos) {
        let Some(at) = self.calls.iter().position(|call| call.number == number) else {
            return;
        };
        let call = self.calls.remove(at);
        // E2 for an id that is not live could meet the id's next task.
        if call.cancel == Cancel::Asked {
            if self.cancels.contains(&call.id) {
                self.reached.push("answered before its E2 was sent");
            }
            self.cancels.retain(|id| *id != call.id);
        }
        if call.owner == Owner::Caller {
            self.finished.push((number, call.id, outcome));
            self.note_unused(now);
        }
    }
}

// What goes out.
impl Calls {
    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.cancels.is_empty()
            && self.outgoing.is_none()
            && self.put_out <= self.taken
    }

    /// The bytes that the library put out: the model would have put out the
    /// same. How many is the library's choice, but no fewer than there are and
    /// have room. What it says otherwise is returned.
    pub fn put_out(&mut self, bytes: &[u8], room: Room, now: Nanos) -> Option<String> {
        let is_full = bytes.len() >= room.bytes;
        let was_idle = self.put_out <= self.taken;
        let mut rest = bytes;
        if self.standing == Standing::Draining {
            // C2: no further request is sent.
            return (!bytes.is_empty()).then(|| "bytes after Goodbye".to_owned());
        }
        loop {
            if let Some(outgoing) = &mut self.outgoing {
                // Its message goes on if there is room behind its header.
                let header = std::mem::take(&mut outgoing.header);
                let goes_on = bytes.len() - rest.len() + header < room.bytes;
                let take = rest.len().min(outgoing.bytes.len());
                let expected: Vec<u8> = outgoing.bytes.drain(..take).collect();
                if expected != rest[..take] {
                    return Some(format!("expected {expected:?}, not {rest:?}"));
                }
                self.put_out += take as u64;
                rest = &rest[take..];
                if goes_on {
                    self.count_as_sign(room.leaves_piece, now);
                }
                if !self.end_outgoing(now) {
                    break;
                }
            } else if (rest.is_empty() && is_full) || !self.begin_next() {
                break;
            }
        }
        if was_idle && !bytes.is_empty() {
            self.output_since = now;
        }
        if !rest.is_empty() {
            return Some(format!("{rest:?} from nowhere"));
        }
        let left = self.outgoing.as_ref().map_or(0, |out| out.bytes.len());
        (left > 0 && !is_full).then(|| format!("{left} bytes are held back"))
    }

    /// C4: its being sent is a sign of it.
    fn count_as_sign(&mut self, leaves_piece: bool, now: Nanos) {
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        let at_hand = outgoing.has_piece;
        outgoing.has_piece &= leaves_piece;
        let streams = outgoing.open_block.is_some();
        let number = outgoing.number;
        if let Some(call) = number.and_then(|number| self.call_mut(number))
            && at_hand
            && (streams || call.owner != Owner::GivenUp)
        {
            call.deadline = later(now, call.timeout);
        }
    }

    /// Whether the request that goes out is out.
    fn end_outgoing(&mut self, now: Nanos) -> bool {
        match &self.outgoing {
            Some(outgoing) if outgoing.bytes.is_empty() && outgoing.open_block.is_none() => {}
            _ => return false,
        }
        let number = self.outgoing.take().and_then(|outgoing| outgoing.number);
        let end = self.put_out;
        if let Some(call) = number.and_then(|number| self.call_mut(number)) {
            if let Progress::Sending(sequence) = call.progress {
                call.progress = Progress::Sent(sequence, end);
            }
            call.deadline = match call.owner {
                Owner::GivenUp => None,
                _ => later(now, call.timeout),
            };
            if call.cancel == Cancel::WhenSent {
                call.cancel = Cancel::Asked;
                let id = call.id;
                self.cancels.push(id);
            }
        }
        true
    }

    /// E2 goes between two requests, before those that wait.
    fn begin_next(&mut self) -> bool {
        let order = self.order();
        if !self.cancels.is_empty() {
            let id = self.cancels.remove(0);
            let mut bytes = codec::header(order, 251, id);
            bytes.push(0);
            self.begun += 1;
            self.reached.push("E2 is sent");
            self.outgoing = Some(Outgoing {
                number: None,
                bytes,
                header: 0,
                open_block: None,
                has_piece: false,
                length: 0,
            });
            return true;
        }
        if self.queue.is_empty() {
            return false;
        }
        let number = self.queue.remove(0);
        let sequence = self.begun;
        self.begun += 1;
        let Some(call) = self.call_mut(number) else {
            return false;
        };
        call.progress = Progress::Sending(sequence);
        let mut bytes = codec::header(order, call.code, call.id);
        // *Choice*: a short one is out in one step, which ends it anyway.
        let is_long = call
            .message
            .as_ref()
            .is_some_and(|message| message.len() > IN_ONE_STEP);
        let open_block = match &call.message {
            Some(message) => {
                bytes.extend(codec::message(message));
                None
            }
            None => Some(Vec::new()),
        };
        self.outgoing = Some(Outgoing {
            number: Some(number),
            bytes,
            header: 5,
            open_block,
            has_piece: is_long,
            length: 0,
        });
        true
    }

    /// Whether a streamed message could go on now.
    #[must_use]
    pub fn streaming(&self) -> Option<u32> {
        let outgoing = self.outgoing.as_ref()?;
        outgoing.open_block.as_ref()?;
        self.call(outgoing.number?).map(|call| call.id)
    }

    /// It goes on; C7: the length at which it is too long.
    pub fn push_piece(&mut self, piece: &[u8]) -> Option<u64> {
        let limit = self.message_limit();
        let outgoing = self.outgoing.as_mut()?;
        let length = outgoing.length + piece.len() as u64;
        if length > limit {
            return Some(length);
        }
        outgoing.length = length;
        let open = outgoing.open_block.as_mut()?;
        open.extend(piece);
        let left = open.len() % 255;
        outgoing.bytes.extend(codec::full_blocks(open));
        *open = open.split_off(open.len() - left);
        outgoing.has_piece = !piece.is_empty();
        None
    }

    /// It ends.
    pub fn end_message(&mut self) {
        if let Some(outgoing) = &mut self.outgoing
            && let Some(open) = outgoing.open_block.take()
        {
            outgoing.bytes.extend(codec::message(&open));
        }
    }

    /// The transport took bytes.
    pub fn taken(&mut self, bytes: usize, now: Nanos) {
        if self.standing == Standing::Draining && bytes > 0 {
            self.known
                .push("C2: what was out when Goodbye came is taken after it");
        }
        self.taken += bytes as u64;
        self.moved = now;
    }
}

// What comes in.
impl Calls {
    /// Bytes from the server.
    ///
    /// # Errors
    /// [`End`]: C1.
    pub fn input(&mut self, input: &[u8], now: Nanos) -> Result<(), End> {
        self.moved = now;
        let mut rest = input;
        while !rest.is_empty() {
            if !self.in_message {
                self.header.push(rest[0]);
                // C1: an unknown response code.
                if self.header[0] > 3 {
                    return Err(End::UnknownCode(rest[0], self.heard));
                }
                self.heard += 1;
                rest = &rest[1..];
                if self.header.len() == if self.header[0] == 1 { 6 } else { 5 } {
                    self.response(now)?;
                }
            } else if self.block == 0 {
                self.block = usize::from(rest[0]);
                self.heard += 1;
                rest = &rest[1..];
                if self.block == 0 {
                    self.in_message = false;
                    self.message_end(now);
                }
            } else {
                let (piece, behind) = rest.split_at(self.block.min(rest.len()));
                self.block -= piece.len();
                self.heard += piece.len() as u64;
                self.payload(piece, now);
                rest = behind;
            }
        }
        // C4: any sign of a response.
        if let Some(number) = self.current.as_ref().map(|(number, _)| *number) {
            self.sign_of(number, now);
        }
        Ok(())
    }

    fn sign_of(&mut self, number: usize, now: Nanos) {
        if let Some(call) = self.call_mut(number)
            && call.owner != Owner::GivenUp
        {
            call.deadline = later(now, call.timeout);
        }
    }

    /// C1: the live request that a response is for.
    fn awaited(&self, id: u32) -> Result<usize, End> {
        match self.by_id(id) {
            Some(call) if self.may_have_run(call) => Ok(call.number),
            // T5: none is queued before the request's end has been looked at.
            Some(call) if call.progress != Progress::Queued => Err(End::TooEarly(id)),
            _ => Err(End::NotLive(id, self.heard)),
        }
    }

    fn response(&mut self, now: Nanos) -> Result<(), End> {
        let header = std::mem::take(&mut self.header);
        let integer = codec::as_integer(self.order(), &header[1..5]);
        match header[0] {
            0 => {
                let number = self.awaited(integer)?;
                let Some(call) = self.call(number) else {
                    return Ok(());
                };
                let body = match call.owner {
                    Owner::Negotiate => Body::Negotiated(Vec::new()),
                    Owner::Caller if call.response_is_streamed => Body::Pieces(Vec::new()),
                    Owner::Caller => Body::Whole(Vec::new()),
                    Owner::GivenUp | Owner::KeepAlive => Body::Discarded,
                };
                self.current = Some((number, body));
                self.in_message = true;
            }
            1 => {
                let number = self.awaited(integer)?;
                if self.call(number).map(|call| call.owner) == Some(Owner::Negotiate) {
                    // C6: a base server.
                    self.standing = Standing::Open;
                    self.reached.push("a base server");
                }
                self.end(number, Outcome::Error(header[5]), now);
            }
            2 => self.goodbye(integer, now)?,
            _ => {
                if !self.granted(2) {
                    return Err(End::NotGranted("Processing"));
                }
                let number = self.awaited(integer)?;
                self.reached.push("Processing");
                self.sign_of(number, now);
            }
        }
        Ok(())
    }

    fn payload(&mut self, piece: &[u8], now: Nanos) {
        let limit = self.settings.response_limit;
        let Some((number, body)) = &mut self.current else {
            return;
        };
        match body {
            Body::Whole(message) if message.len() + piece.len() > limit => {
                // C8: discarded, *too long*; the id is live until its end.
                let length = (message.len() + piece.len()) as u64;
                let number = *number;
                if let Some(id) = self.call(number).map(|call| call.id) {
                    self.disown(id, now);
                    self.finished.push((number, id, Outcome::TooLong(length)));
                }
            }
            Body::Whole(message) | Body::Pieces(message) | Body::Negotiated(message) => {
                message.extend(piece);
            }
            Body::Discarded => {}
        }
    }

    fn message_end(&mut self, now: Nanos) {
        let Some((number, body)) = self.current.take() else {
            return;
        };
        let message = match body {
            Body::Whole(message) | Body::Pieces(message) => message,
            Body::Negotiated(message) => {
                self.negotiated(&message);
                Vec::new()
            }
            Body::Discarded => Vec::new(),
        };
        self.end(number, Outcome::Ok(message), now);
    }

    /// C6; an answer that is none is a base server's.
    fn negotiated(&mut self, message: &[u8]) {
        self.standing = Standing::Open;
        if message.len() >= 21 && message[0] != 0 {
            let field = |at: usize| codec::as_integer(self.order(), &message[at..at + 4]);
            self.told = Some(Told {
                granted: field(1) & 3,
                max_in_flight: field(5),
                max_message: field(9),
                idle_limit: field(13),
            });
        }
    }

    /// What has come of a streamed response.
    pub fn take_piece(&mut self) -> Option<(usize, Vec<u8>)> {
        match &mut self.current {
            Some((number, Body::Pieces(piece))) if !piece.is_empty() => {
                Some((*number, std::mem::take(piece)))
            }
            _ => None,
        }
    }

    /// C2.
    fn goodbye(&mut self, accepted: u32, now: Nanos) -> Result<(), End> {
        if !self.granted(1) {
            return Err(End::NotGranted("Goodbye"));
        }
        // *Choice*: a second one changes nothing.
        if self.standing == Standing::Draining {
            return Ok(());
        }
        // A case never sends 2³² requests.
        if u64::from(accepted) > self.begun {
            return Err(End::AcceptedTooMany(accepted, self.begun));
        }
        self.reached.push(match u64::from(accepted) {
            0 => "Goodbye, none accepted",
            all if all == self.begun => "Goodbye, all accepted",
            _ => "Goodbye, some accepted",
        });
        self.standing = Standing::Draining;
        if self.outgoing.is_some() {
            self.reached.push("Goodbye inside a request");
        }
        self.queue.clear();
        self.cancels.clear();
        self.outgoing = None;
        let refused: Vec<usize> = self
            .calls
            .iter()
            .filter(|call| match call.progress {
                Progress::Sent(sequence, _) => sequence >= u64::from(accepted),
                Progress::Queued | Progress::Sending(_) => true,
            })
            .map(|call| call.number)
            .collect();
        for number in refused {
            self.end(number, Outcome::NotAccepted(accepted), now);
        }
        Ok(())
    }
}

// The clocks of C4.
impl Calls {
    fn write_deadline(&self) -> Option<Nanos> {
        // Counted only while nothing moves in either direction.
        let since = self.moved.max(self.output_since);
        let waits = self.put_out > self.taken && self.standing != Standing::Draining;
        later(since, self.settings.write).filter(|_| waits)
    }

    fn unused_deadline(&self) -> Option<Nanos> {
        later(self.unused_since?, self.settings.unused)
    }

    fn keep_alive_due(&self) -> Option<Nanos> {
        let is_one_live = self.calls.iter().any(|call| call.owner == Owner::KeepAlive);
        if self.standing != Standing::Open || !self.is_idle() || is_one_live {
            return None;
        }
        // C7: half the server's idle limit, where that is shorter.
        let mut after = self.settings.keep_alive;
        if let Some(told) = self.told.filter(|told| told.idle_limit != u32::MAX) {
            let half = u64::from(told.idle_limit) * (SECOND / 2);
            after = after.min(half.max(SECOND / 2));
        }
        later(self.moved, after)
    }

    /// When something is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let responses = self.calls.iter().filter_map(|call| call.deadline).min();
        earliest([
            responses,
            self.write_deadline(),
            self.unused_deadline(),
            self.keep_alive_due(),
        ])
    }

    /// Judges the clocks.
    ///
    /// # Errors
    /// [`End`]: the connection is given up.
    pub fn timeout(&mut self, now: Nanos) -> Result<(), End> {
        let is_late = |call: &&Call| has_come(call.deadline, now);
        let late = self.calls.iter().filter(is_late);
        for number in late.map(|call| call.number).collect::<Vec<_>>() {
            self.expire(number, now)?;
        }
        if has_come(self.write_deadline(), now) {
            return Err(End::Write);
        }
        if has_come(self.unused_deadline(), now) {
            return Err(End::Unused);
        }
        if has_come(self.keep_alive_due(), now) {
            self.reached.push("a KeepAlive is sent");
            self.start_own(250, Owner::KeepAlive, Vec::new(), now);
        }
        Ok(())
    }

    fn expire(&mut self, number: usize, now: Nanos) -> Result<(), End> {
        let Some(call) = self.call_mut(number) else {
            return Ok(());
        };
        call.deadline = None;
        let (id, owner) = (call.id, call.owner);
        match owner {
            Owner::KeepAlive => return Err(End::KeepAlive),
            Owner::Negotiate => return Err(End::Negotiate),
            Owner::Caller | Owner::GivenUp => {}
        }
        let streams = self.streams(number);
        let may_have_run = self
            .call(number)
            .is_some_and(|call| self.may_have_run(call));
        if self.give_up(id, now) {
            self.finished
                .push((number, id, Outcome::TimedOut(may_have_run)));
        }
        // C5: a message once begun is never ended early.
        if streams {
            Err(End::Message(id))
        } else {
            Ok(())
        }
    }

    /// C8: reading stopped for so long, and the clocks stood still.
    pub fn stalled(&mut self, from: Nanos, until: Nanos) {
        self.moved = until;
        for call in &mut self.calls {
            call.deadline = call.deadline.map(|at| at + (until - from));
        }
    }
}

//! The client's side of one connection (PROTOCOL section 10).

mod callers;
mod clocks;
mod incoming;
mod outgoing;

use asyncserver::wire::ByteOrder;

use crate::model::codec;
use crate::model::time::{Nanos, SECOND, earliest, has_come, later};

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

//! The client's side of one connection (PROTOCOL section 10): ids, pending
//! calls, and what responses, Goodbye, loss, time and giving up make of them.
//!
//! Four families of methods, as in a QUIC library: getters, `handle_*` for what
//! the transport and the clock bring, the caller's commands, and what is polled
//! or taken out afterwards (`poll_output`, `poll_finished`, `take_piece`).

mod clocks;
mod commands;
mod entries;
mod event;
mod incoming;
mod outgoing;
mod settings;
mod table;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::{Features, Negotiated, TaskCode, TaskId};
use clocks::Clocks;
pub use event::{CallOutcome, Expired, Finished, LostCall, ProtocolViolation, StartError, Started};
use incoming::Incoming;
use outgoing::Outgoing;
pub use settings::{CallSettings, ClientTimeouts, Negotiation};
use table::{Entry, Owner, RequestState, Table};
pub use table::{RequestMessage, ResponseMode};

/// In flight where the server did not say (PROTOCOL C7).
const IN_FLIGHT_UNTOLD: usize = 1024;
/// Never more in flight than this, whatever the server says: what is pending is bounded.
const IN_FLIGHT_MOST: usize = 65_536;

/// A call to start.
#[derive(Debug)]
pub struct NewCall<T> {
    /// The task's code.
    pub code: TaskCode,
    /// The id to use; otherwise the next free one is.
    pub id: Option<TaskId>,
    /// The message.
    pub message: RequestMessage,
    /// How the response is handed over.
    pub response: ResponseMode,
    /// Time without any sign of the response (PROTOCOL C4).
    pub response_timeout: Duration,
    /// What is given back when the call ends.
    pub context: T,
}

/// The calls of one connection. `T` is what the caller keeps for a call.
#[derive(Debug)]
pub struct Calls<T> {
    settings: CallSettings,
    state: State,
    server: Server,
    table: Table<T>,
    /// How many entries have a caller: at none, the connection is unused.
    callers: usize,
    next_id: u32,
    /// Requests started, to number them by.
    started: u64,
    /// The last KeepAlive, live or not: there is one at a time.
    keep_alive: Option<TaskId>,
    outgoing: Outgoing,
    incoming: Incoming,
    clocks: Clocks,
    finished: VecDeque<Finished<T>>,
}

/// ```text
/// Negotiating ── answered (C6) ──► Open ── Goodbye (C2) ──► Draining
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing follows Negotiate until it is answered.
    Negotiating,
    Open,
    /// No further request is sent.
    Draining,
}

/// What is known of the server.
#[derive(Clone, Copy, Debug)]
enum Server {
    /// It speaks the base protocol, as far as is known.
    Base,
    Negotiated(Negotiated),
}

// Getters.
impl<T> Calls<T> {
    /// A connection's calls, before its first byte.
    #[must_use]
    pub fn new(settings: CallSettings, now: Instant) -> Self {
        let mut calls = Self {
            settings,
            state: State::Open,
            server: Server::Base,
            table: Table::new(),
            callers: 0,
            next_id: 1,
            started: 0,
            keep_alive: None,
            outgoing: Outgoing::new(),
            incoming: Incoming::new(settings.byte_order),
            clocks: Clocks::new(now),
            finished: VecDeque::new(),
        };
        if settings.negotiation == Negotiation::Ask {
            calls.state = State::Negotiating;
            calls.start_negotiate(now);
        }
        calls
    }

    /// How many more calls the connection takes now (PROTOCOL C7).
    #[must_use]
    pub fn places(&self) -> usize {
        match self.state {
            State::Open => self.in_flight_limit().saturating_sub(self.table.len()),
            State::Negotiating | State::Draining => 0,
        }
    }

    /// Whether Negotiate is still to be answered (PROTOCOL C6).
    #[must_use]
    pub fn is_negotiating(&self) -> bool {
        self.state == State::Negotiating
    }

    /// Whether the server said Goodbye (PROTOCOL C2).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state == State::Draining
    }

    /// What the server answered to Negotiate.
    #[must_use]
    pub const fn negotiated(&self) -> Option<&Negotiated> {
        match &self.server {
            Server::Base => None,
            Server::Negotiated(negotiated) => Some(negotiated),
        }
    }

    /// How many calls have a caller that waits.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.callers
    }

    /// Whether any byte has come from the server.
    #[must_use]
    pub const fn has_heard(&self) -> bool {
        self.incoming.has_begun()
    }

    /// What the caller keeps for a pending call.
    #[must_use]
    pub fn context(&self, id: TaskId) -> Option<&T> {
        match &self.table.get(self.table.slot(id)?)?.owner {
            Owner::Caller(context) => Some(context),
            _ => None,
        }
    }

    /// As [`Calls::context`], to change it.
    pub fn context_mut(&mut self, id: TaskId) -> Option<&mut T> {
        let slot = self.table.slot(id)?;
        match &mut self.table.get_mut(slot)?.owner {
            Owner::Caller(context) => Some(context),
            _ => None,
        }
    }

    fn granted(&self, feature: Features) -> bool {
        self.negotiated()
            .is_some_and(|negotiated| negotiated.granted.contains(feature))
    }

    fn in_flight_limit(&self) -> usize {
        let told = self.negotiated().map(|negotiated| negotiated.max_in_flight);
        // A place more than none, or no call could ever be sent.
        told.map_or(IN_FLIGHT_UNTOLD, |told| {
            (told as usize).clamp(1, IN_FLIGHT_MOST)
        })
    }

    /// The longest message that the server takes, in payload bytes (PROTOCOL C7).
    fn message_limit_bytes(&self) -> u64 {
        match self.negotiated() {
            Some(told) if told.max_message_bytes != u32::MAX => told.max_message_bytes.into(),
            _ => u64::MAX,
        }
    }

    fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.table.check_invariants();
        let with = |wanted: fn(&Entry<T>) -> bool| {
            self.table.iter().filter(|(_, entry)| wanted(entry)).count()
        };
        let callers = with(|entry| matches!(entry.owner, Owner::Caller(_)));
        debug_assert_eq!(callers, self.callers);
        let sending = with(|entry| matches!(entry.request, RequestState::Sending { .. }));
        debug_assert!(sending <= 1, "requests do not interleave");
        debug_assert_eq!(self.clocks.is_unused(), self.callers == 0);
        debug_assert!(self.outgoing.taken() <= self.outgoing.put_out());
    }
}

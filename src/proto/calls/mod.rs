//! The client's side of one connection (PROTOCOL section 10): ids, pending
//! calls, and what responses, Goodbye, loss, time and giving up make of them.
//!
//! Four families of methods, as in a QUIC library: getters, `handle_*` for what
//! the transport and the clock bring, the caller's commands, and what is polled
//! or taken out afterwards (`poll_output`, `poll_finished`, `take_piece`).

mod clocks;
mod event;
mod incoming;
mod outgoing;
mod settings;
mod table;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::wire::{Features, Negotiate, Negotiated, TaskCode, TaskId};
use clocks::Clocks;
pub use event::{CallOutcome, Expired, Finished, LostCall, ProtocolViolation, StartError, Started};
use incoming::Incoming;
use outgoing::Outgoing;
pub use settings::{CallSettings, ClientTimeouts, Negotiation};
use table::{CancelState, Entry, Owner, RequestState, Table};
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
}

// Commands.
impl<T> Calls<T> {
    /// Takes up a call; its request is put out in its turn.
    ///
    /// # Errors
    /// [`StartError`], with the call: nothing has changed.
    pub fn start(
        &mut self,
        call: NewCall<T>,
        now: Instant,
    ) -> Result<TaskId, (StartError, NewCall<T>)> {
        if self.places() == 0 {
            return Err((StartError::NoPlace, call));
        }
        if let RequestMessage::Whole(message) = &call.message {
            let (length_bytes, limit_bytes) = (message.len() as u64, self.message_limit_bytes());
            // PROTOCOL C7: a longer message fails at once, unsent.
            if length_bytes > limit_bytes {
                let error = StartError::TooLong {
                    length_bytes,
                    limit_bytes,
                };
                return Err((error, call));
            }
        }
        let id = match call.id {
            Some(id) if self.table.slot(id).is_some() => {
                return Err((StartError::IdInUse { id }, call));
            }
            Some(id) => id,
            None => self.free_id(),
        };
        let slot = self.insert(
            id,
            call.code,
            Owner::Caller(call.context),
            call.message,
            (call.response, call.response_timeout),
            now,
        );
        self.outgoing.queue(slot);
        self.callers += 1;
        self.clocks.used();
        self.check_invariants();
        Ok(id)
    }

    /// The caller waits no longer (PROTOCOL C5): a request not begun is never
    /// sent; otherwise it is wholly sent, cancelled by E2 where the server
    /// knows that, and its response is discarded. `None`: it is not pending.
    pub fn give_up(&mut self, id: TaskId, now: Instant) -> Option<T> {
        let slot = self.table.slot(id)?;
        let context = self.disown(slot, now)?;
        let entry = self.table.get(slot)?;
        if matches!(entry.request, RequestState::Queued(_)) {
            self.outgoing.forget(slot);
            self.table.remove(slot);
        } else {
            self.ask_cancel(slot);
        }
        self.check_invariants();
        Some(context)
    }

    /// Asks the server to cancel, and goes on waiting for what it answers.
    /// Where it cannot be asked, the call is given up and what was kept for it
    /// comes back, with whether the task may have run.
    pub fn cancel(&mut self, id: TaskId, now: Instant) -> Option<(T, Started)> {
        let slot = self.table.slot(id)?;
        let begun = !matches!(self.table.get(slot)?.request, RequestState::Queued(_));
        if begun && self.can_cancel() {
            self.ask_cancel(slot);
            return None;
        }
        let started = self.started(slot);
        Some((self.give_up(id, now)?, started))
    }

    /// The response that is being read is discarded from here on (PROTOCOL C8).
    pub fn discard_response(&mut self, id: TaskId, now: Instant) -> Option<T> {
        let slot = self.table.slot(id)?;
        self.disown(slot, now)
    }

    /// Ends the connection: its calls, in the order of their starts, and
    /// whether each may have run (PROTOCOL C3).
    pub fn into_lost(mut self) -> Vec<LostCall<T>> {
        let taken = self.outgoing.taken();
        let lost = |entry: Entry<T>| {
            let started = entry.started(taken);
            match entry.owner {
                Owner::Caller(context) => Some(LostCall {
                    id: entry.id,
                    context,
                    started,
                }),
                Owner::GivenUp | Owner::KeepAlive | Owner::Negotiate => None,
            }
        };
        self.table.drain().into_iter().filter_map(lost).collect()
    }

    /// The next call that has ended.
    pub fn poll_finished(&mut self) -> Option<Finished<T>> {
        self.finished.pop_front()
    }
}

impl<T> Entry<T> {
    fn started(&self, taken: u64) -> Started {
        match self.request {
            RequestState::PutOut { end, .. } if end <= taken => Started::Perhaps,
            _ => Started::No,
        }
    }
}

// Steps that the commands share.
impl<T> Calls<T> {
    fn start_negotiate(&mut self, now: Instant) {
        let mut message = BytesMut::new();
        let asked = Negotiate {
            version: crate::wire::NEGOTIATE_VERSION,
            features: Features::SUPPORTED,
        };
        asked.encode(self.settings.byte_order, &mut message);
        self.start_own(TaskCode::NEGOTIATE, Owner::Negotiate, message.freeze(), now);
    }

    /// Starts a request of the connection's own, to go out before any call's.
    fn start_own(&mut self, code: TaskCode, owner: Owner<T>, message: Bytes, now: Instant) {
        let id = self.free_id();
        let whole = RequestMessage::Whole(message);
        let response = (ResponseMode::Whole, self.settings.timeouts.response);
        if code == TaskCode::KEEP_ALIVE {
            self.keep_alive = Some(id);
        }
        let slot = self.insert(id, code, owner, whole, response, now);
        self.outgoing.queue_first(slot);
    }

    fn insert(
        &mut self,
        id: TaskId,
        code: TaskCode,
        owner: Owner<T>,
        message: RequestMessage,
        (response, response_timeout): (ResponseMode, Duration),
        now: Instant,
    ) -> usize {
        let deadline = now.checked_add(response_timeout);
        self.clocks.expect_response(deadline);
        self.started += 1;
        self.table.insert(Entry {
            id,
            code,
            owner,
            request: RequestState::Queued(message),
            response,
            cancel: CancelState::NotAsked,
            started_as: self.started,
            response_timeout,
            deadline,
        })
    }

    /// Ids go up, so that a late second response meets no new task (PROTOCOL N7, C1).
    fn free_id(&mut self) -> TaskId {
        loop {
            let id = TaskId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if self.table.slot(id).is_none() {
                return id;
            }
        }
    }

    /// Takes the caller off an entry, whose response is discarded from then on.
    fn disown(&mut self, slot: usize, now: Instant) -> Option<T> {
        let entry = self.table.get_mut(slot)?;
        if !matches!(entry.owner, Owner::Caller(_)) {
            return None;
        }
        let Owner::Caller(context) = std::mem::replace(&mut entry.owner, Owner::GivenUp) else {
            return None;
        };
        // The clock of a streamed message runs on: it may not stay unfinished for ever.
        if !self.outgoing.is_streaming(slot) {
            entry.deadline = None;
        }
        self.incoming.discard(slot);
        self.callers -= 1;
        if self.callers == 0 {
            self.clocks.unused(now);
        }
        Some(context)
    }

    fn can_cancel(&self) -> bool {
        self.negotiated().is_some() && self.state == State::Open
    }

    /// Sees to it that E2 is sent, once, behind the end of the message (PROTOCOL C5).
    fn ask_cancel(&mut self, slot: usize) {
        if !self.can_cancel() {
            return;
        }
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        if entry.cancel != CancelState::NotAsked {
            return;
        }
        match entry.request {
            RequestState::Queued(_) => {}
            RequestState::Sending { .. } => entry.cancel = CancelState::WhenPutOut,
            RequestState::PutOut { .. } => {
                entry.cancel = CancelState::Asked;
                self.outgoing.queue_cancel(entry.id);
            }
        }
    }

    fn started(&self, slot: usize) -> Started {
        let entry = self.table.get(slot);
        entry.map_or(Started::No, |entry| entry.started(self.outgoing.taken()))
    }

    /// Takes an entry out, and tells its caller, if it has one, what became of it.
    fn end(&mut self, slot: usize, outcome: CallOutcome, now: Instant) {
        let Some(entry) = self.table.remove(slot) else {
            return;
        };
        if entry.cancel == CancelState::Asked {
            // E2 for an id that is not live could meet the id's next task.
            self.outgoing.forget_cancel(entry.id);
        }
        if let Owner::Caller(context) = entry.owner {
            self.callers -= 1;
            if self.callers == 0 {
                self.clocks.unused(now);
            }
            self.finished.push_back(Finished {
                id: entry.id,
                context,
                outcome,
            });
        }
    }

    /// Tells the caller now; the id stays live until the response has come.
    fn end_early(&mut self, slot: usize, outcome: CallOutcome, now: Instant) {
        let Some(id) = self.table.get(slot).map(|entry| entry.id) else {
            return;
        };
        if let Some(context) = self.disown(slot, now) {
            self.finished.push_back(Finished {
                id,
                context,
                outcome,
            });
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

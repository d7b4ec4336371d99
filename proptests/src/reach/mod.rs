//! The interesting states, in one list; how often each was reached.
//!
//! A suite counts what its histories reached and fails when one that it should
//! reach is missing: a generator is blind to what it never makes.

mod ends;
mod execution;
mod limits;
mod server;
mod tasks;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::History;
use crate::oracle::facts::Facts;
use crate::oracle::server::Together;
use crate::server::ServerHistory;

/// Declares the list: each state with what it means.
macro_rules! states {
    ($($(#[$group:meta])* $state:ident = $meaning:literal,)*) => {
        /// An interesting state of a connection or of one of its tasks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reached {
            $(#[doc = $meaning] $state,)*
        }

        impl Reached {
            /// The whole list.
            pub const ALL: &[Self] = &[$(Self::$state,)*];

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$state => $meaning,)*
                }
            }
        }
    };
}

states! {
    CancelInReceiving = "a task was cancelled while its message was read",
    CancelBeforeFirstPoll = "a task was cancelled in Running, before its function's first poll",
    CancelInRunning = "a task was cancelled while its function ran",
    CancelInCancelling = "a task was cancelled again while it was ending",
    CancelInResponding = "a task was cancelled when its function had ended, and answered with its result",
    CancelOfNothing = "an id that was not live was cancelled",
    CancelOnWire = "a Cancel ended a task",
    CancelByHandle = "the server's program cancelled one task",
    CancelAll = "the server's program cancelled all tasks, and there was one",
    CancelWins = "cancel and completion at the same time, answered CANCELLED",
    CompletionWins = "cancel and completion at the same time, answered with the result",
    CooperatedInGrace = "a cooperating function returned within its grace",
    GraceOver = "a cooperating function was dropped after its grace",
    Stuck = "a task was stuck",
    StuckReturnsLate = "a stuck function returned after its task was answered",
    StuckIdReused = "the id of a stuck task was used again while its function ran",
    StuckAtTheEnd = "a task was stuck when its connection ended",
    IdReusedAtOnce = "an id was used again at the moment of its answer",
    IdReusedTooEarly = "an id was used again before its answer had come, and accepted",
    DuplicateTaskId = "an id was used again while it was live",
    RunLimit = "a task overran its run limit",
    TaskFunctionLimit = "a task function took too long",
    BodyLimit = "a body gave nothing for too long",
    Panic = "a run function panicked",
    TaskFunctionPanic = "a task function panicked",
    CodedError = "a run function failed with a code",
    UncodedError = "a run function failed without a code",
    TaskFunctionError = "a task function failed",
    NoRunFunction = "a task function returned no run function",
    UnknownCode = "an unknown task code was answered",
    UnknownReservedCode = "a reserved code that this server does not know was answered",
    BodyStreamed = "a body of more than 64 KiB came whole",
    BodyTornBefore = "a body failed without a code before its response had begun",
    BodyTornAfter = "a body failed after its response had begun",
    BodyCoded = "a body failed with a code before its response had begun",
    BodyPanic = "a body panicked",
    BodiesTogether = "two streamed bodies were produced at the same time",
    OutOfOrder = "answers came in another order than their requests",
    ManyPieces = "a request came in three pieces or more",
    SmallBlocks = "a message came in blocks that were not full",
    EmptyMessage = "a task had an empty message",
    LongMessage = "a task had a message of more than 64 KiB",
    ListedLive = "a list had a live task",
    Negotiated = "extensions were granted",
    NegotiateMalformed = "a Negotiate was malformed",
    NegotiateNewer = "a Negotiate had a version above 1",
    NegotiatedAgain = "a second Negotiate replaced the first",
    GoodbyeNone = "a Goodbye, and nothing but a Negotiate was accepted",
    GoodbyeSome = "a Goodbye that did not count every request sent",
    GoodbyeAll = "a Goodbye that counted every request sent, tasks among them",
    GoodbyeBetween = "answers came behind a Goodbye",
    Processing = "a sign of life",
    ProcessingAgain = "a second sign of life of one task",
    ProcessingDraining = "a sign of life while draining",
    DisconnectAtByte0 = "a disconnect between two requests",
    DisconnectAtByte1 = "a disconnect after the first byte of a header",
    DisconnectAtByte2 = "a disconnect after the second byte of a header",
    DisconnectAtByte3 = "a disconnect after the third byte of a header",
    DisconnectAtByte4 = "a disconnect after the fourth byte of a header",
    DisconnectAtByte5 = "a disconnect when a header had come and nothing more",
    DisconnectInMessage = "a disconnect inside a message",
    SecondShorter = "a second, shorter disconnect",
    SecondLonger = "a second, longer disconnect",
    Drained = "a disconnect waited for a task and sent its answer",
    DeadlineReached = "a deadline ended the connection",
    DeadlineWhileStreaming = "a deadline cut a response that had begun",
    LingerToTheEnd = "linger ended without the client's end of stream",
    EndInLinger = "the client's end of stream ended linger",
    CloseInOpen = "a close of an open connection",
    CloseInDraining = "a close of a draining connection",
    Shutdown = "a shutdown",
    ContextEnded = "the end of the context",
    ClientClosed = "the client closed between two requests",
    ClientLeftTasks = "the client closed while tasks ran",
    HalfCloseDrained = "a half-close was drained",
    EndInHeader = "the stream ended inside a header",
    EndInMessage = "the stream ended inside a message",
    ResetIdle = "a reset with nothing to do",
    ResetWithTasks = "a reset while tasks ran",
    ResetInDraining = "a reset while draining",
    ErrorInDraining = "a connection error while draining",
    IdleEnd = "L1 was reached",
    ReadTimeoutInHeader = "L2 was reached in a header",
    ReadTimeoutInMessage = "L2 was reached in a message",
    ReadTooSlow = "a message came too slowly",
    WriteTimeout = "the client took nothing (L3)",
    WriteTooSlow = "the client took too little (L3)",
    MessageTooLong = "L4 was exceeded",
    MessageOfTheLimit = "a message of just L4",
    InFlightReached = "L5 was reached",
    InFlightLeft = "L5 was reached, and a task came in behind it",
    ServerFull = "L6 was reached",
    ServerFullLeft = "L6 was reached, and a later task was taken again",
    UnsentReached = "L7 was reached",
    UnsentLeft = "L7 was reached, and the client took all in the end",
    HeldReached = "L16 was reached",
    KeepAliveWhileFull = "a KeepAlive was answered while L5 was reached",
    BytesDiscarded = "requests sent behind a disconnect were discarded",
    LocalCancelled = "a function in the connection's own task was cancelled while it ran",
    LocalCooperated = "one there ended by itself in its grace",
    LocalPanic = "one there panicked",
    LocalBody = "one there returned a body that came whole",
    LocalRunLimit = "one there overran its run limit",
    LocalOutlives = "one there ended by itself after its connection",
    SpawnCancelled = "a function with an executor task of its own was cancelled while it ran",
    SpawnCancelledFirst = "one of these was cancelled before its first poll",
    SpawnCooperated = "one of these ended by itself in its grace",
    SpawnPanic = "one of these panicked",
    SpawnBody = "one of these returned a body that came whole",
    SpawnRunLimit = "one of these overran its run limit",
    SpawnOutlives = "one of these ended by itself after its connection",
    SameIdBeside = "two connections had live tasks of one id",
    CameBeside = "a connection came while another one had a task",
    CancelBeside = "a task was cancelled beside a task of the same id on another connection, which went on",
    CloseBeside = "a connection was closed, and a task of another one went on",
    DisconnectBeside = "a connection was disconnected, and a task of another one went on",
    ResetBeside = "a connection was reset, and a task of another one went on",
    ErrorBeside = "a connection error ended a connection, and a task of another one went on",
    ServerDisconnectOfSeveral = "a disconnect of all clients met tasks of two connections",
    ShutdownOfSeveral = "a shutdown met tasks of two connections",
    ServerFullTogether = "L6 was reached by the tasks of two connections",
    ServerHeldTogether = "L16 of the server was reached by messages of two connections",
    RegistrationFullTogether = "a registration's own limit was reached by tasks of two connections",
    ServerUnsentBeside = "L7 of the server was reached by responses to another client",
    ConnectionRefused = "L8 was reached",
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.meaning())
    }
}

/// Counts the states that histories reached.
///
/// ```
/// let mut reach = oracle::Reach::default();
/// reach.count(&oracle::Handmade::new().cancels(7).until(1).history());
/// assert_eq!(reach.times(oracle::Reached::CancelOfNothing), 1);
/// assert!(reach.missing().contains(&oracle::Reached::Stuck));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<Reached, u64>);

impl Reach {
    /// Counts what this history reached, each state once. The history must be
    /// one that [`Oracle::judge`](crate::Oracle::judge) has accepted.
    pub fn count(&mut self, history: &History) {
        for state in reached(history) {
            self.mark(state);
        }
    }

    /// Counts what the connections of a server reached, each by itself and
    /// together; they must have been accepted by [`ServerHistory::judge`].
    pub fn count_server(&mut self, server: &ServerHistory) {
        for history in &server.connections {
            self.count(history);
        }
        for state in reached_together(server) {
            self.mark(state);
        }
    }

    /// Counts a state that a tester saw by itself.
    pub fn mark(&mut self, state: Reached) {
        *self.0.entry(state).or_insert(0) += 1;
    }

    /// Adds what another counter has.
    pub fn merge(&mut self, other: &Self) {
        for (state, times) in &other.0 {
            *self.0.entry(*state).or_insert(0) += times;
        }
    }

    /// How many histories reached this state.
    #[must_use]
    pub fn times(&self, state: Reached) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// The states that none has reached.
    #[must_use]
    pub fn missing(&self) -> Vec<Reached> {
        let all = Reached::ALL.iter().copied();
        all.filter(|state| self.times(*state) == 0).collect()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Reached::ALL.iter();
        all.try_for_each(|state| writeln!(f, "{:>8}  {state}", self.times(*state)))
    }
}

/// The states that this history reached, each once.
#[must_use]
pub fn reached(history: &History) -> Vec<Reached> {
    let facts = Facts::of(history);
    let mut reached = Seen(Vec::new());
    tasks::detect(&facts, &mut reached);
    ends::detect(&facts, &mut reached);
    limits::detect(&facts, &mut reached);
    execution::detect(&facts, &mut reached);
    reached.sorted()
}

/// The states that several connections of one server reached together, each
/// once; what one reached by itself is not among them.
#[must_use]
pub fn reached_together(server: &ServerHistory) -> Vec<Reached> {
    let mut reached = Seen(Vec::new());
    if server.connections.len() > 1 {
        server::detect(&Together::of(server), &mut reached);
    }
    reached.sorted()
}

/// Gathers states.
pub(crate) struct Seen(Vec<Reached>);

impl Seen {
    pub(crate) fn note(&mut self, state: Reached, is_so: impl Into<Option<bool>>) {
        if is_so.into() == Some(true) {
            self.0.push(state);
        }
    }

    fn sorted(mut self) -> Vec<Reached> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

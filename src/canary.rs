//! Bugs that can be planted, one at a time, to see that the tests find them.
//!
//! They exist with the private feature `__canary` alone; without it
//! [`planted`] is `false` at compile time, and nothing of them is left.

/// A bug that somebody could really have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    /// A completion does not wake a driver that sleeps.
    LostWakeUp,
    /// A group of run functions does not learn that there is an order for one of them (T10).
    OrderUnseen,
    /// The id of a cancelled task is free before its function has ended (T10, T11).
    IdFreedEarly,
    /// A result that comes after a cancel under Drop is sent all the same (T10).
    LateResultWins,
    /// A stuck function's late result is answered a second time (T13).
    DoubleAnswer,
    /// Of two disconnects the longer duration counts (D2).
    LongestDurationWins,
    /// What is queued when the last task ends is dropped at drain (D3).
    ResponseDroppedAtDrain,
    /// Goodbye counts one request more than were accepted (E4).
    GoodbyeOffByOne,
    /// Goodbye comes unasked (E3, E4).
    GoodbyeUnasked,
    /// A task that panics keeps its place (L6).
    PlaceLeakedOnPanic,
    /// A request is answered before the transport has taken its response (D9).
    AnsweredTooEarly,
    /// The read credit can be saved up without a bound (L2).
    ReadCreditUncapped,
    /// The read clock runs on while reading is paused (L12).
    ReadClockInPause,
    /// A task whose response has begun is still said to be worked on (E5).
    ProcessingAfterResponse,
    /// Responses interleave where one ends while another is under way (N8).
    Interleaved,
    /// A duplicate id is only found among the tasks of the same code (T11).
    DuplicateByCode,
    /// A cancelled task function's request is answered before its end (T5).
    AnsweredBeforeItsEnd,
    /// A connection error cancels no task that cooperates (D8).
    CooperatingForgotten,
    /// The client sends an interrupted call again by itself (C3).
    InterruptedSentAgain,
    /// The client frees the id of a call that was given up (C5).
    GivenUpIdReused,
}

/// Whether this bug is planted: by its name, in the variable `ASYNCSERVER_CANARY`.
///
/// # Panics
/// When the variable names no bug: a canary that is never planted would seem to survive.
#[cfg(feature = "__canary")]
pub(crate) fn planted(bug: Canary) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Canary>> = std::sync::OnceLock::new();
    let named = || {
        let name = std::env::var("ASYNCSERVER_CANARY").ok()?;
        let found = ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        assert!(found.is_some(), "{name} is no canary: there are {ALL:?}");
        found
    };
    *PLANTED.get_or_init(named) == Some(bug)
}

#[cfg(feature = "__canary")]
const ALL: [Canary; 20] = [
    Canary::LostWakeUp,
    Canary::OrderUnseen,
    Canary::IdFreedEarly,
    Canary::LateResultWins,
    Canary::DoubleAnswer,
    Canary::LongestDurationWins,
    Canary::ResponseDroppedAtDrain,
    Canary::GoodbyeOffByOne,
    Canary::GoodbyeUnasked,
    Canary::PlaceLeakedOnPanic,
    Canary::AnsweredTooEarly,
    Canary::ReadCreditUncapped,
    Canary::ReadClockInPause,
    Canary::ProcessingAfterResponse,
    Canary::Interleaved,
    Canary::DuplicateByCode,
    Canary::AnsweredBeforeItsEnd,
    Canary::CooperatingForgotten,
    Canary::InterruptedSentAgain,
    Canary::GivenUpIdReused,
];

/// Whether this bug is planted: never.
#[cfg(not(feature = "__canary"))]
pub(crate) const fn planted(_: Canary) -> bool {
    false
}

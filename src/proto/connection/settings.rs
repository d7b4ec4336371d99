//! What a connection is told once, at its start.

use crate::proto::{Limits, Timeouts};
use crate::wire::{ByteOrder, ErrorCode};

/// What an end of the client's stream between two requests means (PROTOCOL D7).
///
/// ```
/// use asyncserver::server::OnHalfClose;
/// assert_eq!(OnHalfClose::default(), OnHalfClose::ClientIsGone);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHalfClose {
    /// The client is gone: its live tasks are cancelled.
    #[default]
    ClientIsGone,
    /// The client only has nothing more to send: its live tasks are finished.
    Finish,
}

/// What a connection is told once, at its start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The order of bytes in integers.
    pub order: ByteOrder,
    /// How much the client may make the server hold.
    pub limits: Limits,
    /// How long it may make it wait.
    pub timeouts: Timeouts,
    /// What its end of stream means.
    pub on_half_close: OnHalfClose,
    /// What stands in for the library's own errors.
    pub error_answers: ErrorAnswers,
}

/// What a client is sent in the place of one of the library's own errors,
/// where the application has another meaning for its code (PROTOCOL N9).
///
/// ```
/// use asyncserver::server::{ErrorAnswer, Server};
/// use asyncserver::wire::ErrorCode;
/// let server = Server::builder()
///     .answer_for(ErrorCode::PANICKED, ErrorAnswer::Code(ErrorCode(7)))
///     .answer_for(ErrorCode::UNKNOWN_TASK, ErrorAnswer::CloseConnection)
///     .build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAnswer {
    /// `Error` with this code.
    Code(ErrorCode),
    /// Nothing: it is a connection error, and the request is interrupted.
    CloseConnection,
}

/// The answers for all of the library's own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorAnswers([ErrorAnswer; Self::COUNT]);

impl ErrorAnswers {
    /// The library's own codes are the last ones.
    const COUNT: usize = 6;
    const FIRST: u8 = ErrorCode::MALFORMED.0;

    /// Whether `error` is one of the library's own.
    #[must_use]
    pub const fn covers(error: ErrorCode) -> bool {
        error.0 >= Self::FIRST
    }

    /// What is sent for `error`; every other code is sent as it is.
    #[must_use]
    pub fn of(&self, error: ErrorCode) -> ErrorAnswer {
        let place = error.0.checked_sub(Self::FIRST).map(usize::from);
        let answer = place.and_then(|place| self.0.get(place));
        answer.copied().unwrap_or(ErrorAnswer::Code(error))
    }

    /// Sets it, for an error that is one of the library's own.
    pub fn set(&mut self, error: ErrorCode, answer: ErrorAnswer) {
        let place = error.0.checked_sub(Self::FIRST).map(usize::from);
        if let Some(found) = place.and_then(|place| self.0.get_mut(place)) {
            *found = answer;
        }
    }
}

impl Default for ErrorAnswers {
    /// Each is sent as it is.
    fn default() -> Self {
        Self([250, 251, 252, 253, 254, 255].map(|code| ErrorAnswer::Code(ErrorCode(code))))
    }
}

//! How a task ends if nobody cancels it: by what its kind says (section 11) or
//! by what its functions reported (T3, T6–T9).

use std::fmt;

use asyncserver::wire::{ByteOrder, ErrorCode};

use super::facts::{Facts, Run};
use super::received::Reply;
use super::rule::Rule;
use super::sent::Sent;
use crate::history::{BodyEnd, FunctionEnd, RunEnd, View};
use crate::tasks::{Does, Natural, TaskSpec, is_pattern, natural};

/// The terminal response that a request has by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok(Vec<u8>),
    /// `OK` with a pattern of so many bytes.
    Pattern(usize),
    Error(u8),
    /// Ids of live tasks, ascending (section 11, `tasks`).
    LiveIds,
    /// A connection error instead of a response, by this rule.
    ConnectionError {
        rule: Rule,
        body_bytes: usize,
    },
    /// None: its function has not ended, or was dropped.
    Nothing,
    /// Not known: nothing of it was recorded.
    Anything,
}

impl Outcome {
    pub(crate) fn matches(&self, reply: &Reply, order: ByteOrder) -> bool {
        match (self, reply) {
            (Self::Anything, _) => true,
            (Self::Ok(expected), Reply::Ok { body, .. }) => body == expected,
            (Self::Pattern(length), Reply::Ok { body, .. }) => is_pattern(body, *length),
            (Self::Error(expected), Reply::Error { code, .. }) => code == expected,
            (Self::LiveIds, Reply::Ok { id, body, .. }) => {
                let ids = live_ids(body, order);
                ids.is_some_and(|ids| ids.is_sorted_by(|a, b| a < b) && ids.contains(id))
            }
            _ => false,
        }
    }
}

/// The ids in a body of the task `tasks`.
pub(crate) fn live_ids(body: &[u8], order: ByteOrder) -> Option<Vec<u32>> {
    let ids = body.chunks(4).map(|four| four.try_into().ok());
    ids.map(|four| four.map(|four| order.decode_u32(four)))
        .collect()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(body) if body.len() <= 32 => write!(f, "OK with {}", crate::Hex::from(body)),
            Self::Ok(body) => write!(f, "OK with {} certain bytes", body.len()),
            Self::Pattern(length) => write!(f, "OK with {length} bytes, byte i = i mod 251"),
            Self::Error(code) => write!(f, "Error {}", ErrorCode(*code)),
            Self::LiveIds => {
                f.write_str("OK with the ids of the live tasks, ascending, its own included")
            }
            Self::ConnectionError { .. } => f.write_str("no response: a connection error"),
            Self::Nothing => f.write_str("no response while its function has not ended by itself"),
            Self::Anything => f.write_str("anything"),
        }
    }
}

/// How the task of this request ends by itself.
pub(crate) fn outcome(facts: &Facts<'_>, request: &Sent, task: &TaskSpec) -> Outcome {
    if let Some(function) = request.function.map(|function| &facts.functions[function]) {
        match function.ended.map(|(_, how)| how) {
            Some(FunctionEnd::Failed) => return error(Rule::T3, 0),
            Some(FunctionEnd::Panicked) => return Outcome::Error(ErrorCode::PANICKED.0),
            Some(FunctionEnd::Nothing) => return Outcome::Ok(Vec::new()),
            Some(FunctionEnd::Dropped) => return Outcome::Nothing,
            Some(FunctionEnd::Task) | None => {}
        }
    }
    let order = facts.config.byte_order.into();
    match natural(task.does, &request.message, order).0 {
        Natural::Ok(body) => Outcome::Ok(body),
        Natural::Pattern(length) => Outcome::Pattern(length),
        Natural::Error(code) => Outcome::Error(code),
        Natural::LiveIds => Outcome::LiveIds,
        Natural::ConnectionError { body_bytes } => match task.does {
            Does::Reject => error(Rule::T3, body_bytes),
            Does::Break => error(Rule::T8, body_bytes),
            _ => error(Rule::T7, body_bytes),
        },
        Natural::AsReported => match facts.run_of(request) {
            Some(run) => reported(run, task),
            None if facts.history.views.tasks == View::Complete => Outcome::Nothing,
            None => Outcome::Anything,
        },
    }
}

const fn error(rule: Rule, body_bytes: usize) -> Outcome {
    Outcome::ConnectionError { rule, body_bytes }
}

/// What a scripted run function reported (T6–T9).
fn reported(run: &Run, task: &TaskSpec) -> Outcome {
    let Some((_, how)) = run.ended else {
        return Outcome::Nothing;
    };
    match how {
        RunEnd::Result => Outcome::Anything,
        RunEnd::Whole { bytes } => Outcome::Pattern(bytes),
        RunEnd::Streamed { bytes, then } => {
            let stalled = then == BodyEnd::Stalls;
            let then = run.body.filter(|_| stalled).map_or(then, |(_, how)| how);
            body(bytes, then, task)
        }
        RunEnd::Coded { code } => Outcome::Error(code),
        RunEnd::Uncoded => error(Rule::T8, 0),
        RunEnd::Panicked => Outcome::Error(ErrorCode::PANICKED.0),
        RunEnd::Dropped => Outcome::Nothing,
    }
}

/// T7, T9, L15: what a body's end makes of its response depends on whether it
/// has begun.
fn body(bytes: usize, then: BodyEnd, task: &TaskSpec) -> Outcome {
    let begun = bytes >= task.begin_after_bytes;
    match then {
        BodyEnd::Whole => Outcome::Pattern(bytes),
        BodyEnd::Torn => error(Rule::T7, bytes),
        BodyEnd::Coded { .. } | BodyEnd::Panicked | BodyEnd::Stalls if begun => {
            error(Rule::T7, bytes)
        }
        BodyEnd::Coded { code } => Outcome::Error(code),
        BodyEnd::Panicked => Outcome::Error(ErrorCode::PANICKED.0),
        BodyEnd::Stalls => Outcome::Error(ErrorCode::DEADLINE.0),
    }
}

//! The request that is being read.
//!
//! ```text
//! Between ── header ──► Task, or Discarding ── message ended ──► Between
//!    └── no place (L5, L16) ──► Held ── place free ──┘
//! ```

use std::time::Duration;

use super::admission::{Delivery, Found};
use super::reading::READER_BUFFER;
use crate::proto::ledger::TaskKey;
use crate::wire::{ErrorCode, Negotiate, RequestHeader};

/// What a discarded message's end brings.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    KeepAlive,
    Cancel,
    Negotiate {
        prefix: [u8; Negotiate::LENGTH],
        length: usize,
    },
    Error(ErrorCode),
}

/// What the task function has come to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    NotYet,
    Run,
    Nothing,
    /// It was dropped, or panicked: what to answer.
    Failed(ErrorCode),
}

/// The request that is being read.
#[derive(Debug)]
pub(super) enum Current<T> {
    /// None.
    Between,
    /// Its header waits for a place (L5, L16).
    Held(Box<Held<T>>),
    /// Its message is discarded.
    Discarding(Discarding),
    /// Its message is read.
    Task(Receiving),
}

#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) header: RequestHeader,
    pub(super) found: Found,
    pub(super) task: T,
}

impl<T: Default> Held<T> {
    #[inline]
    pub(super) fn new(header: RequestHeader, found: Found) -> Self {
        Self {
            header,
            found,
            task: T::default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Discarding {
    pub(super) header: RequestHeader,
    pub(super) after: After,
    pub(super) payload_len: usize,
    pub(super) limit_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) header: RequestHeader,
    pub(super) key: TaskKey,
    pub(super) delivery: Delivery,
    pub(super) run_limit: Option<Duration>,
    pub(super) payload_len: usize,
    pub(super) limit_bytes: usize,
    /// Whether the end of the message has been looked at.
    pub(super) ended: bool,
    pub(super) returned: Returned,
}

impl Receiving {
    /// How many more bytes are collected at most, while so many wait to be delivered.
    pub(super) fn room(&self, waiting: usize) -> usize {
        match self.delivery {
            Delivery::Whole => self.limit_bytes.saturating_sub(waiting),
            Delivery::Streamed => READER_BUFFER.saturating_sub(waiting),
        }
    }

    /// Whether as many bytes as this are enough for its task function to take first.
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        self.delivery == Delivery::Streamed && waiting >= READER_BUFFER
    }
}

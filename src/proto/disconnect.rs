//! The end of a connection, from the server's side (PROTOCOL D1–D8).
//!
//! ```text
//!  Open ── disconnect, idle, half-close ──► Draining ── drained ──► Lingering ── end of stream, linger ──► Closed
//!    │                                         │ connection error      ▲
//!    └── connection error, client closed ────► Failing ── written ─────┘
//!  from anywhere: deadline, transport error, close ──► Closed
//! ```

use std::time::{Duration, Instant};

use super::report::EndReason;
use crate::canary::{Canary, planted};

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Requests are read.
    Open,
    /// No requests are read; live tasks go on, and what they answer is sent.
    Draining,
    /// Live tasks were cancelled; what is queued is still written.
    Failing,
    /// All is written and this side half-closed; the client's end of stream is awaited.
    Lingering {
        /// When the wait ends; `None`: the clock cannot add the linger time.
        until: Option<Instant>,
    },
    /// Over.
    Closed,
}

/// The state machine of a connection's end.
#[derive(Clone, Debug)]
pub struct Disconnect {
    phase: Phase,
    /// The earliest of all the deadlines that disconnects have set (D2).
    deadline: Option<Instant>,
    /// Set when Open is left.
    reason: Option<EndReason>,
    deadline_reached: bool,
    /// An end of stream that came in Draining or Failing ends Lingering at once (D7).
    end_of_input: bool,
    /// The end of this side's stream is on its way: without it, the last bytes
    /// might stay with a transport that buffers (D3).
    half_closed: bool,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self::new()
    }
}

impl Disconnect {
    /// An open connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Open,
            deadline: None,
            reason: None,
            deadline_reached: false,
            end_of_input: false,
            half_closed: false,
        }
    }

    /// Where the connection is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it ended; `None` while it is open.
    #[must_use]
    pub const fn reason(&self) -> Option<&EndReason> {
        self.reason.as_ref()
    }

    /// Whether a deadline closed it.
    #[must_use]
    pub const fn deadline_reached(&self) -> bool {
        self.deadline_reached
    }

    /// When it closes at the latest, linger aside.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let linger = match self.phase {
            Phase::Lingering { until } => until,
            Phase::Closed => return None,
            _ => None,
        };
        self.deadline.into_iter().chain(linger).min()
    }

    /// `disconnect(after)`, and L1: returns whether Open was left by it.
    pub fn disconnect(&mut self, reason: EndReason, after: Duration, now: Instant) -> bool {
        if self.phase == Phase::Closed {
            return false;
        }
        // PROTOCOL D2: the shortest wins; what the clock cannot add is no deadline.
        let deadlines = self.deadline.into_iter().chain(now.checked_add(after));
        self.deadline = if planted(Canary::LongestDurationWins) {
            deadlines.max()
        } else {
            deadlines.min()
        };
        self.start_draining(reason)
    }

    /// Stops reading without a deadline (D7, half-close): returns whether Open was left by it.
    pub fn start_draining(&mut self, reason: EndReason) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        self.phase = Phase::Draining;
        self.reason = Some(reason);
        true
    }

    /// A connection error, or a client that is gone (D7, D8): returns whether
    /// Failing was entered by it.
    pub fn fail(&mut self, reason: EndReason) -> bool {
        if !matches!(self.phase, Phase::Open | Phase::Draining) {
            return false;
        }
        self.phase = Phase::Failing;
        self.reason = Some(reason);
        true
    }

    /// Everything that may still be written has been (D3): half-closes.
    pub fn start_lingering(&mut self, linger: Duration, now: Instant) {
        if matches!(self.phase, Phase::Draining | Phase::Failing) {
            self.phase = Phase::Lingering {
                until: now.checked_add(linger),
            };
        }
    }

    /// This side's half-close, with which Lingering begins, is done.
    pub fn handle_half_closed(&mut self) {
        self.half_closed = true;
        self.end_if_client_is_done();
    }

    /// The client's end of stream, once Open has been left.
    pub fn handle_end_of_input(&mut self) {
        self.end_of_input = true;
        self.end_if_client_is_done();
    }

    fn end_if_client_is_done(&mut self) {
        let both_ended = self.end_of_input && self.half_closed;
        if both_ended && matches!(self.phase, Phase::Lingering { .. }) {
            self.phase = Phase::Closed;
        }
    }

    /// Closes at once, for `reason` if nothing came before it: `close` (D5) and,
    /// which also replaces the reason of Draining, a transport error (D9).
    pub fn close(&mut self, reason: EndReason) {
        let replaces = match self.phase {
            Phase::Open => true,
            Phase::Draining => matches!(reason, EndReason::Transport(_)),
            _ => false,
        };
        if replaces {
            self.reason = Some(reason);
        }
        self.phase = Phase::Closed;
    }

    /// Closes if the deadline or the end of linger has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // A connection that had only the client's end of stream to wait for
            // was not cut short by its deadline.
            self.deadline_reached = !matches!(self.phase, Phase::Lingering { .. });
            self.phase = Phase::Closed;
        } else if self.next_deadline().is_some_and(|until| until <= now) {
            self.phase = Phase::Closed;
        }
    }
}

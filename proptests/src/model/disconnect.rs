//! The end of a connection (PROTOCOL D1–D9).

use asyncserver::proto::{EndReason, ProtocolError};

use super::time::{Nanos, earliest, has_come, later};

/// Why a connection ended (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "D9 lists them")]
pub enum Reason {
    Graceful,
    ClientClosed,
    WaitedTooLong,
    ReadTimeout,
    ReadTooSlow,
    WriteTimeout,
    WriteTooSlow,
    TooLong {
        id: u32,
        code: u8,
        limit: usize,
    },
    Duplicate {
        id: u32,
        code: u8,
        offset: u64,
    },
    UnexpectedEnd {
        offset: u64,
        missing: &'static str,
    },
    TaskFunction {
        id: u32,
        code: u8,
    },
    RunFunction {
        id: u32,
        code: u8,
    },
    /// N9: the application closes the connection instead of this error.
    Unanswered {
        id: u32,
        code: u8,
        error: u8,
    },
    Body {
        id: u32,
        code: u8,
    },
    Transport,
    Aborted,
    /// One that the models never give.
    Other,
}

impl From<&EndReason> for Reason {
    fn from(reason: &EndReason) -> Self {
        match reason {
            EndReason::GracefulDisconnect => Self::Graceful,
            EndReason::ClientClosed => Self::ClientClosed,
            EndReason::TimeoutWaitingForTask => Self::WaitedTooLong,
            EndReason::ReadTimeout => Self::ReadTimeout,
            EndReason::ReadTooSlow => Self::ReadTooSlow,
            EndReason::WriteTimeout => Self::WriteTimeout,
            EndReason::WriteTooSlow => Self::WriteTooSlow,
            EndReason::MessageTooLong {
                id,
                code,
                limit_bytes,
            } => Self::TooLong {
                id: id.0,
                code: code.0,
                limit: *limit_bytes,
            },
            EndReason::Protocol(ProtocolError::DuplicateTaskId { id, code, offset }) => {
                Self::Duplicate {
                    id: id.0,
                    code: code.0,
                    offset: *offset,
                }
            }
            EndReason::Protocol(ProtocolError::UnexpectedEnd(end)) => Self::UnexpectedEnd {
                offset: end.offset,
                missing: end.missing,
            },
            EndReason::TaskFunction { id, code, .. } => Self::TaskFunction {
                id: id.0,
                code: code.0,
            },
            EndReason::RunFunction { id, code, .. } => Self::RunFunction {
                id: id.0,
                code: code.0,
            },
            EndReason::Unanswered { id, code, error } => Self::Unanswered {
                id: id.0,
                code: code.0,
                error: error.0,
            },
            EndReason::Body { id, code, .. } => Self::Body {
                id: id.0,
                code: code.0,
            },
            EndReason::Transport(_) => Self::Transport,
            EndReason::Aborted => Self::Aborted,
            _ => Self::Other,
        }
    }
}

/// Where a connection is (the picture above D1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "section 8 shows them")]
pub enum Phase {
    Open,
    Draining,
    Failing,
    Lingering { until: Option<Nanos> },
    Closed,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Disconnect {
    /// Where the connection is.
    pub phase: Phase,
    /// Why it ends, once Open has been left.
    pub reason: Option<Reason>,
    /// Whether a deadline cut it short.
    pub deadline_reached: bool,
    /// Every deadline that was set.
    deadlines: Vec<Nanos>,
    /// Whether the client's end of stream has come, Open being left.
    client_is_done: bool,
    /// Whether the server's own half-close is done (D3).
    server_is_done: bool,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self {
            phase: Phase::Open,
            reason: None,
            deadline_reached: false,
            deadlines: Vec::new(),
            client_is_done: false,
            server_is_done: false,
        }
    }
}

impl Disconnect {
    /// D2: the shortest one.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        self.deadlines.iter().copied().min()
    }

    /// When the next timeout is due.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        match self.phase {
            Phase::Closed => None,
            Phase::Lingering { until } => earliest([self.deadline(), until]),
            _ => self.deadline(),
        }
    }

    /// `disconnect(after)`, or L1: whether Open was left.
    pub fn disconnect(&mut self, reason: Reason, after: Nanos, now: Nanos) -> bool {
        if self.phase == Phase::Closed {
            return false;
        }
        // D2: counted from its own call; what cannot be added is no deadline.
        self.deadlines.extend(later(now, after));
        self.drain(reason)
    }

    /// Draining without a deadline (D7, half-close): whether Open was left.
    pub fn drain(&mut self, reason: Reason) -> bool {
        // D2: in any later state it only brings the deadline nearer.
        if self.phase != Phase::Open {
            return false;
        }
        self.phase = Phase::Draining;
        self.reason = Some(reason);
        true
    }

    /// D8, and D7's client that is gone: whether Failing was entered.
    pub fn fail(&mut self, reason: Reason) -> bool {
        // D9: the first cause that left Open; an error in Draining replaces it.
        if self.phase != Phase::Open && self.phase != Phase::Draining {
            return false;
        }
        self.phase = Phase::Failing;
        self.reason = Some(reason);
        true
    }

    /// D3: all is written.
    pub fn linger(&mut self, linger: Nanos, now: Nanos) {
        if self.phase == Phase::Draining || self.phase == Phase::Failing {
            self.phase = Phase::Lingering {
                until: later(now, linger),
            };
        }
    }

    /// D3: the server's side is closed; before that an end of stream does not
    /// end Lingering, or bytes might stay with a transport that buffers.
    pub fn half_closed(&mut self) {
        self.server_is_done = true;
        self.leave_if_both_are_done();
    }

    /// The client's end of stream, Open having been left (D7).
    pub fn end_of_input(&mut self) {
        self.client_is_done = true;
        self.leave_if_both_are_done();
    }

    fn leave_if_both_are_done(&mut self) {
        let both = self.client_is_done && self.server_is_done;
        if both && matches!(self.phase, Phase::Lingering { .. }) {
            self.phase = Phase::Closed;
        }
    }

    /// D5 `close`, or D8's transport error.
    pub fn close(&mut self, reason: Reason) {
        // D9: a transport error replaces the reason of Draining, `close` does not.
        if self.phase == Phase::Open
            || (self.phase == Phase::Draining && reason == Reason::Transport)
        {
            self.reason = Some(reason);
        }
        self.phase = Phase::Closed;
    }

    /// Time has passed (D2, D3).
    pub fn timeout(&mut self, now: Nanos) {
        match self.phase {
            Phase::Closed => {}
            // *Choice*: a deadline in Lingering cuts nothing short, so that it
            // does not count as reached.
            Phase::Lingering { .. } if has_come(self.next(), now) => self.phase = Phase::Closed,
            Phase::Lingering { .. } => {}
            _ if has_come(self.deadline(), now) => {
                self.deadline_reached = true;
                self.phase = Phase::Closed;
            }
            _ => {}
        }
    }
}

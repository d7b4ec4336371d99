//! What the connections bring and take, and getting one.

use std::task::Context;
use std::time::Instant;

use super::{Driver, Turn, Writing};
use crate::client::connection::{Connection, End, Progress, Standing};
use crate::client::error::{CallError, ConnectionLoss};
use crate::client::reconnect::{Dialed, Ended};
use crate::proto::Negotiation;

/// Connections at a time: the current one, and those that wait for responses
/// behind a Goodbye. Over it calls wait.
const CONNECTIONS_MOST: usize = 16;

impl Driver {
    pub(super) fn read(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.connections.len() {
            let connection = &mut self.connections[at];
            let progress = connection.poll_input(&mut self.read_buffer, now, cx);
            self.settle_finished(at, now);
            // Also where the end has come with it: it is the Goodbye that counts.
            self.retire_if_draining(at, now);
            at = self.next_behind(at, progress, turn, now);
        }
    }

    pub(super) fn write(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.connections.len() {
            let connection = &mut self.connections[at];
            let mut progress = connection.poll_output(now, cx);
            if let Err(end) = progress {
                progress = Err(connection.read_last(end, &mut self.read_buffer, now, cx));
                self.settle_finished(at, now);
                self.retire_if_draining(at, now);
            }
            at = self.next_behind(at, progress, turn, now);
        }
    }

    /// Where the connection behind this one is, which has done its part of the
    /// turn, or is over.
    pub(super) fn next_behind(
        &mut self,
        at: usize,
        progress: Result<Progress, End>,
        turn: &mut Turn,
        now: Instant,
    ) -> usize {
        match progress {
            Ok(Progress::Waiting) => at + 1,
            Ok(Progress::More) => {
                turn.again();
                at + 1
            }
            Err(end) => {
                turn.again();
                self.end_connection(at, end, now);
                at
            }
        }
    }

    /// With others in flight, or callers that have just been told an outcome, more
    /// requests are likely to come in this very turn of the scheduler; those of a
    /// caller that is alone never wait.
    pub(super) fn is_write_deferred(&mut self, started: usize) -> bool {
        if started == 0 {
            self.writing = Writing::AtOnce;
            return false;
        }
        let in_flight = self
            .current()
            .map_or(0, |at| self.connections[at].calls.pending());
        let others = in_flight.max(std::mem::take(&mut self.told)) > started;
        self.writing = match self.writing {
            Writing::AtOnce if others => Writing::Deferred,
            Writing::AtOnce | Writing::Deferred => Writing::AtOnce,
        };
        self.writing == Writing::Deferred
    }

    pub(super) fn current(&self) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.position(|connection| connection.standing == Standing::Current)
    }

    /// PROTOCOL C2: calls go elsewhere from now on.
    fn retire_if_draining(&mut self, at: usize, now: Instant) {
        let connection = &mut self.connections[at];
        if connection.standing == Standing::Current && connection.calls.is_draining() {
            connection.standing = Standing::Former;
            let how = if connection.answered > 0 {
                Ended::Useful
            } else {
                Ended::Useless(None)
            };
            tracing::debug!("the server said goodbye");
            let dialed = self.dialer.ended(how, now);
            self.after_dialing(dialed);
        }
    }

    /// Former connections have a reason to be only while a response is awaited.
    pub(super) fn close_former(&mut self, turn: &mut Turn) {
        let over =
            |open: &Connection| open.standing == Standing::Former && open.calls.pending() == 0;
        while let Some(at) = self.connections.iter().position(over) {
            drop(self.connections.remove(at).close());
            turn.again();
        }
    }

    fn end_connection(&mut self, at: usize, end: End, now: Instant) {
        let connection = self.connections.remove(at);
        let was_current = connection.standing == Standing::Current;
        let on_negotiate = connection.negotiation == Negotiation::Ask
            && connection.calls.is_negotiating()
            && !connection.calls.has_heard();
        let loss = match &end {
            End::Lost(loss) => Some(loss.clone()),
            End::Violation(_) | End::Unused => None,
        };
        if was_current {
            let how = match (&end, loss) {
                (End::Unused, _) => Ended::Unused,
                (End::Lost(ConnectionLoss::EndOfStream | ConnectionLoss::Transport { .. }), _)
                    if on_negotiate =>
                {
                    Ended::OnNegotiate
                }
                _ if connection.answered > 0 => Ended::Useful,
                (End::Violation(violation), _) => Ended::Violated(*violation),
                (_, loss) => Ended::Useless(loss),
            };
            let dialed = self.dialer.ended(how, now);
            self.after_dialing(dialed);
        }
        let lost = connection.close().into_lost();
        match end {
            End::Unused => {}
            End::Lost(loss) => self.settle_lost(lost, &loss, now),
            End::Violation(violation) => {
                tracing::debug!(%violation, "the server broke the protocol");
                // PROTOCOL C1: all pending calls fail with it.
                for lost in lost {
                    lost.context.fail(CallError::Protocol { violation });
                }
            }
        }
    }
}

// Connecting.
impl Driver {
    pub(super) fn wants_connection(&self) -> bool {
        let room = self.connections.len() < CONNECTIONS_MOST;
        self.queue.has_ready() && room && self.current().is_none()
    }

    pub(super) fn dial(&mut self, turn: &mut Turn, now: Instant, cx: &mut Context<'_>) {
        if self.current().is_some() {
            return;
        }
        let dialed = self.dialer.poll(self.wants_connection(), now, cx);
        if let Dialed::Connected {
            stream,
            negotiation,
        } = dialed
        {
            let mut settings = self.settings;
            if negotiation == Negotiation::Skip {
                settings.negotiation = Negotiation::Skip;
            }
            turn.again();
            self.connections
                .push(Connection::new(stream, settings, now));
            return;
        }
        if !matches!(dialed, Dialed::Waiting) {
            turn.again();
        }
        self.after_dialing(dialed);
    }

    fn after_dialing(&mut self, dialed: Dialed) {
        if !matches!(dialed, Dialed::RoundFailed) {
            return;
        }
        for call in self.queue.round_failed(self.retries) {
            let error = self.no_connection(&call);
            call.fail(error);
        }
    }
}

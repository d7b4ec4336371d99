//! One connection: the transport's bytes to and from [`Calls`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::call::{Call, Reply, STREAM_BUFFER_BYTES, source_failed};
use super::error::{CallError, ConnectionLoss, IoFailure, TooLongMessage};
use super::source::Source;
use crate::proto::{CallSettings, Calls, Expired, Negotiation, ProtocolViolation, StartError};
use crate::runtime::Transport;
use crate::wire::TaskId;

/// Bytes that are made ready to be written at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes that a turn reads, or writes, before the others have theirs.
const TURN_BYTES: usize = 256 << 10;
/// For how long reading stops for a caller that does not take its response (PROTOCOL C8).
const NOT_TAKEN_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Connection {
    stream: Box<dyn Transport>,
    pub(super) calls: Calls<Call>,
    /// Output that the transport has not taken.
    unsent: BytesMut,
    /// The source of the message that is being sent, kept past its caller's
    /// going: the message must have its own end (PROTOCOL C5).
    source: Option<(TaskId, Box<Source>)>,
    reading: Reading,
    flush: Flush,
    /// Whether Negotiate was its first request.
    pub(super) negotiation: Negotiation,
    /// Calls that the server has answered on it.
    pub(super) answered: u64,
    pub(super) standing: Standing,
    /// Calls that it has ended by itself.
    pub(super) failed: Vec<(Call, CallError)>,
}

/// Whether calls are given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Current,
    /// The server said Goodbye: it waits for responses alone (PROTOCOL C2).
    Former,
}

enum Reading {
    Going,
    /// The response of this task is not being taken (PROTOCOL C8).
    Stopped {
        id: TaskId,
        since: Instant,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Done,
    Owed,
}

/// Why a connection is over.
pub(super) enum End {
    Lost(ConnectionLoss),
    Violation(ProtocolViolation),
    /// Nobody has needed it for long (PROTOCOL C4).
    Unused,
}

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The transport will wake the task when it goes on.
    Waiting,
    /// The turn's share is used up, and there is more.
    More,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Transport>, settings: CallSettings, now: Instant) -> Self {
        Self {
            stream,
            calls: Calls::new(settings, now),
            unsent: BytesMut::new(),
            source: None,
            reading: Reading::Going,
            flush: Flush::Done,
            negotiation: settings.negotiation,
            answered: 0,
            standing: Standing::Current,
            failed: Vec::new(),
        }
    }

    /// Reads what has come, through `buffer`.
    pub(super) fn poll_input(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Progress, End> {
        self.resume_if_taken(now);
        let mut read = 0;
        while matches!(self.reading, Reading::Going) {
            if read >= TURN_BYTES {
                return Ok(Progress::More);
            }
            let mut into = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(transport_failed(error)),
                Poll::Ready(Ok(())) if into.filled().is_empty() => {
                    return Err(End::Lost(ConnectionLoss::EndOfStream));
                }
                Poll::Ready(Ok(())) => {}
            }
            read += into.filled().len();
            let taken = self.calls.handle_input(into.filled(), now);
            taken.map_err(End::Violation)?;
            if self.calls.is_draining() {
                // PROTOCOL C2: no further request, and what of it is under way ends here.
                self.unsent.clear();
                self.source = None;
            }
            self.hand_over_piece(now);
        }
        Ok(Progress::Waiting)
    }

    /// Gives a streamed response's caller what has come of it, and stops
    /// reading where it has too much already (PROTOCOL C8).
    fn hand_over_piece(&mut self, now: Instant) {
        let Some((id, call, piece)) = self.calls.take_piece() else {
            return;
        };
        if let Reply::Streamed(sender) = &mut call.reply {
            sender.push(piece);
            if sender.buffered_bytes() >= STREAM_BUFFER_BYTES {
                self.reading = Reading::Stopped { id, since: now };
                self.calls.pause_reading(now);
            }
        }
    }

    fn resume_if_taken(&mut self, now: Instant) {
        let Reading::Stopped { id, since } = self.reading else {
            return;
        };
        let buffered_bytes = match self.calls.context(id).map(|call| &call.reply) {
            Some(Reply::Streamed(sender)) => sender.buffered_bytes(),
            // Its caller has gone: the rest is discarded anyway.
            _ => 0,
        };
        let waited = now.saturating_duration_since(since);
        if buffered_bytes >= STREAM_BUFFER_BYTES {
            if waited < NOT_TAKEN_AFTER {
                return;
            }
            if let Some(call) = self.calls.discard_response(id, now) {
                let error = CallError::NotTaken {
                    buffered_bytes,
                    waited,
                };
                self.failed.push((call, error));
            }
        }
        self.reading = Reading::Going;
        self.calls.resume_reading(now);
    }

    /// Writes what there is to write.
    pub(super) fn poll_output(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Progress, End> {
        let mut written = 0;
        while written < TURN_BYTES {
            self.fill(now, cx)?;
            if self.unsent.is_empty() {
                return self.poll_flush(cx);
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent) {
                Poll::Pending => return Ok(Progress::Waiting),
                Poll::Ready(Err(error)) => return Err(transport_failed(error)),
                Poll::Ready(Ok(0)) => {
                    return Err(transport_failed(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(taken)) => {
                    self.unsent.advance(taken);
                    self.calls.handle_written(taken, now);
                    self.flush = Flush::Owed;
                    written += taken;
                }
            }
        }
        Ok(Progress::More)
    }

    /// Takes what had come before writing failed: an answer, or a Goodbye, still
    /// counts. `end` is why writing failed; returned is what the connection ends with.
    pub(super) fn read_last(
        &mut self,
        end: End,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> End {
        if !matches!(end, End::Lost(ConnectionLoss::Transport { .. })) {
            return end;
        }
        match self.poll_input(buffer, now, cx) {
            Err(End::Violation(violation)) => End::Violation(violation),
            Ok(_) | Err(End::Lost(_) | End::Unused) => end,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Progress, End> {
        if self.flush == Flush::Owed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flush = Flush::Done,
                Poll::Ready(Err(error)) => return Err(transport_failed(error)),
                Poll::Pending => {}
            }
        }
        Ok(Progress::Waiting)
    }

    /// Makes output ready, up to what is written at a time.
    fn fill(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<(), End> {
        while self.unsent.len() < WRITE_BYTES {
            let before = self.unsent.len();
            self.calls.poll_output(&mut self.unsent, WRITE_BYTES, now);
            let went_on = match self.calls.wanted_piece() {
                Some(id) => self.poll_source(id, now, cx)?,
                None => Poll::Pending,
            };
            if went_on.is_pending() && self.unsent.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Fetches the next piece of the message being sent.
    fn poll_source(
        &mut self,
        id: TaskId,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, End> {
        if self.source.as_ref().is_none_or(|(of, _)| *of != id) {
            let source = self
                .calls
                .context_mut(id)
                .and_then(|call| call.source.take());
            self.source = source.map(|source| (id, source));
        }
        let polled = match &mut self.source {
            Some((_, source)) => source.poll_piece(cx),
            None => Poll::Ready(Some(Err(io::Error::other("the source is gone")))),
        };
        match polled {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(Ok(piece))) => {
                let pushed = self.calls.push_piece(piece);
                pushed.map_err(|error| self.message_too_long(id, error, now))?;
            }
            Poll::Ready(Some(Err(error))) => return Err(self.message_failed(id, error, now)),
            Poll::Ready(None) => {
                self.source = None;
                self.calls.end_message();
            }
        }
        Ok(Poll::Ready(()))
    }

    /// PROTOCOL C5: the message cannot be ended, so the connection is.
    fn message_failed(&mut self, id: TaskId, error: io::Error, now: Instant) -> End {
        let error = IoFailure::from(error);
        self.fail_own(id, source_failed(error.clone()), now);
        End::Lost(ConnectionLoss::SourceFailed { id, error })
    }

    /// PROTOCOL C7, found too late for "unsent".
    fn message_too_long(&mut self, id: TaskId, error: StartError, now: Instant) -> End {
        let (length_bytes, limit_bytes) = match error {
            StartError::TooLong {
                length_bytes,
                limit_bytes,
            } => (length_bytes, limit_bytes),
            _ => (0, 0),
        };
        let message = TooLongMessage::Request;
        self.fail_own(
            id,
            CallError::TooLong {
                message,
                length_bytes,
                limit_bytes,
            },
            now,
        );
        End::Lost(ConnectionLoss::MessageTooLong { id, limit_bytes })
    }

    /// Ends the call whose fault the connection's end is with its own error.
    fn fail_own(&mut self, id: TaskId, error: CallError, now: Instant) {
        // `None`: its caller has gone already.
        if let Some(call) = self.calls.discard_response(id, now) {
            self.failed.push((call, error));
        }
    }

    /// Judges the clocks, behind the bytes that have moved (PROTOCOL C4).
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        self.calls
            .handle_timeout(now)
            .map_err(|expired| match expired {
                Expired::Unused { .. } => End::Unused,
                expired => End::Lost(ConnectionLoss::Expired(expired)),
            })
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.reading {
            Reading::Going => self.calls.next_deadline(),
            Reading::Stopped { since, .. } => since.checked_add(NOT_TAKEN_AFTER),
        }
    }

    /// Closes the connection, and gives back its calls' bookkeeping.
    pub(super) fn close(mut self) -> Calls<Call> {
        // A courtesy to transports that say goodbye, as TLS does; not waited for.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        self.calls
    }
}

fn transport_failed(error: io::Error) -> End {
    End::Lost(ConnectionLoss::Transport {
        error: error.into(),
    })
}

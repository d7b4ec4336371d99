//! One call, as its caller and the client's task share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::error::{CallError, IoFailure};
use super::source::Source;
use crate::proto::{CallOutcome, RequestMessage, ResponseMode, Started};
use crate::wire::{ErrorCode, TaskCode, TaskId};

/// Bytes of a streamed response that wait for its caller (PROTOCOL C8).
pub(super) const STREAM_BUFFER_BYTES: usize = 1 << 20;

/// What the caller's handles tell the client's task.
pub(super) enum Command {
    Submit(Call),
    /// The caller waits no longer (PROTOCOL C5).
    GiveUp(Arc<CallHead>),
    /// The caller wants the task cancelled, and waits for the answer.
    Cancel(Arc<CallHead>),
    /// A full stream buffer has room again.
    Taken,
    /// No call is taken any more; what is pending has until then.
    Close {
        within: Duration,
    },
}

/// What both sides know of a call; its address is its identity.
pub(super) struct CallHead {
    pub(super) code: TaskCode,
    /// The id that the caller asked for.
    pub(super) id: Option<TaskId>,
    pub(super) message: RequestMessage,
    pub(super) repeatable: Repeatable,
    pub(super) response_timeout: Duration,
    sent_as: AtomicU64,
}

/// Whether an interrupted call may be sent again (PROTOCOL C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeatable {
    Never,
    /// Its caller declared it idempotent.
    Always,
}

impl CallHead {
    const NOT_SENT: u64 = u64::MAX;

    pub(super) const fn new(
        code: TaskCode,
        id: Option<TaskId>,
        message: RequestMessage,
        repeatable: Repeatable,
        response_timeout: Duration,
    ) -> Self {
        Self {
            code,
            id,
            message,
            repeatable,
            response_timeout,
            sent_as: AtomicU64::new(Self::NOT_SENT),
        }
    }

    /// The id it has, or had, on the last connection that it was given to.
    pub(super) fn sent_as(&self) -> Option<TaskId> {
        u32::try_from(self.sent_as.load(Ordering::Relaxed))
            .ok()
            .map(TaskId)
    }

    pub(super) fn set_sent_as(&self, id: TaskId) {
        self.sent_as.store(id.0.into(), Ordering::Relaxed);
    }
}

/// A call, as the client's task has it. It moves from list to list, so it is small:
/// what few calls have is on the heap.
pub(super) struct Call {
    pub(super) head: Arc<CallHead>,
    pub(super) reply: Reply,
    /// Where a streamed message comes from, until it has begun.
    pub(super) source: Option<Box<Source>>,
    /// How often it was sent again, or waited out a failure to connect.
    pub(super) retries: u32,
    /// When waiting for a connection or a place on it ends.
    pub(super) deadline: Option<Instant>,
    pub(super) place: QueuePlace,
}

const _: () = assert!(size_of::<Call>() <= 64 && size_of::<Command>() <= 64);

/// Whether a call takes one of the queue's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePlace {
    Held,
    Released,
}

/// What a caller is told. Results are small, and errors are rare.
pub(super) type Told = Result<Bytes, Box<CallError>>;

/// Where a call's outcome goes.
pub(super) enum Reply {
    Whole(oneshot::Sender<Told>),
    Streamed(Box<StreamSender>),
}

impl Call {
    pub(super) const fn response_mode(&self) -> ResponseMode {
        match self.reply {
            Reply::Whole(_) => ResponseMode::Whole,
            Reply::Streamed(_) => ResponseMode::Streamed,
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        match &self.reply {
            Reply::Whole(sender) => sender.is_closed(),
            Reply::Streamed(sender) => sender.pieces.is_closed(),
        }
    }

    /// Whether it can be sent from its beginning once more.
    pub(super) fn can_be_sent_again(&self) -> bool {
        let message_is_whole = match self.head.message {
            RequestMessage::Whole(_) => true,
            RequestMessage::Streamed => self.source.is_some(),
        };
        let nothing_delivered = match &self.reply {
            Reply::Whole(_) => true,
            Reply::Streamed(sender) => matches!(sender.delivered, Delivered::Nothing),
        };
        message_is_whole && nothing_delivered
    }

    /// Tells the caller why there is no result.
    pub(super) fn fail(self, error: CallError) {
        self.tell(Err(Box::new(error)));
    }

    /// Tells the caller; one that has gone is none the wiser.
    pub(super) fn tell(self, told: Told) {
        match self.reply {
            Reply::Whole(sender) => drop(sender.send(told)),
            Reply::Streamed(mut sender) => {
                let end = told.map(|last| sender.push(last));
                drop(sender.pieces.send(StreamItem::End(end)));
            }
        }
    }
}

/// What an outcome is to the caller, where the call is not sent again.
pub(super) fn told(outcome: CallOutcome) -> Told {
    let error = match outcome {
        CallOutcome::Ok(message) => return Ok(message),
        CallOutcome::Error(ErrorCode::CANCELLED) => CallError::Cancelled {
            started: Started::Perhaps,
        },
        CallOutcome::Error(code) => CallError::Server { code },
        CallOutcome::NotAccepted { accepted } => CallError::NotStarted {
            reason: super::NotStarted::Goodbye { accepted },
        },
        CallOutcome::TimedOut { after, started } => CallError::TimedOut { after, started },
        CallOutcome::TooLong {
            length_bytes,
            limit_bytes,
        } => CallError::TooLong {
            message: super::TooLongMessage::Response,
            length_bytes,
            limit_bytes,
        },
    };
    Err(Box::new(error))
}

/// The client task's end of a streamed response.
pub(super) struct StreamSender {
    pub(super) pieces: mpsc::UnboundedSender<StreamItem>,
    /// Bytes sent that the caller has not taken; the task stops reading over the limit.
    pub(super) buffered: Arc<AtomicUsize>,
    pub(super) delivered: Delivered,
}

/// Whether the caller has been given anything of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Nothing,
    Something,
}

/// What a streamed response's caller gets. An end that is not told is a client
/// whose task has gone, never the response's end.
pub(super) enum StreamItem {
    Piece(Bytes),
    End(Result<(), Box<CallError>>),
}

impl StreamSender {
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.delivered = Delivered::Something;
        self.buffered.fetch_add(piece.len(), Ordering::Relaxed);
        drop(self.pieces.send(StreamItem::Piece(piece)));
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }
}

/// What a call is told whose message's source failed.
pub(super) const fn source_failed(error: IoFailure) -> CallError {
    CallError::NotStarted {
        reason: super::NotStarted::SourceFailed { error },
    }
}

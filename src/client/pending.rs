//! The caller's handle of a submitted call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{AcquireError, SemaphorePermit, TryAcquireError, oneshot};

use super::ClientShared;
use super::call::{Call, CallHead, Command, Told};
use super::error::CallError;
use crate::proto::Started;
use crate::runtime::BoxFuture;
use crate::wire::TaskId;

/// A call that was submitted: a future of its result.
///
/// Dropping it gives the call up (PROTOCOL C5): what was not sent never is, and
/// what was is cancelled on the server where that knows how.
///
/// ```
/// # use asyncserver::{client::Client, runtime::Address};
/// # async fn example(client: Client) -> Result<(), asyncserver::client::CallError> {
/// let first = client.submit(1, "one");
/// let second = client.submit(1, "two");
/// let (first, second) = (first.await?, second.await?);
/// # Ok(()) }
/// ```
#[must_use = "dropping it gives the call up"]
pub struct PendingTask {
    submission: Submission,
    reply: oneshot::Receiver<Told>,
}

impl PendingTask {
    pub(super) const fn new(submission: Submission, reply: oneshot::Receiver<Told>) -> Self {
        Self { submission, reply }
    }

    /// The id under which the request was last sent, or is about to be; `None`
    /// while it waits for a connection, or for a place on one.
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        self.submission.head.sent_as()
    }

    /// Asks for the task to be cancelled; the future then ends with what the
    /// server makes of that, which may be a result that had been on its way.
    /// Where the request has not been sent, or the server cannot be asked, it
    /// ends with [`CallError::Cancelled`] by itself.
    pub fn cancel(&mut self) {
        self.submission.cancel();
    }
}

impl Future for PendingTask {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.submission.poll_submitted(cx))?;
        let reply = ready!(Pin::new(&mut self.reply).poll(cx));
        self.submission.ended();
        Poll::Ready(match reply {
            Ok(told) => told.map_err(|error| *error),
            Err(_) => Err(CallError::Closed {
                started: Started::Perhaps,
            }),
        })
    }
}

impl fmt::Debug for PendingTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingTask")
            .field("code", &self.submission.head.code)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// A call's way into the client's queue, and its end when the caller drops it.
pub(super) struct Submission {
    pub(super) head: Arc<CallHead>,
    client: Arc<ClientShared>,
    stage: Stage,
}

/// ```text
/// AwaitingPlace ── place free ──► Submitted ── cancel ──► Cancelling
///       │                             └─── outcome taken ────┴──► Ended
///       └── client closed, refused, cancelled ──► Refused ──────────┘
/// ```
enum Stage {
    /// The queue is full: the caller waits (PROTOCOL C7).
    AwaitingPlace(Box<AwaitingPlace>),
    Submitted,
    /// The client's task has been asked to cancel it, which it is once.
    Cancelling,
    Refused(Box<CallError>),
    Ended,
}

struct AwaitingPlace {
    place: BoxFuture<'static, Result<(), AcquireError>>,
    call: Option<Call>,
}

impl Submission {
    /// Queues the call if there is a place; otherwise polling waits for one.
    pub(super) fn new(client: Arc<ClientShared>, call: Call) -> Self {
        let mut submission = Self {
            head: Arc::clone(&call.head),
            client,
            stage: Stage::Ended,
        };
        let place = submission.client.places.try_acquire();
        match place.map(SemaphorePermit::forget) {
            Ok(()) => submission.send(call),
            Err(TryAcquireError::Closed) => submission.stage = closed(),
            Err(TryAcquireError::NoPermits) => submission.await_place(call),
        }
        submission
    }

    /// A call that is not even queued.
    pub(super) fn refused(client: Arc<ClientShared>, head: Arc<CallHead>, why: CallError) -> Self {
        Self {
            head,
            client,
            stage: Stage::Refused(Box::new(why)),
        }
    }

    /// Ready once the call is with the client's task, or will never be.
    pub(super) fn poll_submitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        if let Stage::AwaitingPlace(awaiting) = &mut self.stage {
            let place = ready!(awaiting.place.as_mut().poll(cx));
            match (place, awaiting.call.take()) {
                (Ok(()), Some(call)) => self.send(call),
                _ => self.stage = closed(),
            }
        }
        match &self.stage {
            Stage::Refused(why) => {
                let why = CallError::clone(why);
                self.stage = Stage::Ended;
                Poll::Ready(Err(why))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The outcome has been taken: there is nothing left to give up.
    pub(super) fn ended(&mut self) {
        self.stage = Stage::Ended;
    }

    pub(super) fn cancel(&mut self) {
        match self.stage {
            Stage::AwaitingPlace(_) => {
                self.stage = Stage::Refused(Box::new(CallError::Cancelled {
                    started: Started::No,
                }));
            }
            Stage::Submitted => {
                self.stage = Stage::Cancelling;
                self.client.tell(Command::Cancel(Arc::clone(&self.head)));
            }
            Stage::Cancelling | Stage::Refused(_) | Stage::Ended => {}
        }
    }

    /// Tells the client's task that its pieces have been taken.
    pub(super) fn tell_taken(&self) {
        self.client.tell(Command::Taken);
    }

    fn await_place(&mut self, call: Call) {
        let places = Arc::clone(&self.client.places);
        self.stage = Stage::AwaitingPlace(Box::new(AwaitingPlace {
            place: Box::pin(async move {
                places.acquire().await?.forget();
                Ok(())
            }),
            call: Some(call),
        }));
    }

    fn send(&mut self, call: Call) {
        self.stage = match self.client.commands.send(Command::Submit(call)) {
            Ok(()) => Stage::Submitted,
            Err(_) => closed(),
        };
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Submitted | Stage::Cancelling) {
            self.client.tell(Command::GiveUp(Arc::clone(&self.head)));
        }
    }
}

fn closed() -> Stage {
    Stage::Refused(Box::new(CallError::Closed {
        started: Started::No,
    }))
}

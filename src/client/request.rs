//! A call with more than a code and a message.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot};

use super::ClientShared;
use super::call::{Call, CallHead, Delivered, QueuePlace, Repeatable, Reply, StreamSender};
use super::error::{CallError, NotStarted};
use super::pending::{PendingTask, Submission};
use super::source::Source;
use super::stream::ResponseStream;
use crate::proto::RequestMessage;
use crate::wire::{TaskCode, TaskId};

/// A call being put together: from [`Client::request`](super::Client::request)
/// to [`call`](Self::call), [`submit`](Self::submit) or [`stream`](Self::stream).
///
/// ```
/// # use std::time::Duration;
/// # async fn example(client: asyncserver::client::Client) -> Result<(), asyncserver::client::CallError> {
/// let digest = client
///     .request(10)
///     .message_reader(tokio::io::repeat(7))
///     .response_timeout(Duration::from_secs(60))
///     .call()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "it does nothing until it is called, submitted or streamed"]
pub struct Request {
    client: Arc<ClientShared>,
    code: TaskCode,
    id: Option<TaskId>,
    message: Message,
    repeatable: Repeatable,
    response_timeout: Duration,
}

enum Message {
    Whole(Bytes),
    Streamed(Box<Source>),
}

impl Request {
    pub(super) fn new(client: &Arc<ClientShared>, code: TaskCode) -> Self {
        Self {
            client: Arc::clone(client),
            code,
            id: None,
            message: Message::Whole(Bytes::new()),
            repeatable: Repeatable::Never,
            response_timeout: client.response_timeout,
        }
    }

    /// The message; by default it is empty.
    pub fn message(mut self, message: impl Into<Bytes>) -> Self {
        self.message = Message::Whole(message.into());
        self
    }

    /// A message of unknown length, sent as its pieces come. While it is being
    /// sent no other request can be, so it should come swiftly; its first piece
    /// is awaited before it takes the wire.
    ///
    /// A request whose streamed message has begun is never sent again. If the
    /// source fails by then, the connection is closed, for the server would
    /// take a message that ends early as whole (PROTOCOL C5).
    pub fn message_stream(
        mut self,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        self.message = Message::Streamed(Box::new(Source::new(pieces)));
        self
    }

    /// As [`Request::message_stream`], from a reader.
    pub fn message_reader(mut self, reader: impl AsyncRead + Send + 'static) -> Self {
        self.message = Message::Streamed(Box::new(Source::from_reader(reader)));
        self
    }

    /// The task id to use. One that belongs to a live task of the connection
    /// ends the call as [`NotStarted::IdInUse`]. By default the client chooses.
    pub fn id(mut self, id: impl Into<TaskId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Declares that the task may run twice without harm: the call is then sent
    /// again, too, when its connection was lost and it may have run (PROTOCOL C3).
    pub fn idempotent(mut self) -> Self {
        self.repeatable = Repeatable::Always;
        self
    }

    /// How long the call goes on without any sign of a response; by default
    /// [`ClientTimeouts::response`](super::ClientTimeouts::response).
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Submits the call now; the future is its result.
    pub fn submit(self) -> PendingTask {
        let (sender, receiver) = oneshot::channel();
        PendingTask::new(self.into_submission(Reply::Whole(sender)), receiver)
    }

    /// The call's result. Dropping the future gives the call up.
    ///
    /// # Errors
    /// [`CallError`] says what became of the call.
    pub async fn call(self) -> Result<Bytes, CallError> {
        self.submit().await
    }

    /// Submits the call now; its response is taken piece by piece, however long it is.
    pub fn stream(self) -> ResponseStream {
        let (sender, receiver) = mpsc::unbounded_channel();
        let buffered = Arc::new(AtomicUsize::new(0));
        let reply = Reply::Streamed(Box::new(StreamSender {
            pieces: sender,
            buffered: Arc::clone(&buffered),
            delivered: Delivered::Nothing,
        }));
        ResponseStream::new(self.into_submission(reply), receiver, buffered)
    }

    fn into_submission(self, reply: Reply) -> Submission {
        let (message, source) = match self.message {
            Message::Whole(message) => (RequestMessage::Whole(message), None),
            Message::Streamed(source) => (RequestMessage::Streamed, Some(source)),
        };
        let head = Arc::new(CallHead::new(
            self.code,
            self.id,
            message,
            self.repeatable,
            self.response_timeout,
        ));
        // What these two mean is decided with the connection, not beside it.
        if matches!(self.code, TaskCode::CANCEL | TaskCode::NEGOTIATE) {
            let code = self.code;
            let reason = NotStarted::ReservedCode { code };
            return Submission::refused(self.client, head, CallError::NotStarted { reason });
        }
        let call = Call {
            head,
            reply,
            source,
            retries: 0,
            deadline: None,
            place: QueuePlace::Held,
        };
        Submission::new(self.client, call)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("code", &self.code)
            .field("id", &self.id)
            .field("repeatable", &self.repeatable)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

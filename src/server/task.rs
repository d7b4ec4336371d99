//! What an application gives a server: task functions, run functions, and what
//! they are told (PROTOCOL T1–T6).

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::error::{TaskError, TaskFunctionError};
use super::handle::ClientHandle;
use super::reader::MessageReader;
use super::response::Response;
use super::run::BoxRunFuture;
use super::session::Session;
use crate::proto::{FunctionKind, TaskKey, TaskMetadata};
use crate::runtime::BoxFuture;
use crate::wire::{TaskCode, TaskId};

/// What run data is kept as.
pub(crate) type RunData = Arc<dyn Any + Send + Sync>;

/// A task function in full: it reads the message as it arrives and returns what
/// is to be run.
///
/// On one connection task functions are called one at a time, in the order of
/// the requests (PROTOCOL T1), so it should do as little as possible. One that
/// neither asks for bytes nor returns for [`Timeouts::task_function`] is dropped.
///
/// ```
/// use asyncserver::server::{MessageReader, Request, Task, TaskFunction, TaskFunctionError};
///
/// /// Answers with the message's length, whatever its size.
/// struct Count;
///
/// impl TaskFunction for Count {
///     async fn read(&self, _: Request, message: &mut MessageReader) -> Result<Task, TaskFunctionError> {
///         let mut length = 0;
///         while let Some(chunk) = message.chunk().await {
///             length += chunk.len();
///         }
///         Ok(Task::run(async move |_| Ok(length.to_string())))
///     }
/// }
/// ```
///
/// [`Timeouts::task_function`]: super::Timeouts::task_function
pub trait TaskFunction: Send + Sync + 'static {
    /// Reads one message. What is left unread is discarded.
    ///
    /// # Errors
    /// The situation is serious: the connection ends (PROTOCOL T3).
    ///
    /// # Panics
    /// The task is answered `Error PANICKED`, and the connection goes on (PROTOCOL T9).
    ///
    /// # Cancel safety
    /// It is dropped where it waits when its task is cancelled, its time is
    /// over (PROTOCOL L14) or its connection ends.
    fn read(
        &self,
        request: Request,
        message: &mut MessageReader,
    ) -> impl Future<Output = Result<Task, TaskFunctionError>> + Send;
}

/// A task function as the driver calls it.
pub(crate) trait DynTaskFunction: Send + Sync {
    fn read(
        self: Arc<Self>,
        request: Request,
        message: MessageReader,
    ) -> BoxFuture<'static, Result<Task, TaskFunctionError>>;
}

impl<F: TaskFunction> DynTaskFunction for F {
    fn read(
        self: Arc<Self>,
        request: Request,
        mut message: MessageReader,
    ) -> BoxFuture<'static, Result<Task, TaskFunctionError>> {
        Box::pin(async move { TaskFunction::read(&*self, request, &mut message).await })
    }
}

pub(crate) type BlockingFunction = Box<dyn FnOnce() -> Result<Response, TaskError> + Send>;

/// A run function that has its arguments.
pub(crate) enum RunFunction {
    Future(BoxRunFuture),
    Blocking(BlockingFunction),
}

type MakeRun = Box<dyn FnOnce(TaskContext) -> RunFunction + Send>;

/// What a task function returns: a run function or none, and optional run data.
///
/// ```
/// use asyncserver::server::Task;
/// let task = Task::run(async |context| Ok(context.id().to_string())).with_run_data(0.5_f64);
/// let nothing = Task::nothing();
/// # drop((task, nothing));
/// ```
pub struct Task {
    pub(crate) make: Option<MakeRun>,
    pub(crate) kind: FunctionKind,
    pub(crate) run_data: Option<RunData>,
}

impl Task {
    /// A run function that is a future.
    pub fn run<F, Fut, R>(function: F) -> Self
    where
        F: FnOnce(TaskContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Response> + 'static,
    {
        let make: MakeRun =
            Box::new(move |context| RunFunction::Future(BoxRunFuture::new(function(context))));
        Self {
            make: Some(make),
            kind: FunctionKind::Async,
            run_data: None,
        }
    }

    /// A run function that blocks, and so runs on a thread of its own.
    pub fn blocking<F, R>(function: F) -> Self
    where
        F: FnOnce(TaskContext) -> Result<R, TaskError> + Send + 'static,
        R: Into<Response> + 'static,
    {
        let make: MakeRun = Box::new(move |context| {
            RunFunction::Blocking(Box::new(move || function(context).map(Into::into)))
        });
        Self {
            make: Some(make),
            kind: FunctionKind::Blocking,
            run_data: None,
        }
    }

    /// No run function: the answer is `OK` with the empty message (PROTOCOL T6).
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            make: None,
            kind: FunctionKind::Async,
            run_data: None,
        }
    }

    /// Run data, which [`ClientHandle::run_data`] finds under the task's id
    /// until the run function has ended (PROTOCOL T3).
    #[must_use]
    pub fn with_run_data<D: Any + Send + Sync>(mut self, run_data: D) -> Self {
        self.run_data = Some(Arc::new(run_data));
        self
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("runs", &self.make.is_some())
            .field("has_run_data", &self.run_data.is_some())
            .finish_non_exhaustive()
    }
}

/// What a run function is told of its task.
///
/// Cheap to clone; harmless once the task has ended.
///
/// ```
/// use asyncserver::server::{TaskContext, TaskError};
/// async fn run(task: TaskContext) -> Result<String, TaskError> {
///     tokio::select! {
///         biased;
///         () = task.cancelled() => Ok("tidied".into()),
///         () = tokio::time::sleep(std::time::Duration::from_secs(1)) => Ok("done".into()),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct TaskContext {
    pub(crate) session: Session,
    pub(crate) key: TaskKey,
    pub(crate) id: TaskId,
}

impl TaskContext {
    /// The id that the client chose.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// The task's code; `None` once the task has ended.
    #[must_use]
    pub fn code(&self) -> Option<TaskCode> {
        self.session.code_of(self.key)
    }

    /// The client that asked for the task.
    #[must_use]
    pub fn client(&self) -> ClientHandle {
        ClientHandle::new(self.session.clone())
    }

    /// The task as lists show it; `None` once it has ended.
    #[must_use]
    pub fn metadata(&self) -> Option<TaskMetadata> {
        self.session.metadata(self.key)
    }

    /// The task's tracing span, below its client's; its functions run in it
    /// where spans of the level DEBUG are enabled.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        self.session.task_span(self.key, self.id)
    }

    /// When the run limit of its registration ends it (PROTOCOL T12); `None`:
    /// there is none, or the task is being cancelled already.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.session.run_deadline(self.key)
    }

    /// Whether the task has been told to end, or has ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.session.is_told(self.key)
    }

    /// Waits until the task is told to end. Under [`OnCancel::Drop`] that is
    /// never seen by a future, which is dropped instead.
    ///
    /// Cancel safe.
    ///
    /// [`OnCancel::Drop`]: super::OnCancel::Drop
    pub async fn cancelled(&self) {
        Told {
            context: self,
            place: None,
        }
        .await;
    }
}

/// Waits to be told, in a place of its own, which it leaves when it is dropped.
struct Told<'a> {
    context: &'a TaskContext,
    place: Option<usize>,
}

impl Future for Told<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let TaskContext { session, key, .. } = self.context;
        session.poll_told(*key, &mut self.place, cx.waker())
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.context
                .session
                .forget_listener(self.context.key, place);
        }
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a task function is told of the request whose message it reads.
///
/// ```
/// use asyncserver::server::Request;
/// fn describe(request: &Request) -> String {
///     format!("task {} of {}", request.id(), request.client())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) context: TaskContext,
    pub(crate) code: TaskCode,
}

impl Request {
    /// The id that the client chose.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.context.id
    }

    /// The task's code.
    #[must_use]
    pub const fn code(&self) -> TaskCode {
        self.code
    }

    /// The client that asked for the task.
    #[must_use]
    pub fn client(&self) -> ClientHandle {
        self.context.client()
    }

    /// The task as lists show it; `None` once it has ended.
    #[must_use]
    pub fn metadata(&self) -> Option<TaskMetadata> {
        self.context.metadata()
    }

    /// A tracing span for the task, below its client's.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        self.context.span()
    }
}

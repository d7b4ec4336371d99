//! A task as it is registered: its function, and how it is run and ended.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::TaskError;
use super::places::Places;
use super::response::Response;
use super::run::AsyncFunction;
use super::task::{DynTaskFunction, TaskContext, TaskFunction};
use crate::proto::{FunctionKind, OnCancel, Policy};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::wire::TaskCode;

/// Where run functions run.
///
/// ```
/// use asyncserver::server::{Execution, Registration};
/// let quick = Registration::task(async |_, message| Ok(message)).execution(Execution::Local);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Polled once in place; what is not ready then moves to the executor,
    /// together with others of its batch. The right choice for nearly all tasks.
    /// An executor task that has run some runs others of its connection behind them.
    #[default]
    Auto,
    /// In the connection's own task, never beside it. The cheapest for tasks
    /// that wait for something and compute little: one that blocks holds up its
    /// connection, even its deadlines (PROTOCOL D4).
    Local,
    /// On the executor from the start, each by itself: for tasks that compute.
    /// An executor task that has run one runs others of its connection behind it (also
    /// those that `Auto` moves there by themselves): what belongs to an executor
    /// task, its id, say, or an abort handle, belongs to all of them.
    Spawn,
}

/// A task as it is registered: its function, and what the server's defaults do
/// not say for it.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::server::{OnCancel, Registration, Server};
/// use asyncserver::wire::TaskCode;
///
/// let tidy = Registration::task(async |context, _| {
///     context.cancelled().await;
///     Ok("tidied")
/// })
/// .on_cancel(OnCancel::Cooperate { grace: Duration::from_secs(1) })
/// .run_limit(Duration::from_secs(60));
/// let server = Server::builder().register(TaskCode(12), "tidy", tidy).build();
/// ```
pub struct Registration {
    pub(crate) function: Function,
    pub(crate) execution: Execution,
    pub(crate) on_cancel: OnCancel,
    pub(crate) run_limit: Option<Duration>,
    pub(crate) message_limit_bytes: Option<usize>,
    pub(crate) begin_after_bytes: usize,
    pub(crate) max_in_flight: usize,
}

pub(crate) enum Function {
    /// Of the whole message: the everyday form.
    Async(Box<dyn AsyncFunction>),
    /// Of the whole message, on a thread.
    Blocking(Arc<WholeFunction>),
    Streamed(Arc<dyn DynTaskFunction>),
}

impl Function {
    /// Of the run function; what a streamed one returns may be of another kind.
    const fn kind(&self) -> FunctionKind {
        match self {
            Self::Blocking(_) => FunctionKind::Blocking,
            Self::Async(_) | Self::Streamed(_) => FunctionKind::Async,
        }
    }
}

type WholeFunction = dyn Fn(TaskContext, Bytes) -> Result<Response, TaskError> + Send + Sync;

/// How much of a body is produced before its response begins (PROTOCOL T7).
const BEGIN_AFTER: usize = 64 << 10;

impl Registration {
    fn new(function: Function) -> Self {
        Self {
            function,
            execution: Execution::default(),
            on_cancel: OnCancel::default(),
            run_limit: None,
            message_limit_bytes: None,
            begin_after_bytes: BEGIN_AFTER,
            max_in_flight: usize::MAX,
        }
    }

    /// A function of the whole message: the everyday form.
    ///
    /// A message of 128 KiB or more shares its memory with its connection for 100 ms,
    /// which uses it again for the next one that comes, if nobody else has it any more:
    /// until then such `Bytes` are not unique.
    pub fn task<F, Fut, R>(function: F) -> Self
    where
        F: Fn(TaskContext, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
        R: Into<Response> + 'static,
    {
        Self::new(Function::Async(Box::new(function)))
    }

    /// A function of the whole message that blocks, and so runs on a thread of
    /// its own. It cannot be dropped: see [`TaskContext::is_cancelled`].
    pub fn blocking<F, R>(function: F) -> Self
    where
        F: Fn(TaskContext, Bytes) -> Result<R, TaskError> + Send + Sync + 'static,
        R: Into<Response> + 'static,
    {
        let function = move |context, message| function(context, message).map(Into::into);
        Self::new(Function::Blocking(Arc::new(function)))
    }

    /// A task function, which reads the message as it arrives.
    pub fn task_function(function: impl TaskFunction) -> Self {
        Self::new(Function::Streamed(Arc::new(function)))
    }

    /// Where run functions that are futures run. Default: [`Execution::Auto`].
    #[must_use]
    pub const fn execution(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self
    }

    /// What a cancel does (PROTOCOL T10). Default: [`OnCancel::Drop`].
    #[must_use]
    pub const fn on_cancel(mut self, on_cancel: OnCancel) -> Self {
        self.on_cancel = on_cancel;
        self
    }

    /// The longest time from the start of the run function to the beginning of
    /// its response (PROTOCOL T12). Default: none.
    #[must_use]
    pub const fn run_limit(mut self, limit: Duration) -> Self {
        self.run_limit = Some(limit);
        self
    }

    /// How many of these tasks the server runs at a time, over all connections;
    /// over it they are answered `UNAVAILABLE` (PROTOCOL N9). Default: no limit
    /// but the server's.
    #[must_use]
    pub const fn max_in_flight(mut self, limit: usize) -> Self {
        self.max_in_flight = limit;
        self
    }

    /// The longest message, in payload bytes (PROTOCOL L4). Default: the server's.
    #[must_use]
    pub const fn message_limit_bytes(mut self, limit: usize) -> Self {
        self.message_limit_bytes = Some(limit);
        self
    }

    /// How much of a body is produced before its response begins, from 1 to
    /// 65,536 bytes (PROTOCOL T7). What fails earlier can still be answered
    /// with a code. Default: 65,536.
    #[must_use]
    pub const fn begin_after_bytes(mut self, bytes: usize) -> Self {
        self.begin_after_bytes = match bytes {
            0 => 1,
            BEGIN_AFTER.. => BEGIN_AFTER,
            bytes => bytes,
        };
        self
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("execution", &self.execution)
            .field("kind", &self.function.kind())
            .field("on_cancel", &self.on_cancel)
            .field("run_limit", &self.run_limit)
            .finish_non_exhaustive()
    }
}

/// A registration with its name, in its place.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) code: TaskCode,
    pub(crate) name: Arc<str>,
    pub(crate) registration: Registration,
    pub(crate) policy: Policy,
    pub(crate) in_flight: Places,
    /// Slow polls, less the quick ones since: see [`is_slow`](Self::is_slow).
    slow_polls: AtomicU32,
}

impl Registered {
    /// So many slow polls more than quick ones are no accident.
    const IS_SLOW: u32 = 3;
    /// And more than this many are not remembered: what turns quick is seen soon.
    const SLOWEST: u32 = 8;

    pub(crate) fn new(code: TaskCode, name: &str, registration: Registration) -> Self {
        Self {
            code,
            name: name.into(),
            policy: Policy::new(registration.on_cancel, registration.function.kind()),
            in_flight: Places::new(registration.max_in_flight),
            slow_polls: AtomicU32::new(0),
            registration,
        }
    }

    /// Whether its run functions hold up the thread that polls them: each then
    /// gets an executor task of its own.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow_polls.load(Ordering::Relaxed) >= Self::IS_SLOW
    }

    /// One more poll of a run function, or of a group of them. Not exact where
    /// threads meet, nor need it be.
    pub(crate) fn note_poll(&self, was_slow: bool) {
        let polls = self.slow_polls.load(Ordering::Relaxed);
        let changed = if was_slow {
            (polls + 1).min(Self::SLOWEST)
        } else {
            polls.saturating_sub(1)
        };
        if changed != polls {
            self.slow_polls.store(changed, Ordering::Relaxed);
        }
    }

    /// Takes a place of the registration's own limit, if it has one.
    pub(crate) fn enter(&self) -> bool {
        !self.is_limited() || self.in_flight.take()
    }

    /// Gives it back.
    pub(crate) fn leave(&self) {
        if self.is_limited() {
            self.in_flight.release(1);
        }
    }

    /// Where there is no limit nothing is counted: all cores would share the count.
    fn is_limited(&self) -> bool {
        self.in_flight.limit() != usize::MAX
    }
}

/// A look at what is registered under a code: see [`Server::registration`].
///
/// ```
/// use asyncserver::{server::Server, wire::TaskCode};
/// let server = Server::builder().task(TaskCode(1), "echo", async |_, message| Ok(message)).build();
/// assert_eq!(server.registration(TaskCode(1)).unwrap().name(), "echo");
/// ```
///
/// [`Server::registration`]: super::Server::registration
#[derive(Clone, Debug)]
pub struct RegistrationView(pub(crate) Arc<Registered>);

impl RegistrationView {
    /// The task code.
    #[must_use]
    pub fn code(&self) -> TaskCode {
        self.0.code
    }

    /// The name for logs; empty if none was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many of its tasks are in flight, if it has a limit for them.
    #[must_use]
    pub fn in_flight(&self) -> Option<usize> {
        self.0.is_limited().then(|| self.0.in_flight.taken())
    }
}

/// A registration that cannot be made.
///
/// ```
/// use asyncserver::{server::{RegisterError, Registration, Server}, wire::TaskCode};
/// let server = Server::builder().build();
/// let reserved = server.register(TaskCode(250), "mine", Registration::task(async |_, m| Ok(m)));
/// assert!(matches!(reserved, Err(RegisterError::Reserved { code: TaskCode(250) })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The code belongs to the protocol (PROTOCOL E7). Nothing has changed.
    #[error("task code {code} is reserved: codes from 0 to 249 can be registered")]
    Reserved {
        /// The code.
        code: TaskCode,
    },
}

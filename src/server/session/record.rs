//! What the server keeps for a task, and what its run function is told through it.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use crate::proto::TaskKey;
use crate::server::registration::Registered;
use crate::server::response::Response;
use crate::server::run::BoxRunFuture;
use crate::server::task::{BlockingFunction, RunData};

/// What the server keeps for a task, which holds places of the server's limits for
/// as long as the ledger has it.
pub(crate) struct TaskRecord {
    pub(crate) registered: Arc<Registered>,
    /// Few tasks need any of these.
    pub(super) attachments: Option<Box<Attachments>>,
}

#[derive(Default)]
pub(super) struct Attachments {
    pub(super) run_data: Option<RunData>,
    /// The task's tracing span, once somebody has asked for it; counted here,
    /// for a span's own clone is the subscriber's code.
    pub(super) span: Option<Arc<tracing::Span>>,
    pub(super) order: RunnerOrder,
    pub(super) is_told: bool,
    /// Those who wait to be told.
    pub(super) listeners: Slab<Waker>,
    /// A blocking function that waits for a thread: here a cancel can drop it.
    pub(super) waiting: Option<BlockingFunction>,
}

impl TaskRecord {
    pub(crate) fn new(registered: Arc<Registered>) -> Self {
        Self {
            registered,
            attachments: None,
        }
    }

    /// What its run function's wrapper has to do.
    pub(super) fn order(&self) -> RunnerOrder {
        let attachments = self.attachments.as_ref();
        attachments.map(|some| some.order).unwrap_or_default()
    }

    pub(super) fn attach(&mut self) -> &mut Attachments {
        self.attachments.get_or_insert_default()
    }
}

/// What a run function's wrapper has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunnerOrder {
    /// Go on.
    #[default]
    GoOn,
    /// Drop the function.
    Drop,
    /// Its connection has ended: drop it then, by its own timer.
    DropAt(Instant),
}

/// How a run function ended.
#[derive(Default)]
pub(crate) enum Ended {
    Response(Response),
    /// An error with a code.
    Error(crate::wire::ErrorCode),
    /// An error without one, in its own words.
    Fatal(Box<str>),
    Panicked,
    #[default]
    Dropped,
}

/// The result of a run function.
#[derive(Default)]
pub(crate) struct Finished {
    pub(crate) key: TaskKey,
    pub(crate) ended: Ended,
    /// The box in which it ran, which can be used again.
    pub(crate) function: Option<BoxRunFuture>,
}

impl Finished {
    pub(crate) const fn new(key: TaskKey, ended: Ended) -> Self {
        Self {
            key,
            ended,
            function: None,
        }
    }
}

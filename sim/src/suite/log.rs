//! What happened in a case: steps, faults, and what the servers' observers saw.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use asyncserver::server::{
    CancelCause, ClientHandle, ConnectionReport, ObservedTask, Observer, TaskEnding,
};

use crate::Probe;

/// A line of a case's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at_us: u64,
    pub(crate) lane: Lane,
    pub(crate) who: String,
    pub(crate) what: String,
    /// The task of a server that it is about.
    pub(crate) task: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Client,
    Network,
    Server,
    Task,
}

/// The log of a case. A clone is the same.
#[derive(Clone)]
pub(super) struct Log {
    probe: Probe,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Log {
    pub(super) fn new(probe: &Probe) -> Self {
        Self {
            probe: probe.clone(),
            lines: Arc::default(),
        }
    }

    pub(super) fn note(&self, lane: Lane, who: &str, what: String) {
        self.add(lane, who, what, None);
    }

    fn add(&self, lane: Lane, who: &str, what: String, task: Option<String>) {
        let at_us = u64::try_from(self.probe.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(Line {
            at_us,
            lane,
            who: who.to_owned(),
            what,
            task,
        });
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }
}

/// Logs what a server's observer is told.
pub(super) struct Watching {
    pub(super) log: Log,
    pub(super) server: String,
}

impl Watching {
    fn task(&self, client: &ClientHandle, task: ObservedTask, what: fmt::Arguments<'_>) {
        let connection = client.endpoints().to_string();
        let from = connection.split("->").next().unwrap_or_default();
        let name = format!("{from}:{}", task.id.0);
        let what = format!("task {} of {from} (code {}) {what}", task.id.0, task.code.0);
        self.log.add(Lane::Task, &self.server, what, Some(name));
    }
}

impl Observer for Watching {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn handshake_done(&self, client: &ClientHandle) {
        let what = format!("takes {}", client.endpoints());
        self.log.note(Lane::Server, &self.server, what);
    }

    fn task_started(&self, client: &ClientHandle, task: ObservedTask) {
        self.task(client, task, format_args!("starts"));
    }

    fn task_cancelled(&self, client: &ClientHandle, task: ObservedTask, cause: CancelCause) {
        self.task(client, task, format_args!("is cancelled: {cause:?}"));
    }

    fn task_finished(&self, client: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        self.task(client, task, format_args!("ends: {ending:?}"));
    }

    fn task_stuck(&self, client: &ClientHandle, task: ObservedTask) {
        self.task(client, task, format_args!("is stuck"));
    }

    fn limit_reached(&self, client: &ClientHandle, rule: &'static str) {
        let what = format!("{} reaches the limit {rule}", client.endpoints());
        self.log.note(Lane::Server, &self.server, what);
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        let what = format!("closes {}: {:?}", client.endpoints(), report.reason);
        self.log.note(Lane::Server, &self.server, what);
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}

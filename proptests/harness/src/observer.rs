//! An observer that records.

use asyncserver::server::{self, ClientHandle, ConnectionReport, ObservedTask, Observer, TaskEnding};
use asyncserver::runtime::Endpoints;
use oracle::{CancelCause, Ending, Observed, What};

use crate::report::report;
use crate::world::World;

/// Records what it is told, and the report of the connection.
#[derive(Clone, Debug)]
pub struct RecordingObserver(World);

impl RecordingObserver {
    /// It records into this world.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self(world)
    }

    fn saw(&self, what: Observed) {
        self.0.record(What::Observed(what));
    }
}

impl Observer for RecordingObserver {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn connection_opened(&self, _: &Endpoints) {
        self.saw(Observed::Opened);
    }

    fn task_started(&self, _: &ClientHandle, task: ObservedTask) {
        let (id, code) = (task.id.0, task.code.0);
        self.saw(Observed::Started { id, code });
    }

    fn task_cancelled(&self, _: &ClientHandle, task: ObservedTask, cause: server::CancelCause) {
        let cause = match cause {
            server::CancelCause::Requested => CancelCause::Requested,
            _ => CancelCause::Limit,
        };
        self.saw(Observed::Cancelled {
            id: task.id.0,
            cause,
        });
    }

    fn task_finished(&self, _: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        let ending = match ending {
            TaskEnding::Ok => Ending::Ok,
            TaskEnding::Error(code) => Ending::Error(code.0),
            _ => Ending::Interrupted,
        };
        self.saw(Observed::Finished {
            id: task.id.0,
            ending,
        });
    }

    fn task_stuck(&self, _: &ClientHandle, task: ObservedTask) {
        self.saw(Observed::Stuck { id: task.id.0 });
    }

    fn limit_reached(&self, _: &ClientHandle, rule: &'static str) {
        self.saw(Observed::LimitReached { rule: rule.into() });
    }

    fn connection_refused(&self, _: &Endpoints, refused: &ConnectionReport) {
        self.0.record(What::Closed(Some(report(refused))));
    }

    fn connection_closed(&self, _: &ClientHandle, closed: &ConnectionReport) {
        self.0.record(What::Closed(Some(report(closed))));
    }
}

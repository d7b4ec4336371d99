//! Which world a connection of a played server has.

use std::fmt;
use std::sync::{Arc, Mutex};

use asyncserver::runtime::{Address, Endpoints};
use asyncserver::server::{
    CancelCause, ClientHandle, ConnectionReport, ObservedTask, Observer, TaskEnding,
};

use crate::observer::RecordingObserver;
use crate::world::{World, lock};

/// The worlds of a server's connections, by their endpoints. Cheap to clone; as
/// the server's observer it tells each world what is its own.
#[derive(Clone, Default)]
pub(crate) struct Routes(Arc<Mutex<Vec<(Endpoints, World)>>>);

impl Routes {
    /// The endpoints of one more connection, which has this world.
    pub(crate) fn add(&self, world: &World) -> Endpoints {
        let mut routes = lock(&self.0);
        let name = format!("client-{}", routes.len());
        let endpoints = Endpoints::new(Address::named("server"), Address::named(&name));
        routes.push((endpoints.clone(), world.clone()));
        endpoints
    }

    /// The endpoints of a connection that is never served: it has no world.
    pub(crate) fn nobody() -> Endpoints {
        Endpoints::new(Address::named("server"), Address::named("nobody"))
    }

    /// Every world.
    pub(crate) fn worlds(&self) -> Vec<World> {
        let routes = lock(&self.0);
        routes.iter().map(|(_, world)| world.clone()).collect()
    }

    /// The world of the connection with these endpoints, if it has one.
    pub(crate) fn world(&self, endpoints: &Endpoints) -> Option<World> {
        let routes = lock(&self.0);
        let route = routes.iter().find(|(of, _)| of == endpoints);
        route.map(|(_, world)| world.clone())
    }

    fn tell(&self, endpoints: &Endpoints, tell: impl FnOnce(RecordingObserver)) {
        if let Some(world) = self.world(endpoints) {
            tell(RecordingObserver::new(world));
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Observer for Routes {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn connection_opened(&self, endpoints: &Endpoints) {
        self.tell(endpoints, |own| own.connection_opened(endpoints));
    }

    fn task_started(&self, client: &ClientHandle, task: ObservedTask) {
        self.tell(client.endpoints(), |own| own.task_started(client, task));
    }

    fn task_cancelled(&self, client: &ClientHandle, task: ObservedTask, cause: CancelCause) {
        self.tell(client.endpoints(), |own| {
            own.task_cancelled(client, task, cause);
        });
    }

    fn task_finished(&self, client: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        self.tell(client.endpoints(), |own| {
            own.task_finished(client, task, ending);
        });
    }

    fn task_stuck(&self, client: &ClientHandle, task: ObservedTask) {
        self.tell(client.endpoints(), |own| own.task_stuck(client, task));
    }

    fn limit_reached(&self, client: &ClientHandle, rule: &'static str) {
        self.tell(client.endpoints(), |own| own.limit_reached(client, rule));
    }

    fn connection_refused(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        self.tell(endpoints, |own| own.connection_refused(endpoints, report));
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.tell(client.endpoints(), |own| {
            own.connection_closed(client, report);
        });
    }
}

//! Observers: no event is lost or told twice, and a task's events come in order.

use std::sync::{Arc, Mutex};

use asyncserver::server::{
    CancelCause, ClientHandle, ObservedTask, Observer, Registration, TaskEnding,
};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim;
use asyncserver_loom_tests::tally::Tally;
use asyncserver_loom_tests::world::World;

use crate::tasks::{self, ID, TASK, draining, end_beside};

mod explored {
    models! {
        Three: events_come_in_order;
        Four: replacing_observer_meets_events;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Accepted,
    Started,
    Cancelled,
    Finished,
}

/// Writes down what it is told, in the order of its being told.
#[derive(Clone, Debug, Default)]
struct Scribe(Arc<Mutex<Vec<Seen>>>);

impl Scribe {
    fn note(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Scribe {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn request_accepted(&self, _: &ClientHandle, _: ObservedTask) {
        self.note(Seen::Accepted);
    }

    fn task_started(&self, _: &ClientHandle, _: ObservedTask) {
        self.note(Seen::Started);
    }

    fn task_cancelled(&self, _: &ClientHandle, _: ObservedTask, _: CancelCause) {
        self.note(Seen::Cancelled);
    }

    fn task_finished(&self, _: &ClientHandle, _: ObservedTask, _: TaskEnding) {
        self.note(Seen::Finished);
    }
}

fn watched(scribe: &Scribe, task: fn(&Tally) -> Registration) -> World {
    World::new(Starts::WhenReleased, |server, tally| {
        let server = server.observer(Arc::new(scribe.clone()));
        server.register(TASK, "task", task(tally))
    })
}

const IN_ORDER: [Seen; 4] = [
    Seen::Accepted,
    Seen::Started,
    Seen::Cancelled,
    Seen::Finished,
];

/// Both write in one book: each event is in it once. The connection's thread tells of
/// some of them, and the canceller's of others.
fn replacing_observer_meets_events() {
    let scribe = Scribe::default();
    let world = watched(&scribe, tasks::endless_local);
    let served = draining(&world);
    let (client, other) = (world.client(), world.client());
    world.workers.release();
    let replacement = Arc::new(scribe.clone());
    let replacer = shim::spawn(move || client.set_observer(replacement));
    let canceller = shim::spawn(move || other.cancel(ID));
    end_beside(world, served, [replacer, canceller]);
    assert_eq!(scribe.seen(), IN_ORDER);
}

/// The cancel happens on one thread and the end on another.
fn events_come_in_order() {
    let scribe = Scribe::default();
    let world = watched(&scribe, tasks::endless_local);
    let served = draining(&world);
    let client = world.client();
    world.workers.release();
    let canceller = shim::spawn(move || client.cancel(ID));
    end_beside(world, served, [canceller]);
    assert_eq!(scribe.seen(), IN_ORDER);
}

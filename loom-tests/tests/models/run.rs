//! Waking: nobody sleeps who has something to do (DESIGN 1), and nobody waits
//! to be told for ever.

use std::sync::Arc;

use asyncserver::server::{ClientHandle, Observer, Registration, TaskContext};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, JoinHandle};
use asyncserver_loom_tests::tally::Tally;
use asyncserver_loom_tests::wire::{Peer, request, wire};
use asyncserver_loom_tests::world::World;

use crate::tasks::{
    self, GRACE, ID, NEXT, TASK, answered_and_asked, cancelled_meanwhile, draining, end_beside, ok,
};

mod explored {
    models! {
        Three: completion_meets_sleep, completion_meets_sleep_grouped, disconnect_meets_first_turn,
            cancel_meets_listener, completion_meets_listener, next_request_meets_idle_runner,
            next_request_meets_idle_group;
    }
}

fn completion_meets_sleep_of(task: fn(&Tally) -> Registration) {
    let world = World::new(Starts::AtOnce, |server, tally| {
        server.register(TASK, "task", task(tally))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    far.send(&request(TASK.0, ID.0, b""));
    far.end();
    let ended = world.connect(near).run_and_judge(&far);
    assert_eq!(ended.answers[&ID.0], ok("done"));
    world.check_nothing_is_left();
}

/// The task starts in the connection's first turn, and ends at any point of it.
fn completion_meets_sleep() {
    completion_meets_sleep_of(tasks::spawned);
}

fn completion_meets_sleep_grouped() {
    completion_meets_sleep_of(tasks::grouped);
}

/// Disconnects each client from a thread of its own as soon as there is one.
#[derive(Debug, Default)]
struct Unwelcoming {
    threads: std::sync::Mutex<Vec<JoinHandle>>,
}

impl Observer for Unwelcoming {
    fn handshake_done(&self, client: &ClientHandle) {
        let client = client.clone();
        let thread = shim::spawn(move || client.disconnect(GRACE));
        self.threads.lock().unwrap().push(thread);
    }
}

fn disconnect_meets_first_turn() {
    let observer = Arc::new(Unwelcoming::default());
    let world = World::new(Starts::AtOnce, |server, tally| {
        let server = server.observer(Arc::clone(&observer) as Arc<dyn Observer>);
        server.register(TASK, "task", tasks::quick(tally))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    far.send(&request(TASK.0, ID.0, b""));
    far.end();
    let ended = world.connect(near).run_and_judge(&far);
    let counts = ended.report.counts;
    assert_eq!(counts.accepted, counts.ok, "D1, D3");
    for thread in observer.threads.lock().unwrap().drain(..) {
        thread.join().unwrap();
    }
    world.check_nothing_is_left();
}

/// The run function waits to be told: it is, whenever the cancel comes.
fn cancel_meets_listener() {
    let ended = cancelled_meanwhile(tasks::tidy);
    assert_eq!(ended.answers[&ID.0], ok("tidied"));
}

/// Another one than the run function waits to be told: it learns that the task has ended.
fn completion_meets_listener() {
    let (sender, receiver) = std::sync::mpsc::channel::<TaskContext>();
    let world = World::new(Starts::WhenReleased, |server, tally| {
        let tally = tally.clone();
        let task = Registration::task(move |context: TaskContext, _| {
            sender.send(context).unwrap();
            let guard = tally.guard();
            async move {
                guard.finish();
                Ok("done")
            }
        });
        let task = task.execution(asyncserver::server::Execution::Spawn);
        server.register(TASK, "task", task)
    });
    let served = draining(&world);
    let context = receiver.recv().unwrap();
    let listener = shim::spawn(move || shim::block_on(context.cancelled()));
    world.workers.release();
    let ended = end_beside(world, served, [listener]);
    assert_eq!(ended.answers[&ID.0], ok("done"));
}

/// The executor task that has answered falls asleep while it is given the next function.
fn next_request_meets_idle(task: fn(&Tally) -> Registration) {
    let (world, served) = answered_and_asked(task, task);
    let ended = end_beside(world, served, []);
    for id in [ID, NEXT] {
        assert_eq!(ended.answers[&id.0], ok("done"));
    }
}

fn next_request_meets_idle_runner() {
    next_request_meets_idle(tasks::spawned);
}

fn next_request_meets_idle_group() {
    next_request_meets_idle(tasks::grouped);
}

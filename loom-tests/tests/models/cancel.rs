//! Cancels against completions, against each other, and against new requests.

use asyncserver::server::{Execution, Registration};
use asyncserver::wire::{TaskCode, TaskId};
use asyncserver_loom_tests::answers::{Answer, CANCELLED};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, Poller, Threads};
use asyncserver_loom_tests::tally::Tally;
use asyncserver_loom_tests::wire::{Peer, request, wire};
use asyncserver_loom_tests::world::World;

use crate::tasks;

const TASK: TaskCode = TaskCode(1);

fn completion_meets_cancel(task: fn(&Tally) -> Registration) {
    let world = World::new(Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", task(tally))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    far.send(&request(1, 7, b""));
    far.end();
    let poller = Poller::new();
    let mut connection = world.connect(near);
    connection.settle(&poller);
    let client = world.client();
    world.workers.release();
    let canceller = shim::spawn(move || client.cancel(TaskId(7)));
    let ended = connection.run_and_judge(&poller, &far);
    canceller.join().unwrap();
    let answer = &ended.answers[&7];
    assert!(*answer == CANCELLED || *answer == Answer::Ok(b"done".into()));
    assert_eq!(ended.report.counts.accepted, 1);
    world.check_nothing_is_left();
}

#[test]
fn completion_meets_cancel_spawned() {
    shim::explore("completion_meets_cancel_spawned", Threads::Three, || {
        completion_meets_cancel(|tally| tasks::quick(tally).execution(Execution::Spawn));
    });
}

#[test]
fn completion_meets_cancel_grouped() {
    shim::explore("completion_meets_cancel_grouped", Threads::Three, || {
        completion_meets_cancel(tasks::second_poll);
    });
}

//! The ends of connections against what still runs (PROTOCOL D1–D5, T10, T13).

use std::time::Duration;

use asyncserver::server::EndReason;
use asyncserver_loom_tests::answers::CANCELLED;
use asyncserver_loom_tests::clock::MovedClock;
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, Gate};
use asyncserver_loom_tests::world::World;

use crate::tasks::{self, GRACE, ID, TASK, draining, end_beside, ok, open, world};

mod explored {
    models! {
        Three: completion_meets_disconnect, two_disconnects, completion_meets_close,
            tidying_meets_close, grace_outlives_connection, stuck_thread_returns_late,
            blocked_thread_returns_after_close;
    }
}

fn completion_meets_disconnect() {
    let world = world(tasks::spawned);
    let (connection, far) = open(&world);
    let client = world.client();
    world.workers.release();
    let leaver = {
        let far = far.clone();
        shim::spawn(move || {
            client.disconnect(GRACE);
            far.end();
        })
    };
    let ended = connection.run_and_judge(&far);
    leaver.join().unwrap();
    assert_eq!(ended.answers[&ID.0], ok("done"), "D3: live tasks go on");
    assert_eq!(ended.report.reason, EndReason::GracefulDisconnect);
    world.check_nothing_is_left();
}

/// One second passes, and no more: the shortest duration counts (PROTOCOL D2).
fn two_disconnects() {
    let clock = MovedClock::new();
    let world = World::with_clock(clock.clone(), Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", tasks::endless(tally))
    });
    let (connection, far) = draining(&world);
    let (longer, shorter) = (world.client(), world.client());
    let longer = shim::spawn(move || longer.disconnect(Duration::from_secs(2)));
    let shorter = shim::spawn(move || {
        shorter.disconnect(Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
    });
    let ended = connection.run_and_judge(&far);
    longer.join().unwrap();
    shorter.join().unwrap();
    assert!(ended.report.deadline_reached, "D4");
    assert_eq!(ended.report.counts.interrupted, 1);
    world.workers.release();
    world.check_nothing_is_left();
}

/// The handle that closes is dropped at once, perhaps as the last.
fn completion_meets_close() {
    let world = world(tasks::spawned);
    let served = draining(&world);
    let client = world.client();
    world.workers.release();
    let closer = shim::spawn(move || {
        client.close();
        drop(client);
    });
    let ended = end_beside(world, served, [closer]);
    let counts = ended.report.counts;
    assert_eq!((counts.accepted, counts.ok + counts.interrupted), (1, 1));
}

/// A cooperating task that tidies up keeps its grace (PROTOCOL T10), which does
/// not pass here: it is told, and comes to its own end.
fn tidying_meets_close() {
    let world = world(tasks::tidy);
    let (connection, far) = draining(&world);
    let client = world.client();
    world.workers.release();
    let closer = shim::spawn(move || client.close());
    let ended = connection.run_and_judge(&far);
    closer.join().unwrap();
    assert_eq!(ended.report.counts.interrupted, 1);
    world.workers.join();
    assert_eq!(world.tally.finished(), 1);
    world.check_nothing_is_left();
}

/// One that does not is dropped by its own timer when its connection is gone:
/// nobody else wakes it.
fn grace_outlives_connection() {
    let clock = MovedClock::new();
    let world = World::with_clock(clock.clone(), Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", tasks::stubborn(tally))
    });
    let (connection, far) = draining(&world);
    world.workers.release();
    world.client().close();
    let ended = connection.run_and_judge(&far);
    assert_eq!(ended.report.counts.interrupted, 1);
    let time = shim::spawn(move || clock.advance(GRACE));
    time.join().unwrap();
    world.check_nothing_is_left();
}

/// It is cancelled, and answered when it is stuck; its late result is discarded (PROTOCOL T13).
fn stuck_thread_returns_late() {
    let (clock, gate) = (MovedClock::new(), Gate::new());
    let world = World::with_clock(clock.clone(), Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", tasks::blocked(tally, &gate))
    });
    let served = draining(&world);
    let client = world.client();
    world.workers.release();
    let canceller = shim::spawn(move || {
        client.cancel(ID);
        clock.advance(Duration::from_secs(1));
        gate.open();
    });
    let ended = end_beside(world, served, [canceller]);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
    assert!(ended.report.stuck.len() <= 1);
}

fn blocked_thread_returns_after_close() {
    let gate = Gate::new();
    let world = World::new(Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", tasks::blocked(tally, &gate))
    });
    let served = draining(&world);
    let client = world.client();
    world.workers.release();
    let closer = shim::spawn(move || {
        client.close();
        gate.open();
    });
    let ended = end_beside(world, served, [closer]);
    assert_eq!(ended.report.counts.interrupted, 1);
}

//! Limits that are reached and left again (PROTOCOL L6, L7).

use asyncserver::server::Limits;
use asyncserver::wire::TaskCode;
use asyncserver_loom_tests::answers::UNAVAILABLE;
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim;
use asyncserver_loom_tests::wire::{Peer, request, wire};
use asyncserver_loom_tests::world::{Ended, World};

use crate::tasks::{self, TASK, ok};

mod explored {
    models! {
        Three: full_outbox_meets_completion_and_drain, server_has_room_again, last_place_is_left,
            last_place_is_wanted_by_two;
    }
}

/// A response waits for its transport, and reading pauses; a task completes and
/// the transport drains: all is answered in the end.
fn full_outbox_meets_completion_and_drain() {
    let mut limits = Limits::default();
    limits.unsent_limit_bytes = 1;
    let world = World::new(Starts::WhenReleased, |server, tally| {
        let server = server.limits(limits);
        let server = server.register(TASK, "spawned", tasks::spawned(tally));
        server.register(TaskCode(2), "quick", tasks::quick(tally))
    });
    let (near, far) = wire(Peer::Acts, 0);
    for (code, id) in [(1, 1), (2, 2), (2, 3)] {
        far.send(&request(code, id, b""));
    }
    far.end();
    let mut connection = world.connect(near);
    connection.settle();
    world.workers.release();
    let peer = {
        let far = far.clone();
        shim::spawn(move || far.allow(usize::MAX))
    };
    let ended = connection.run_and_judge(&far);
    peer.join().unwrap();
    for id in 1..=3 {
        assert_eq!(ended.answers[&id], ok("done"));
    }
    world.check_nothing_is_left();
}

/// The server's L7 is reached by one connection; another one's first turn meets
/// the moment at which it is left.
fn server_has_room_again() {
    let mut limits = Limits::default();
    limits.server_unsent_limit_bytes = 1;
    let world = World::new(Starts::AtOnce, |server, tally| {
        let server = server.limits(limits);
        server.register(TASK, "quick", tasks::quick(tally))
    });
    let (full, far_full) = wire(Peer::IsDone, 0);
    far_full.send(&request(TASK.0, 1, b""));
    far_full.end();
    let mut full = world.connect(full);
    full.settle();
    let (other, far_other) = wire(Peer::IsDone, usize::MAX);
    far_other.send(&request(TASK.0, 2, b""));
    far_other.end();
    let other_thread = {
        let (server, far) = (world.server.clone(), far_other.clone());
        shim::spawn(move || {
            let options = asyncserver::server::ConnectionOptions::default();
            let report = shim::block_on(server.handle_connection(other, options));
            let ended = Ended::new(&far, report);
            assert_eq!(ended.answers[&2], ok("done"));
        })
    };
    far_full.allow(usize::MAX);
    let ended = full.run_and_judge(&far_full);
    assert_eq!(ended.answers[&1], ok("done"));
    other_thread.join().unwrap();
    world.check_nothing_is_left();
}

fn world_with_one_place() -> World {
    let mut limits = Limits::default();
    limits.task_limit = 1;
    World::new(Starts::AtOnce, |server, tally| {
        let server = server.limits(limits);
        server.register(TASK, "quick", tasks::quick(tally))
    })
}

/// A client that has seen an answer finds its place free, over another connection.
fn last_place_is_left() {
    let world = world_with_one_place();
    let (near, far) = wire(Peer::Acts, usize::MAX);
    let (second, far_second) = wire(Peer::IsDone, usize::MAX);
    far.send(&request(TASK.0, 1, b""));
    far.end();
    let first = {
        let (server, far) = (world.server.clone(), far.clone());
        shim::spawn(move || {
            let options = asyncserver::server::ConnectionOptions::default();
            let report = shim::block_on(server.handle_connection(near, options));
            assert_eq!(Ended::new(&far, report).answers[&1], ok("done"));
        })
    };
    shim::block_on(far.written(11));
    far_second.send(&request(TASK.0, 2, b""));
    far_second.end();
    let ended = world.connect(second).run_and_judge(&far_second);
    assert_eq!(ended.answers[&2], ok("done"), "L6: the place is free again");
    first.join().unwrap();
    world.check_nothing_is_left();
}

/// Two connections want the last place: whoever does not get it is told so.
fn last_place_is_wanted_by_two() {
    let world = world_with_one_place();
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    let (second, far_second) = wire(Peer::IsDone, usize::MAX);
    far.send(&request(TASK.0, 1, b""));
    far.end();
    far_second.send(&request(TASK.0, 2, b""));
    far_second.end();
    let first = {
        let (server, far) = (world.server.clone(), far.clone());
        shim::spawn(move || {
            let options = asyncserver::server::ConnectionOptions::default();
            let report = shim::block_on(server.handle_connection(near, options));
            let ended = Ended::new(&far, report);
            assert!([UNAVAILABLE, ok("done")].contains(&ended.answers[&1]));
        })
    };
    let ended = world.connect(second).run_and_judge(&far_second);
    assert!([UNAVAILABLE, ok("done")].contains(&ended.answers[&2]));
    first.join().unwrap();
    world.check_nothing_is_left();
}

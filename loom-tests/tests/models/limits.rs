//! Limits that are reached and left again (PROTOCOL L6, L7).

use std::sync::{Arc, Mutex};

use asyncserver::server::Limits;
use asyncserver::wire::TaskCode;
use asyncserver_loom_tests::answers::{Answer, UNAVAILABLE};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, JoinHandle};
use asyncserver_loom_tests::wire::{Far, Peer, request, wire};
use asyncserver_loom_tests::world::{Served, World};

use crate::tasks::{self, TASK, ok};

mod explored {
    models! {
        Three: full_outbox_meets_completion_and_drain, last_place_is_left,
            last_place_is_wanted_by_two;
        TwoDrivers: server_has_room_again;
    }
}

/// The length of the answer `done`, in bytes.
const ANSWER: usize = 11;

fn done() -> Answer {
    ok("done")
}

/// A response waits for its transport, and reading pauses before the end of the
/// stream; a task completes and the transport drains: all is answered in the end.
fn full_outbox_meets_completion_and_drain() {
    let mut limits = Limits::default();
    limits.unsent_limit_bytes = 1;
    let world = World::new(Starts::WhenReleased, |server, tally| {
        let server = server.limits(limits);
        let server = server.register(TASK, "spawned", tasks::spawned(tally));
        server.register(TaskCode(2), "quick", tasks::quick(tally))
    });
    let (near, far) = wire(Peer::Acts, 0);
    for (code, id) in [(1, 1), (2, 2)] {
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
    for id in 1..=2 {
        assert_eq!(ended.answers[&id], done());
    }
    world.check_nothing_is_left();
}

/// A connection that has taken `bytes`, and waits.
fn settled(world: &World, peer: Peer, room: usize, bytes: &[u8]) -> (Served, Far) {
    let (near, far) = wire(peer, room);
    far.send(bytes);
    let mut connection = world.connect(near);
    connection.settle();
    (connection, far)
}

/// Serves a connection on a thread of its own, and judges its only answer.
fn served_aside(connection: Served, far: &Far, id: u32, possible: Vec<Answer>) -> JoinHandle {
    let far = far.clone();
    shim::spawn(move || {
        let ended = connection.run_and_judge(&far);
        assert!(possible.contains(&ended.answers[&id]), "{ended:?}");
    })
}

/// The server's L7 is reached by one connection; another one's turn meets the
/// moment at which it is left.
fn server_has_room_again() {
    let mut limits = Limits::default();
    limits.server_unsent_limit_bytes = 1;
    let world = World::new(Starts::AtOnce, |server, tally| {
        let server = server.limits(limits);
        server.register(TASK, "quick", tasks::quick(tally))
    });
    let (mut other, far_other) = settled(&world, Peer::IsDone, usize::MAX, b"");
    let (mut full, far_full) = settled(&world, Peer::IsDone, 0, &request(TASK.0, 1, b""));
    far_other.send(&request(TASK.0, 2, b""));
    let answered = Arc::new(Mutex::new(None));
    let thread = {
        let (answered, far) = (Arc::clone(&answered), far_other.clone());
        shim::spawn(move || {
            other.run_until(&far, ANSWER);
            *answered.lock().unwrap() = Some(other);
        })
    };
    far_full.allow(usize::MAX);
    full.run_until(&far_full, ANSWER);
    thread.join().unwrap();
    let other = answered.lock().unwrap().take().unwrap();
    for (connection, far, id) in [(other, far_other, 2), (full, far_full, 1)] {
        far.end();
        let ended = connection.run_and_judge(&far);
        assert_eq!(ended.answers[&id], done());
    }
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
    let (first, far_first) = settled(&world, Peer::Acts, usize::MAX, b"");
    let (second, far_second) = settled(&world, Peer::Acts, usize::MAX, b"");
    let first = served_aside(first, &far_first, 1, vec![done()]);
    far_first.send(&request(TASK.0, 1, b""));
    shim::block_on(far_first.written(ANSWER));
    far_second.send(&request(TASK.0, 2, b""));
    far_second.end();
    let ended = second.run_and_judge(&far_second);
    assert_eq!(ended.answers[&2], done(), "L6: the place is free again");
    far_first.end();
    first.join().unwrap();
    world.check_nothing_is_left();
}

/// Two connections want the last place: whoever does not get it is told so.
fn last_place_is_wanted_by_two() {
    let world = world_with_one_place();
    let (first, far_first) = settled(&world, Peer::Acts, usize::MAX, b"");
    let (second, far_second) = settled(&world, Peer::Acts, usize::MAX, b"");
    far_first.send(&request(TASK.0, 1, b""));
    far_second.send(&request(TASK.0, 2, b""));
    far_second.end();
    let first = served_aside(first, &far_first, 1, vec![UNAVAILABLE, done()]);
    let ended = second.run_and_judge(&far_second);
    assert!([UNAVAILABLE, done()].contains(&ended.answers[&2]));
    far_first.end();
    first.join().unwrap();
    world.check_nothing_is_left();
}

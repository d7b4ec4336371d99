//! Cancels against completions, against each other, and against new requests
//! (PROTOCOL T5, T10).

use asyncserver::server::Registration;
use asyncserver_loom_tests::answers::{CANCELLED, PANICKED};
use asyncserver_loom_tests::shim;
use asyncserver_loom_tests::tally::Tally;
use asyncserver_loom_tests::wire::request;

use crate::tasks::{
    self, ID, NEXT, TASK, answered_and_asked, cancelled_meanwhile, draining, draining_all,
    end_beside, ok, open, world,
};

mod explored {
    models! {
        Three: completion_meets_cancel_spawned, completion_meets_cancel_grouped,
            completion_meets_cancel_blocking, panic_meets_cancel, drop_by_executor_meets_cancel,
            cancel_meets_group, cancel_meets_wait, cancel_meets_cancel,
            cancel_meets_cancel_on_the_wire, cancel_all_meets_new_request,
            chunk_meets_cancel;
        Four: completion_meets_two_cancels, completion_meets_cancel_and_disconnect,
            cancel_meets_idle_runner, cancel_meets_idle_group, two_cancels_meet_group;
    }
}

fn completion_meets_cancel(task: fn(&Tally) -> Registration) {
    let ended = cancelled_meanwhile(task);
    assert!([CANCELLED, ok("done")].contains(&ended.answers[&ID.0]));
    assert_eq!(ended.report.counts.accepted, 1);
}

fn completion_meets_cancel_spawned() {
    completion_meets_cancel(tasks::spawned);
}

fn completion_meets_cancel_grouped() {
    completion_meets_cancel(tasks::grouped);
}

fn completion_meets_cancel_blocking() {
    completion_meets_cancel(tasks::blocking);
}

fn panic_meets_cancel() {
    let ended = cancelled_meanwhile(tasks::panicking);
    let answer = &ended.answers[&ID.0];
    assert!([CANCELLED, PANICKED].contains(answer));
    if *answer == PANICKED {
        assert_eq!(ended.report.panics, 1, "T9: it is counted");
    }
}

/// What an executor drops unfinished ends as cancelled, whoever cancels it too.
fn drop_by_executor_meets_cancel() {
    let world = world(tasks::spawned);
    let served = draining(&world);
    let client = world.client();
    let tally = world.tally.clone();
    let work = world.workers.take_held();
    let dropper = shim::spawn(move || drop(work));
    let canceller = shim::spawn(move || client.cancel(ID));
    let ended = end_beside(world, served, [dropper, canceller]);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
    assert_eq!(tally.finished(), 0);
}

/// A group is polled for the first time, and falls asleep, while a member that
/// never ends by itself is cancelled.
fn cancel_meets_group() {
    let ended = cancelled_meanwhile(tasks::endless);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
}

/// It leaves its waker where the cancel looks for it, without the lock that the cancel has.
fn cancel_meets_wait() {
    let ended = cancelled_meanwhile(tasks::endless_spawned);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
}

/// Two members are told to end, and wake their group beside each other and its poll.
fn two_cancels_meet_group() {
    let world = world(tasks::tidy_grouped);
    let served = draining_all(&world, &[ID, NEXT]);
    let clients = [(world.client(), ID), (world.client(), NEXT)];
    world.workers.release();
    let cancellers = clients.map(|(client, id)| shim::spawn(move || client.cancel(id)));
    let ended = end_beside(world, served, cancellers);
    for id in [ID, NEXT] {
        assert_eq!(ended.answers[&id.0], ok("tidied"));
    }
}

/// Its function is given to an executor task that falls asleep behind another one's.
fn cancel_meets_idle(first: fn(&Tally) -> Registration, cancelled: fn(&Tally) -> Registration) {
    let (world, served) = answered_and_asked(first, cancelled);
    let client = world.client();
    let canceller = shim::spawn(move || client.cancel(NEXT));
    let ended = end_beside(world, served, [canceller]);
    assert_eq!(ended.answers[&ID.0], ok("done"));
    assert_eq!(ended.answers[&NEXT.0], CANCELLED);
}

fn cancel_meets_idle_runner() {
    cancel_meets_idle(tasks::spawned, tasks::endless_spawned);
}

fn cancel_meets_idle_group() {
    cancel_meets_idle(tasks::grouped, tasks::endless);
}

fn cancel_meets_cancel() {
    let world = world(tasks::endless_local);
    let served = draining(&world);
    let cancellers =
        [world.client(), world.client()].map(|client| shim::spawn(move || client.cancel(ID)));
    let ended = end_beside(world, served, cancellers);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
    assert_eq!(ended.report.counts.cancelled, 1);
}

fn cancel_meets_cancel_on_the_wire() {
    let world = world(tasks::endless_local);
    let (connection, far) = open(&world);
    let client = world.client();
    let canceller = shim::spawn(move || client.cancel(ID));
    let peer = {
        let far = far.clone();
        let mut bytes = request(251, ID.0, b"");
        bytes.extend(request(250, 8, b""));
        shim::spawn(move || {
            far.send(&bytes);
            far.end();
        })
    };
    let ended = end_beside(world, (connection, far), [canceller, peer]);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
    assert_eq!(ended.answers[&8], ok(""));
    assert_eq!(ended.report.counts.cancels, 1);
}

/// The request that comes meanwhile is cancelled or answered, and nothing else.
fn cancel_all_meets_new_request() {
    let world = world(tasks::endless_local);
    let register = asyncserver::wire::TaskCode(2);
    let quick = tasks::quick(&world.tally);
    world.server.register(register, "quick", quick).unwrap();
    let (connection, far) = open(&world);
    let client = world.client();
    let canceller = shim::spawn(move || client.cancel_all());
    let peer = {
        let far = far.clone();
        shim::spawn(move || {
            far.send(&request(2, 8, b""));
            far.end();
        })
    };
    let ended = end_beside(world, (connection, far), [canceller, peer]);
    assert_eq!(ended.answers[&ID.0], CANCELLED);
    assert!([CANCELLED, ok("done")].contains(&ended.answers[&8]));
    assert_eq!(ended.report.counts.accepted, 2);
}

/// The message's rest arrives while its task is cancelled.
fn chunk_meets_cancel() {
    let world = world(tasks::length);
    let (near, far) =
        asyncserver_loom_tests::wire::wire(asyncserver_loom_tests::wire::Peer::Acts, usize::MAX);
    let bytes = request(TASK.0, ID.0, b"four");
    far.send(&bytes[..7]);
    let mut connection = world.connect(near);
    connection.settle();
    let client = world.client();
    let canceller = shim::spawn(move || client.cancel(ID));
    let peer = {
        let far = far.clone();
        shim::spawn(move || {
            far.send(&bytes[7..]);
            far.end();
        })
    };
    let ended = end_beside(world, (connection, far), [canceller, peer]);
    assert!([CANCELLED, ok("4")].contains(&ended.answers[&ID.0]));
}

fn completion_meets_two_cancels() {
    let world = world(tasks::spawned);
    let served = draining(&world);
    let cancellers =
        [world.client(), world.client()].map(|client| shim::spawn(move || client.cancel(ID)));
    world.workers.release();
    let ended = end_beside(world, served, cancellers);
    assert!([CANCELLED, ok("done")].contains(&ended.answers[&ID.0]));
}

fn completion_meets_cancel_and_disconnect() {
    let world = world(tasks::spawned);
    let served = draining(&world);
    let (canceller, leaver) = (world.client(), world.client());
    let canceller = shim::spawn(move || canceller.cancel(ID));
    let leaver = shim::spawn(move || leaver.disconnect(std::time::Duration::ZERO));
    world.workers.release();
    let ended = end_beside(world, served, [canceller, leaver]);
    assert_eq!(ended.report.counts.accepted, 1);
}

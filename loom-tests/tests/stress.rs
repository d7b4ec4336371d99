//! The whole on threads, at random: several connections with many tasks each,
//! and handles that cancel, disconnect and close, hesitating by a seed wherever
//! the library calls a seam of the model's.

#![cfg(not(asyncserver_loom))]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use asyncserver::server::{Execution, OnCancel, Registration, TaskContext};
use asyncserver::wire::{TaskCode, TaskId};
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, Threads};
use asyncserver_loom_tests::wire::{Peer, request, wire};
use asyncserver_loom_tests::world::World;

const CONNECTIONS: u32 = 3;
const TASKS: u32 = 12;

/// One task of each kind of execution; none waits for more than being polled, or told.
fn registrations(world: &World) -> [Registration; 4] {
    let tally = &world.tally;
    let quick = |tally: &asyncserver_loom_tests::tally::Tally| {
        let tally = tally.clone();
        Registration::task(move |_, message| {
            let guard = tally.guard();
            async move {
                guard.finish();
                Ok(message)
            }
        })
    };
    let told = tally.clone();
    let told = Registration::task(move |context: TaskContext, _| {
        let guard = told.guard();
        async move {
            context.cancelled().await;
            guard.finish();
            Ok("told")
        }
    });
    let blocking = tally.clone();
    let blocking = Registration::blocking(move |_, message| {
        blocking.guard().finish();
        Ok(message)
    });
    let grace = Duration::from_secs(1);
    [
        quick(tally),
        quick(tally).execution(Execution::Spawn),
        told.on_cancel(OnCancel::Cooperate { grace }),
        blocking,
    ]
}

fn storm() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let world = World::new(Starts::AtOnce, |server, _| server);
    for (code, task) in (1..).zip(registrations(&world)) {
        world.server.register(TaskCode(code), "task", task).unwrap();
    }
    let mut threads = Vec::new();
    for _ in 0..CONNECTIONS {
        let (near, far) = wire(Peer::Acts, 40);
        let mut connection = world.connect(near);
        connection.settle();
        let peer = far.clone();
        threads.push(shim::spawn(move || {
            for id in 0..TASKS {
                let code = u8::try_from(1 + (id + run) % 4).unwrap();
                peer.send(&request(code, id, b"message"));
                shim::step();
                peer.allow(20);
            }
            peer.allow(usize::MAX);
        }));
        threads.push(shim::spawn(move || {
            let ended = connection.run_and_judge(&far);
            assert!(ended.report.counts.accepted <= u64::from(TASKS));
        }));
    }
    for (which, client) in (run..).zip(world.server.clients()) {
        threads.push(shim::spawn(move || {
            for id in 0..TASKS / 2 {
                client.cancel(TaskId(id));
                shim::step();
            }
            match which % 3 {
                0 => client.close(),
                1 => client.disconnect(Duration::ZERO),
                _ => {
                    client.disconnect(Duration::from_secs(1));
                    client.cancel_all();
                    client.close();
                }
            }
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    world.check_nothing_is_left();
}

#[test]
fn a_storm_of_tasks_cancels_and_ends_leaves_nothing() {
    shim::explore("storm", Threads::Four, storm);
}

//! The tasks that the models use, and what they start from.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::server::{Execution, MessageReader, OnCancel, Registration, Request, Task};
use asyncserver::server::{TaskFunction, TaskFunctionError};
use asyncserver::wire::{TaskCode, TaskId};
use asyncserver_loom_tests::answers::Answer;
use asyncserver_loom_tests::executor::Starts;
use asyncserver_loom_tests::shim::{self, Gate, JoinHandle};
use asyncserver_loom_tests::tally::Tally;
use asyncserver_loom_tests::wire::{Far, Peer, request, wire};
use asyncserver_loom_tests::world::{Ended, Served, World};

/// The code of the task that a model is about.
pub(crate) const TASK: TaskCode = TaskCode(1);
/// Its id.
pub(crate) const ID: TaskId = TaskId(7);
/// The id of the request behind it.
pub(crate) const NEXT: TaskId = TaskId(8);
/// The grace of cooperating tasks.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The answer `OK` with this message.
pub(crate) fn ok(message: &str) -> Answer {
    Answer::Ok(message.into())
}

/// A world with one task, whose work is held until the model releases it.
pub(crate) fn world(task: fn(&Tally) -> Registration) -> World {
    World::new(Starts::WhenReleased, |server, tally| {
        server.register(TASK, "task", task(tally))
    })
}

/// A connection that has taken one request, and the end of its stream: it
/// drains, and ends when the task does.
pub(crate) fn draining(world: &World) -> (Served, Far) {
    draining_all(world, &[ID])
}

/// The same with these requests.
pub(crate) fn draining_all(world: &World, ids: &[TaskId]) -> (Served, Far) {
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    for id in ids {
        far.send(&request(TASK.0, id.0, b""));
    }
    far.end();
    let mut connection = world.connect(near);
    connection.settle();
    (connection, far)
}

/// A connection that has taken one request, and is open.
pub(crate) fn open(world: &World) -> (Served, Far) {
    let (near, far) = wire(Peer::Acts, usize::MAX);
    far.send(&request(TASK.0, ID.0, b""));
    let mut connection = world.connect(near);
    connection.settle();
    (connection, far)
}

/// Serves the connection to its end beside the other threads, judges it, and
/// sees that nothing is left.
pub(crate) fn end_beside(
    world: World,
    (connection, far): (Served, Far),
    others: impl IntoIterator<Item = JoinHandle>,
) -> Ended {
    let ended = connection.run_and_judge(&far);
    for other in others {
        other.join().unwrap();
    }
    world.check_nothing_is_left();
    ended
}

/// The task is cancelled while it starts, runs and ends.
pub(crate) fn cancelled_meanwhile(task: fn(&Tally) -> Registration) -> Ended {
    let world = world(task);
    let served = draining(&world);
    let client = world.client();
    world.workers.release();
    let canceller = shim::spawn(move || client.cancel(ID));
    end_beside(world, served, [canceller])
}

/// The first task has answered, and its executor task may not have come to rest when it
/// is given the function of the next request, for the next task; then the stream ends.
pub(crate) fn answered_and_asked(
    first: fn(&Tally) -> Registration,
    next: fn(&Tally) -> Registration,
) -> (World, (Served, Far)) {
    const NEXT_TASK: TaskCode = TaskCode(2);
    const KEEP_ALIVE: u8 = 250;
    let world = World::new(Starts::AtOnce, |server, tally| {
        let server = server.register(TASK, "task", first(tally));
        server.register(NEXT_TASK, "next", next(tally))
    });
    let (near, far) = wire(Peer::IsDone, usize::MAX);
    // What has had a request before keeps its idle executor tasks for a while.
    far.send(&request(KEEP_ALIVE, 1, b""));
    let mut connection = world.connect(near);
    connection.settle();
    far.send(&request(TASK.0, ID.0, b""));
    connection.settle();
    let answers = [request(0, 1, b""), request(0, ID.0, b"done")];
    connection.run_until(&far, answers.iter().map(Vec::len).sum());
    far.send(&request(NEXT_TASK.0, NEXT.0, b""));
    connection.settle();
    far.end();
    assert_eq!(world.workers.threads(), 1, "the same runs both");
    (world, (connection, far))
}

/// Answers `done` at its first poll.
pub(crate) fn quick(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            guard.finish();
            Ok("done")
        }
    })
}

/// The same, on the executor from the start.
pub(crate) fn spawned(tally: &Tally) -> Registration {
    quick(tally).execution(Execution::Spawn)
}

/// Answers `done` at its second poll, for which it does not wake itself: the
/// first is in place, the second in its group.
pub(crate) fn grouped(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            Once::default().await;
            guard.finish();
            Ok("done")
        }
    })
}

/// Answers `done` from a thread of its own.
pub(crate) fn blocking(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::blocking(move |_, _| {
        tally.guard().finish();
        Ok("done")
    })
}

/// Blocks its thread until the gate opens, whatever it is told.
pub(crate) fn blocked(tally: &Tally, gate: &Gate) -> Registration {
    let (tally, gate) = (tally.clone(), gate.clone());
    Registration::blocking(move |_, _| {
        let guard = tally.guard();
        gate.pass();
        guard.finish();
        Ok("done")
    })
}

/// Never ends by itself.
pub(crate) fn endless(tally: &Tally) -> Registration {
    let tally = tally.clone();
    Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            std::future::pending::<()>().await;
            guard.finish();
            Ok("never")
        }
    })
}

/// The same, in the connection's own task.
pub(crate) fn endless_local(tally: &Tally) -> Registration {
    endless(tally).execution(Execution::Local)
}

/// The same, in an executor task of its own.
pub(crate) fn endless_spawned(tally: &Tally) -> Registration {
    endless(tally).execution(Execution::Spawn)
}

/// Never ends by itself, and may take its grace when it is told to.
pub(crate) fn stubborn(tally: &Tally) -> Registration {
    endless_spawned(tally).on_cancel(OnCancel::Cooperate { grace: GRACE })
}

/// Answers `tidied` when it is told to end, and does not end before; in its group.
pub(crate) fn tidy_grouped(tally: &Tally) -> Registration {
    let tally = tally.clone();
    let task = Registration::task(move |context, _| {
        let guard = tally.guard();
        async move {
            context.cancelled().await;
            guard.finish();
            Ok("tidied")
        }
    });
    task.on_cancel(OnCancel::Cooperate { grace: GRACE })
}

/// The same, in an executor task of its own.
pub(crate) fn tidy(tally: &Tally) -> Registration {
    tidy_grouped(tally).execution(Execution::Spawn)
}

/// Panics at its first poll on the executor, silently.
pub(crate) fn panicking(tally: &Tally) -> Registration {
    let tally = tally.clone();
    let task = Registration::task(move |_, _| {
        let guard = tally.guard();
        async move {
            guard.finish();
            if true {
                std::panic::resume_unwind(Box::new("planned"));
            }
            Ok("never")
        }
    });
    task.execution(Execution::Spawn)
}

/// Reads its message as it arrives, and answers its length.
pub(crate) fn length(_: &Tally) -> Registration {
    struct Length;
    impl TaskFunction for Length {
        async fn read(
            &self,
            _: Request,
            message: &mut MessageReader,
        ) -> Result<Task, TaskFunctionError> {
            let mut length = 0;
            while let Some(chunk) = message.chunk().await {
                length += chunk.len();
            }
            Ok(Task::run(async move |_| Ok(length.to_string())))
        }
    }
    Registration::task_function(Length)
}

/// Pending once.
#[derive(Default)]
pub(crate) struct Once {
    polled: bool,
}

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.polled, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

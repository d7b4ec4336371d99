//! Run functions: where they run, how they are told of a cancel, and what
//! becomes of their places.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use asyncserver::runtime::{Clock, Timer, TokioClock};
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode, TaskId};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::wire_client::*;
use crate::world::*;

const CANCEL: u8 = 251;

/// Its first waker was the one of the poll in place, which wakes nobody.
#[tokio::test(start_paused = true)]
async fn a_local_function_that_pends_goes_on() {
    let local = Registration::task(async |_, message: Bytes| {
        sleep(ms(50)).await;
        Ok(message)
    });
    let server = server()
        .register(TaskCode(ODD), "local", local.execution(Execution::Local))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"x").await;
    let answer = timeout(ms(5000), client.answer()).await;
    assert_eq!(answer.expect("a wake-up"), Some(ok(7, "x")));
}

/// Takes its whole message, piece by piece, and answers it.
struct Collect;

impl TaskFunction for Collect {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let mut all = Vec::new();
        while let Some(chunk) = message.chunk().await {
            all.extend_from_slice(&chunk);
        }
        Ok(Task::run(async move |_| Ok(all)))
    }
}

/// PROTOCOL T10: it dropped whichever task function was reading by then.
#[tokio::test(start_paused = true)]
async fn a_cancel_in_receiving_concerns_only_its_own_task() {
    let server = server()
        .task_function(TaskCode(ODD), "collect", Collect)
        .task(TaskCode(4), "cancel", async |context: TaskContext, _| {
            context.client().cancel(TaskId(8));
            Ok(())
        })
        .build();
    let mut client = WireClient::connect(&server);
    let mut bytes = request(4, 7, b"");
    bytes.unsplit(request(ODD, 8, b"aaa"));
    let last = request(ODD, 9, &[7; 300]);
    bytes.extend_from_slice(&last[..100]);
    client.send(&bytes).await;
    sleep(ms(10)).await;
    client.send(&last[100..]).await;
    client.expect(Answer::Error(8, ErrorCode::CANCELLED)).await;
    client.expect(ok(7, "")).await;
    let answer = timeout(ms(100), client.answer()).await;
    assert_eq!(answer.expect("no wait for L14"), Some(ok(9, vec![7; 300])));
}

/// PROTOCOL T10: its function was polled once all the same.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_cancelled_in_the_batch_of_its_request_does_not_start() {
    let runs = Arc::new(());
    let counted = Arc::clone(&runs);
    let server = server()
        .task(TaskCode(ODD), "counts", move |_, _: Bytes| {
            let run = Arc::clone(&counted);
            async move {
                // One more of it shows that it ran.
                std::mem::forget(run);
                Ok(())
            }
        })
        .build();
    let mut client = WireClient::connect(&server);
    let requests: [(u8, u32, &[u8]); 2] = [(ODD, 7, b""), (CANCEL, 7, b"")];
    client.ask_together(&requests).await;
    client.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
    drop(server);
    drop(client.end().await);
    assert_eq!(Arc::strong_count(&runs), 1, "it ran");
}

fn tidy() -> Registration {
    Registration::task(async |context: TaskContext, _: Bytes| {
        context.cancelled().await;
        Ok("tidied")
    })
    .on_cancel(OnCancel::Cooperate { grace: ms(1000) })
}

/// PROTOCOL T10: it is told, and what it returns is the answer; it was not started.
#[tokio::test(start_paused = true)]
async fn a_cooperating_task_that_is_cancelled_in_the_batch_of_its_request_is_told() {
    let server = server().register(TaskCode(ODD), "tidy", tidy()).build();
    let mut client = WireClient::connect(&server);
    let requests: [(u8, u32, &[u8]); 2] = [(ODD, 7, b""), (CANCEL, 7, b"")];
    client.ask_together(&requests).await;
    client.expect(ok(7, "tidied")).await;
}

struct NobodysWaker;

impl Wake for NobodysWaker {
    fn wake(self: Arc<Self>) {}
}

/// Each of them left a waker behind for as long as the task lived.
#[tokio::test(start_paused = true)]
async fn a_future_that_waited_to_be_told_leaves_nothing_behind() {
    let wakers = Arc::new(Mutex::new(Vec::<Weak<NobodysWaker>>::new()));
    let seen = Arc::clone(&wakers);
    let polls = move |context: TaskContext, _: Bytes| {
        let seen = Arc::clone(&seen);
        async move {
            for _ in 0..1000 {
                let waker = Arc::new(NobodysWaker);
                seen.lock().expect("no panic").push(Arc::downgrade(&waker));
                let waker = waker.into();
                let told = pin!(context.cancelled());
                assert!(told.poll(&mut Context::from_waker(&waker)).is_pending());
            }
            sleep(ms(1000)).await;
            Ok(())
        }
    };
    let server = server().task(TaskCode(ODD), "polls", polls).build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(10)).await;
    let wakers = wakers.lock().expect("no panic");
    assert_eq!(wakers.len(), 1000);
    assert!(wakers.iter().all(|waker| waker.strong_count() == 0));
}

fn blocking_server(threads: &NoThreads, limits: Limits) -> Server {
    server()
        .limits(limits)
        .executor(threads.clone())
        .register(
            TaskCode(ODD),
            "blocking",
            Registration::blocking(|_, message: Bytes| Ok(message)),
        )
        .build()
}

/// PROTOCOL T10, T13: floods of submit-and-cancel gain nothing.
#[tokio::test(start_paused = true)]
async fn cancelled_tasks_fill_the_executors_queue_up_to_the_limit_of_tasks() {
    let threads = NoThreads::default();
    let server = blocking_server(&threads, limits(|limits| limits.task_limit = 10));
    let mut client = WireClient::connect(&server);
    for id in 0..10 {
        client.ask(ODD, id, b"").await;
        sleep(ms(1)).await;
        client.ask(CANCEL, id, b"").await;
        let cancelled = Answer::Error(id, ErrorCode::CANCELLED);
        client.expect(cancelled).await;
    }
    // Their places are free, and those in the queue are not.
    assert_eq!(server.task_count(), 0);
    client.ask(ODD, 10, b"").await;
    let refused = Answer::Error(10, ErrorCode::UNAVAILABLE);
    client.expect(refused).await;
    let queued = threads.take_all();
    assert_eq!(queued.len(), 10);
    queued.into_iter().for_each(|function| function());
    client.ask(ODD, 11, b"").await;
    sleep(ms(1)).await;
    threads
        .take_all()
        .into_iter()
        .for_each(|function| function());
    client.expect(ok(11, "")).await;
}

/// What it holds, its message among it, is not the executor's any more.
struct Holds(Arc<()>);

impl TaskFunction for Holds {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        while message.chunk().await.is_some() {}
        let held = Arc::clone(&self.0);
        Ok(Task::blocking(move |_| {
            drop(held);
            Ok(())
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_drops_a_blocking_function_that_waits_for_a_thread() {
    let threads = NoThreads::default();
    let held = Arc::new(());
    let server = server()
        .executor(threads.clone())
        .task_function(TaskCode(ODD), "holds", Holds(Arc::clone(&held)))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(10)).await;
    assert_eq!(Arc::strong_count(&held), 3);
    client.ask(CANCEL, 7, b"").await;
    client.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
    assert_eq!(Arc::strong_count(&held), 2);
    assert_eq!(threads.take_all().len(), 1);
}

/// Every way of a blocking function gives back its place of L6, once.
#[tokio::test(start_paused = true)]
async fn the_places_of_blocking_functions_add_up() {
    let threads = NoThreads::default();
    let server = blocking_server(&threads, Limits::default());
    let mut client = WireClient::connect(&server);
    // It runs; it is dropped by its executor.
    client.ask(ODD, 1, b"ran").await;
    client.ask(ODD, 2, b"").await;
    sleep(ms(1)).await;
    let mut queued = threads.take_all();
    drop(queued.pop());
    queued.pop().expect("a function")();
    client.expect(Answer::Error(2, ErrorCode::CANCELLED)).await;
    client.expect(ok(1, "ran")).await;
    assert_eq!(server.task_count(), 0);
    // Cancelled before it was handed over; cancelled behind that, then dropped or called.
    let requests: [(u8, u32, &[u8]); 2] = [(ODD, 3, b""), (CANCEL, 3, b"")];
    client.ask_together(&requests).await;
    client.expect(Answer::Error(3, ErrorCode::CANCELLED)).await;
    assert_eq!((server.task_count(), threads.take_all().len()), (0, 0));
    for id in [4, 5] {
        client.ask(ODD, id, b"").await;
        sleep(ms(1)).await;
        client.ask(CANCEL, id, b"").await;
        let cancelled = Answer::Error(id, ErrorCode::CANCELLED);
        client.expect(cancelled).await;
    }
    let mut queued = threads.take_all();
    assert_eq!(server.task_count(), 0);
    drop(queued.pop());
    queued.pop().expect("a function")();
    assert_eq!(server.task_count(), 0);
    // Its connection ends while it waits.
    client.ask(ODD, 6, b"").await;
    sleep(ms(1)).await;
    client.connection.abort();
    drop(client.connection.await);
    assert_eq!(server.task_count(), 0);
    drop(threads.take_all());
    assert_eq!(server.task_count(), 0);
}

/// PROTOCOL T10: a function in the connection's own task was dropped with it.
#[tokio::test(start_paused = true)]
async fn a_local_function_keeps_its_grace_when_its_connection_is_dropped() {
    let tidied = Arc::new(Mutex::new(false));
    let tidies = Arc::clone(&tidied);
    let local = Registration::task(move |context: TaskContext, _: Bytes| {
        let tidied = Arc::clone(&tidies);
        async move {
            context.cancelled().await;
            sleep(ms(100)).await;
            *tidied.lock().expect("no panic") = true;
            Ok(())
        }
    });
    let local = local.execution(Execution::Local);
    let local = local.on_cancel(OnCancel::Cooperate { grace: ms(1000) });
    let server = server().register(TaskCode(ODD), "local", local).build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(10)).await;
    // Closed first, so that the drop finds the connection ended.
    server.clients()[0].close();
    client.connection.abort();
    sleep(ms(50)).await;
    assert_eq!(server.task_count(), 1);
    sleep(ms(2000)).await;
    assert!(*tidied.lock().expect("no panic"));
    assert_eq!(server.task_count(), 0);
}

/// PROTOCOL L6: whatever ended it, for the handle that is kept counts nothing.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_and_dropped_gives_its_places_back() {
    let server = server().build();
    let mut client = WireClient::connect(&server);
    client.ask(MINUTE, 7, b"").await;
    sleep(ms(10)).await;
    let kept = server.clients().remove(0);
    kept.close();
    client.connection.abort();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.task_count(), 0);
    assert_eq!(server.client_count(), 0);
}

/// A clock that run functions move on as if they computed.
#[derive(Clone, Debug)]
struct Computing {
    start: Instant,
    computed: Arc<Mutex<Duration>>,
}

impl Clock for Computing {
    fn now(&self) -> Instant {
        self.start + *self.computed.lock().expect("no panic")
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn timer(&self) -> Box<dyn Timer> {
        TokioClock.timer()
    }
}

/// A function that computes leaves the connection's own thread, though each
/// batch has but one of it.
#[tokio::test(start_paused = true)]
async fn slow_polls_in_place_are_seen_one_by_one() {
    let clock = Computing {
        start: TokioClock.now(),
        computed: Arc::default(),
    };
    let computed = Arc::clone(&clock.computed);
    let computes = move |_, _: Bytes| {
        let computed = Arc::clone(&computed);
        poll_fn(move |cx| {
            *computed.lock().expect("no panic") += ms(5);
            // The poll in place is the one that wakes nobody.
            let in_place = cx.waker().data() == Waker::noop().data();
            let place: &[u8] = if in_place { b"in place" } else { b"elsewhere" };
            Poll::Ready(Ok(place))
        })
    };
    let server = server()
        .clock(clock)
        .task(TaskCode(ODD), "computes", computes)
        .build();
    let mut client = WireClient::connect(&server);
    let mut places = Vec::new();
    for id in 0..20 {
        client.ask(ODD, id, b"").await;
        places.extend(client.answer().await);
    }
    assert_eq!(places[0], ok(0, "in place"));
    assert_eq!(places[19], ok(19, "elsewhere"));
}

//! Cancelling, and its races (PROTOCOL T10, T12, E2).

mod manual_executor;
mod wire_client;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use manual_executor::ManualExecutor;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use wire_client::*;

const ECHO: u8 = 1;
/// The code of the registration that a test is about.
const TESTED: u8 = 2;
const CANCEL: u8 = 251;
const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Local, Execution::Spawn];
const SECOND: Duration = Duration::from_secs(1);

fn cooperate(grace: Duration) -> OnCancel {
    OnCancel::Cooperate { grace }
}

fn server(tested: Registration) -> Server {
    builder(tested).build()
}

fn builder(tested: Registration) -> ServerBuilder {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(TESTED), "tested", tested)
}

fn cancelled(id: u32) -> Answer {
    Answer::Error(id, ErrorCode::CANCELLED)
}

/// Sleeps for 10 s; notes when it is dropped.
fn sleeper(notes: &Notes) -> Registration {
    let notes = notes.clone();
    Registration::task(move |_, _| {
        let note = notes.on_drop("dropped");
        async move {
            sleep(SECOND * 10).await;
            drop(note);
            Ok("slept")
        }
    })
}

/// Once told to end, it takes as many milliseconds as its message has bytes.
fn tidy() -> Registration {
    Registration::task(async |context, message: Bytes| {
        context.cancelled().await;
        assert!(context.is_cancelled());
        sleep(ms(message.len() as u64)).await;
        Ok("tidied")
    })
    .on_cancel(cooperate(SECOND))
}

/// Every way to cancel a running task 1.
const WAYS: [fn(&ClientHandle, &mut WireClient); 3] = [
    |handle, _| handle.cancel(id(1)),
    |handle, _| handle.cancel_all(),
    |_, client| {
        let sent = client.try_send(&request(CANCEL, 1, b"ignored"));
        assert!(sent, "the pipe has room");
    },
];

#[tokio::test(start_paused = true)]
async fn under_drop_a_running_function_is_dropped_and_answered() {
    for execution in EXECUTIONS {
        for cancel in WAYS {
            let notes = Notes::default();
            let server = server(sleeper(&notes).execution(execution));
            let mut client = WireClient::connect(&server);
            client.ask(TESTED, 1, b"").await;
            let handle = only_client(&server).await;
            let began = Instant::now();
            cancel(&handle, &mut client);
            client.expect(cancelled(1)).await;
            assert_eq!(began.elapsed(), Duration::ZERO, "{execution:?}");
            assert_eq!(notes.take(), ["dropped"]);
            assert_eq!(server.task_count(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_cooperate_what_is_returned_within_the_grace_is_the_answer() {
    for execution in EXECUTIONS {
        for cancel in WAYS {
            let server = server(tidy().execution(execution));
            let mut client = WireClient::connect(&server);
            client.ask(TESTED, 1, &[0; 900]).await;
            let handle = only_client(&server).await;
            cancel(&handle, &mut client);
            settle().await;
            let state = handle.metadata(id(1)).unwrap().state;
            assert_eq!(state, TaskState::Cancelling);
            client.expect(ok(1, "tidied")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_cooperate_the_function_is_dropped_when_its_grace_has_passed() {
    for execution in EXECUTIONS {
        let notes = Notes::default();
        let stubborn = sleeper(&notes).on_cancel(cooperate(SECOND));
        let server = server(stubborn.execution(execution));
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"").await;
        let handle = only_client(&server).await;
        handle.cancel(id(1));
        let began = Instant::now();
        sleep(ms(500)).await;
        // The first cancel counts.
        handle.cancel(id(1));
        assert!(notes.take().is_empty());
        client.expect(cancelled(1)).await;
        assert_eq!(began.elapsed(), SECOND, "{execution:?}");
        assert_eq!(notes.take(), ["dropped"]);
    }
}

#[tokio::test(start_paused = true)]
async fn under_cooperate_failures_and_panics_within_the_grace_are_the_answer() {
    let fails = Registration::task(async |context, message: Bytes| {
        context.cancelled().await;
        assert!(!message.is_empty(), "it panics");
        Err::<(), _>(TaskError::code_only(ErrorCode(message[0])))
    });
    let mut client = WireClient::connect(&server(fails.on_cancel(cooperate(SECOND))));
    client.ask(TESTED, 1, &[9]).await;
    client.ask(TESTED, 2, b"").await;
    client.ask(CANCEL, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode(9))).await;
    client.ask(CANCEL, 2, b"").await;
    client.expect(Answer::Error(2, ErrorCode::PANICKED)).await;
}

#[tokio::test(start_paused = true)]
async fn in_receiving_the_run_function_is_not_started() {
    let never = || Registration::task(async |_, _| -> Result<(), _> { panic!("it started") });
    let streamed = reading(|_, message| {
        Box::pin(async move {
            while message.chunk().await.is_some() {}
            panic!("it went on")
        })
    });
    let returned = reading(|_, _| {
        Box::pin(async {
            Ok(Task::run(async |_| -> Result<(), _> {
                panic!("it started")
            }))
        })
    });
    for tested in [never(), streamed, returned] {
        let server = server(tested);
        let mut client = WireClient::connect(&server);
        let bytes = request(TESTED, 1, b"message");
        client.send(&bytes[..8]).await;
        let handle = only_client(&server).await;
        let state = handle.metadata(id(1)).unwrap().state;
        assert_eq!(state, TaskState::Receiving);
        handle.cancel(id(1));
        handle.cancel_all();
        client.expect_silence(ms(1000)).await;
        client.send(&bytes[8..]).await;
        client.expect(cancelled(1)).await;
        client.ask(ECHO, 1, b"goes on").await;
        client.expect(ok(1, "goes on")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_function_that_has_its_whole_message_is_cancelled_at_once() {
    let waits = reading(|_, message| {
        Box::pin(async move {
            while message.chunk().await.is_some() {}
            sleep(SECOND).await;
            panic!("it went on")
        })
    });
    let server = server(waits);
    let mut client = WireClient::connect(&server);
    client.ask(TESTED, 1, b"message").await;
    only_client(&server).await.cancel(id(1));
    client.expect(cancelled(1)).await;
}

#[tokio::test(start_paused = true)]
async fn in_responding_a_cancel_does_nothing() {
    let (reader, writer) = tokio::io::duplex(1000);
    let reader = std::sync::Mutex::new(Some(reader));
    let slow = Registration::task(move |_, _| {
        let reader = reader.lock().unwrap().take().expect("one request");
        async move { Ok(Response::reader(reader)) }
    });
    let server = server(slow.begin_after_bytes(1));
    let mut client = WireClient::connect(&server);
    client.ask(TESTED, 1, b"").await;
    let mut writer = writer;
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"some")
        .await
        .unwrap();
    let handle = only_client(&server).await;
    assert_eq!(handle.metadata(id(1)).unwrap().state, TaskState::Responding);
    handle.cancel(id(1));
    client.ask(CANCEL, 1, b"").await;
    settle().await;
    drop(writer);
    client.expect(ok(1, "some")).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_not_begun_is_cancelled_with_its_task() {
    for (on_cancel, expected) in [(OnCancel::Drop, 0), (cooperate(SECOND), 1000)] {
        let stalls = Registration::task(async |_, _| {
            Ok(Response::stream(futures_util::stream::pending::<
                Result<Bytes, _>,
            >()))
        });
        let mut client = WireClient::connect(&server(stalls.on_cancel(on_cancel)));
        client.ask(TESTED, 1, b"").await;
        settle().await;
        client.ask(CANCEL, 1, b"").await;
        let began = Instant::now();
        client.expect(cancelled(1)).await;
        assert_eq!(began.elapsed(), ms(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_for_an_id_that_is_not_live_is_ignored() {
    let server = server(sleeper(&Notes::default()));
    let mut client = WireClient::connect(&server);
    client.ask(CANCEL, 1, b"").await;
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    client.ask(CANCEL, 1, b"").await;
    only_client(&server).await.cancel(id(1));
    // Its id does not even have to be free.
    client.ask(ECHO, 1, b"y").await;
    client.expect(ok(1, "y")).await;
    let report = client.finish().await;
    assert_eq!((report.counts.cancels, report.counts.cancelled), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_cancel_in_one_batch_get_one_answer() {
    let mut client = WireClient::connect(&server(sleeper(&Notes::default())));
    let sleep = [request(TESTED, 1, b""), request(CANCEL, 1, b"")].concat();
    client.send(&sleep).await;
    client.expect(cancelled(1)).await;
    // It could complete at once: whichever comes to the ledger first decides.
    let echo = [request(ECHO, 1, b"x"), request(CANCEL, 1, b"")].concat();
    client.send(&echo).await;
    let answer = client.answer().await.unwrap();
    assert!(answer == ok(1, "x") || answer == cancelled(1), "{answer:?}");
    client.expect_silence(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_completion_in_the_same_turn_a_cancel_does_nothing() {
    for execution in EXECUTIONS {
        let (may_end, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let both = (may_end.clone(), ended.clone());
        let waits = Registration::task(move |_, _| {
            let (may_end, ended) = both.clone();
            async move {
                may_end.notified().await;
                ended.notify_one();
                Ok("done")
            }
        });
        let server = server(waits.execution(execution));
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"").await;
        client.ask(TESTED, 2, b"").await;
        let handle = only_client(&server).await;
        // The cancel comes to the ledger before the function that can end.
        handle.cancel(id(1));
        may_end.notify_waiters();
        ended.notified().await;
        client.expect(cancelled(1)).await;
        handle.cancel(id(2));
        client.expect(ok(2, "done")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_under_drop_nothing_that_the_function_returns_counts() {
    let own_end = || {
        Registration::task(async |context, message: Bytes| {
            if message.len() > 1 {
                sleep(ms(10)).await;
            }
            context.client().cancel(context.id());
            match message[0] {
                0 => Ok("done"),
                1 => Err(TaskError::code_only(ErrorCode(9))),
                2 => Err(TaskError::fatal("no longer of interest")),
                _ => panic!("no longer of interest"),
            }
        })
    };
    for execution in EXECUTIONS {
        let mut client = WireClient::connect(&server(own_end().execution(execution)));
        for message in [
            [0; 1].as_slice(),
            &[0, 0],
            &[1],
            &[1, 1],
            &[2],
            &[2, 2],
            &[3],
            &[3, 3],
        ] {
            client.ask(TESTED, 1, message).await;
            client.expect(cancelled(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn floods_of_submit_and_cancel_hold_their_places() {
    let executor = ManualExecutor::default();
    let mut limits = Limits::default();
    limits.in_flight_limit = 2;
    let server = builder(sleeper(&Notes::default()))
        .limits(limits)
        .executor(executor.clone())
        .build();
    let mut client = WireClient::connect(&server);
    for id in 1..=2 {
        client.ask(TESTED, id, b"").await;
        settle().await;
        client.ask(CANCEL, id, b"").await;
    }
    client.ask(ECHO, 3, b"third").await;
    // Nothing has been dropped yet: nothing is answered, no id and no place is free.
    client.expect_silence(ms(900)).await;
    assert_eq!(server.task_count(), 2);
    assert_eq!(only_client(&server).await.tasks(), [id(1), id(2)]);
    executor.run_futures();
    client.expect(cancelled(1)).await;
    client.expect(cancelled(2)).await;
    client.expect(ok(3, "third")).await;
}

#[tokio::test(start_paused = true)]
async fn what_its_executor_drops_unfinished_is_cancelled() {
    for execution in [Execution::Auto, Execution::Spawn] {
        let executor = ManualExecutor::default();
        let tested = sleeper(&Notes::default()).execution(execution);
        let server = builder(tested).executor(executor.clone()).build();
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"").await;
        settle().await;
        executor.drop_futures();
        client.expect(cancelled(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cooperating_function_keeps_its_grace_past_its_connections_end() {
    for execution in EXECUTIONS {
        for already_cancelled in [false, true] {
            let notes = Notes::default();
            let stubborn = sleeper(&notes).on_cancel(cooperate(SECOND));
            let server = server(stubborn.execution(execution));
            let mut client = WireClient::connect(&server);
            client.ask(TESTED, 1, b"").await;
            let handle = only_client(&server).await;
            if already_cancelled {
                handle.cancel(id(1));
                sleep(ms(500)).await;
            }
            handle.close();
            let report = client.finish().await;
            assert_eq!(report.interrupted.len(), 1);
            let left = if already_cancelled { ms(500) } else { SECOND };
            sleep(left - ms(5)).await;
            assert!(notes.take().is_empty());
            assert_eq!(server.task_count(), 1, "its place in L6");
            sleep(ms(10)).await;
            assert_eq!(notes.take(), ["dropped"], "{execution:?}");
            assert_eq!(server.task_count(), 0);
        }
    }
}

/// Wakes nobody, and counts its wakers by its references.
struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

/// Pends twice, though woken, and returns its message: in `Auto` its group waits once, too.
fn pends_twice() -> Registration {
    Registration::task(async |_, message: Bytes| {
        let mut pends = 0..2;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            match pends.next() {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        })
        .await;
        Ok(message)
    })
}

/// The function, and perhaps its executor task, which goes then: with no time for
/// anybody else in between.
fn poll_to_its_end(executor: &ManualExecutor, waker: &Waker) {
    for mut future in executor.take_futures() {
        let mut cx = Context::from_waker(waker);
        let mut polls = std::iter::repeat_with(|| future.as_mut().poll(&mut cx)).take(3);
        let _ = polls.find(Poll::is_ready);
    }
}

#[tokio::test(start_paused = true)]
async fn run_functions_that_have_ended_leave_no_waker_behind() {
    for execution in [Execution::Auto, Execution::Spawn] {
        let executor = ManualExecutor::default();
        let server = builder(pends_twice().execution(execution))
            .executor(executor.clone())
            .build();
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"one").await;
        settle().await;
        let sleeper = Arc::new(Sleeper);
        poll_to_its_end(&executor, &Waker::from(Arc::clone(&sleeper)));
        client.expect(ok(1, "one")).await;
        assert_eq!(Arc::strong_count(&sleeper), 1, "{execution:?}");
    }
}

/// Though the connection's task has not come to its result yet.
#[tokio::test(start_paused = true)]
async fn a_cancel_behind_a_functions_return_is_ignored() {
    for execution in [Execution::Auto, Execution::Spawn] {
        let executor = ManualExecutor::default();
        let server = builder(pends_twice().execution(execution))
            .executor(executor.clone())
            .build();
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"one").await;
        settle().await;
        let handle = only_client(&server).await;
        poll_to_its_end(&executor, Waker::noop());
        handle.cancel(id(1));
        client.expect(ok(1, "one")).await;
    }
}

/// However many they are: what bounds a turn (L13) blames nobody.
#[tokio::test(start_paused = true)]
async fn who_returns_in_time_is_answered_by_a_server_that_was_held_up() {
    const MANY: u32 = 600;
    let executor = ManualExecutor::default();
    let limited = pends_twice().execution(Execution::Spawn).run_limit(SECOND);
    let server = builder(limited).executor(executor.clone()).build();
    let mut client = WireClient::connect(&server);
    for id in 0..MANY {
        client.ask(TESTED, id, b"in time").await;
    }
    settle().await;
    poll_to_its_end(&executor, Waker::noop());
    tokio::time::advance(SECOND * 2).await;
    for id in 0..MANY {
        client.expect(ok(id, "in time")).await;
    }
}

/// More of them than leave their wakers, or their results, in one turn.
#[tokio::test(start_paused = true)]
async fn of_many_that_wait_all_are_cancelled_at_once() {
    const MANY: u32 = 600;
    for execution in EXECUTIONS {
        let server = server(sleeper(&Notes::default()).execution(execution));
        let mut client = WireClient::connect(&server);
        for id in 0..MANY {
            client.ask(TESTED, id, b"").await;
        }
        settle().await;
        assert_eq!(server.task_count(), MANY as usize);
        only_client(&server).await.cancel_all();
        let mut answered = BTreeSet::new();
        for _ in 0..MANY {
            let answer = tokio::time::timeout(SECOND, client.answer()).await;
            match answer.expect("the next one at once") {
                Some(Answer::Error(id, ErrorCode::CANCELLED)) => answered.insert(id),
                other => panic!("{other:?} in {execution:?}"),
            };
        }
        assert_eq!(answered.len(), MANY as usize);
        assert_eq!(server.task_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_cancels_knows_so() {
    let tested = Registration::task(async |context: TaskContext, _| {
        let before = context.is_cancelled();
        sleep(SECOND).await;
        Ok(format!("{before} {}", context.is_cancelled()))
    });
    let server = server(tested);
    let mut client = WireClient::connect(&server);
    client.ask(TESTED, 1, b"").await;
    client.expect(ok(1, "false false")).await;
}

/// One among many is found without a look at the others.
#[tokio::test(start_paused = true)]
async fn a_cancel_polls_none_but_the_function_that_it_is_for() {
    for execution in EXECUTIONS {
        let polls = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&polls);
        let waits = Registration::task(move |_, _| {
            let counts = Arc::clone(&counts);
            poll_fn(move |_| {
                counts.fetch_add(1, Ordering::Relaxed);
                Poll::<Result<&str, TaskError>>::Pending
            })
        });
        let mut client = WireClient::connect(&server(waits.execution(execution)));
        for task in 0..100 {
            client.ask(TESTED, task, b"").await;
        }
        settle().await;
        let before = polls.load(Ordering::Relaxed);
        assert!(before >= 100, "all wait");
        for task in [50, 0, 99] {
            client.ask(CANCEL, task, b"").await;
            client.expect(cancelled(task)).await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), before, "{execution:?}");
    }
}

/// Groups without a member that it is for sleep on: with many of them a cancel would
/// cost as much as there are.
#[tokio::test(start_paused = true)]
async fn a_cancel_in_auto_wakes_no_group_but_its_own() {
    let executor = ManualExecutor::default();
    let waits = Registration::task(|_, _| std::future::pending::<Result<&str, TaskError>>());
    let server = builder(waits).executor(executor.clone()).build();
    let mut client = WireClient::connect(&server);
    let requests: Vec<u8> = (0..192)
        .flat_map(|task| request(TESTED, task, b""))
        .collect();
    client.send(&requests).await;
    settle().await;
    let polls = executor.take_futures().into_iter().map(|mut group| {
        let polls = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&polls);
        drop(tokio::spawn(poll_fn(move |cx| {
            counts.fetch_add(1, Ordering::Relaxed);
            group.as_mut().poll(cx)
        })));
        polls
    });
    let polls: Vec<_> = polls.collect();
    assert_eq!(polls.len(), 3, "groups of 64");
    settle().await;
    let take_polls = || -> Vec<usize> {
        let polls = polls.iter();
        polls
            .map(|polls| polls.swap(0, Ordering::Relaxed))
            .collect()
    };
    take_polls();
    for (task, group) in [(100, 1), (70, 1), (3, 0), (127, 1), (191, 2)] {
        client.ask(CANCEL, task, b"").await;
        client.expect(cancelled(task)).await;
        settle().await;
        let polled = take_polls();
        let woken: Vec<_> = (0..3).filter(|group| polled[*group] > 0).collect();
        assert_eq!(woken, [group], "{polled:?}");
    }
    assert_eq!(server.clients()[0].tasks().len(), 187);
}

/// A response's bytes may be the application's own: they go with the answer, wherever it ran.
#[tokio::test(start_paused = true)]
async fn what_a_function_returned_is_dropped_once_it_is_answered() {
    struct Owner(#[expect(dead_code, reason = "only counted")] Arc<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"owned"
        }
    }
    for execution in EXECUTIONS {
        let shared = Arc::new(());
        let owned = Arc::clone(&shared);
        let returns = Registration::task(move |_, _| {
            let owner = Owner(Arc::clone(&owned));
            async move {
                tokio::task::yield_now().await;
                Ok(Bytes::from_owner(owner))
            }
        });
        let mut client = WireClient::connect(&server(returns.execution(execution)));
        for task in 0..3 {
            client.ask(TESTED, task, b"").await;
            client.expect(ok(task, "owned")).await;
        }
        settle().await;
        // The test's and the registration's.
        assert_eq!(Arc::strong_count(&shared), 2, "{execution:?}");
    }
}

/// The driver has looked at orders again by the time that it moves the function to
/// the executor.
#[tokio::test(start_paused = true)]
async fn a_cancel_in_a_later_batch_of_the_same_read_reaches_a_function_that_pends() {
    for execution in EXECUTIONS {
        let notes = Notes::default();
        let mut client = WireClient::connect(&server(sleeper(&notes).execution(execution)));
        let mut requests = request(TESTED, 1000, b"");
        for task in 0..200 {
            requests.extend_from_slice(&request(ECHO, task, b""));
        }
        requests.extend_from_slice(&request(CANCEL, 1000, b""));
        requests.extend_from_slice(&request(ECHO, 200, b""));
        let began = Instant::now();
        client.send(&requests).await;
        let mut is_cancelled = false;
        for _ in 0..202 {
            is_cancelled |= client.answer().await == Some(cancelled(1000));
        }
        assert!(is_cancelled);
        assert_eq!(began.elapsed(), Duration::ZERO, "{execution:?}");
        assert_eq!(notes.take(), ["dropped"]);
    }
}

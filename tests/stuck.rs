//! Functions that do not end when they are told to (PROTOCOL T13), and those
//! that run on threads (T10).

mod manual_executor;
mod wire_client;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use manual_executor::ManualExecutor;
use tokio::time::{Instant, sleep};
use wire_client::*;

const ECHO: u8 = 1;
/// Blocks its thread until the test lets it go on.
const BLOCK: u8 = 2;
/// A future that ends after 10 s.
const SLEEP: u8 = 3;

const CANCELLED: ErrorCode = ErrorCode::CANCELLED;

struct World {
    server: Server,
    executor: ManualExecutor,
    let_go: mpsc::Sender<()>,
    begun: mpsc::Receiver<()>,
}

impl World {
    /// A thread gets to the oldest blocking function, which begins.
    fn begin(&self) -> JoinHandle<()> {
        let thread = self.executor.start_thread();
        self.begun.recv().unwrap();
        thread
    }

    /// A client whose task 1 blocks its thread.
    async fn blocked(&self) -> (WireClient, JoinHandle<()>) {
        let mut client = WireClient::connect(&self.server);
        client.ask(BLOCK, 1, b"").await;
        settle().await;
        let thread = self.begin();
        (client, thread)
    }

    /// The same, once it has been cancelled and answered.
    async fn stuck(&self) -> (WireClient, JoinHandle<()>) {
        let (mut client, thread) = self.blocked().await;
        client.ask(251, 1, b"").await;
        client.expect(Answer::Error(1, CANCELLED)).await;
        (client, thread)
    }

    /// It returns, and whoever is concerned takes note.
    async fn end(&self, thread: JoinHandle<()>) {
        self.let_go.send(()).unwrap();
        thread.join().unwrap();
        settle().await;
    }
}

fn world(registration: impl FnOnce(Registration) -> Registration, limits: Limits) -> World {
    let executor = ManualExecutor::default();
    let (let_go, may_go) = mpsc::channel();
    let may_go = Arc::new(Mutex::new(may_go));
    let (begins, begun) = mpsc::channel();
    let block = Registration::blocking(move |_, _| {
        begins.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        Ok("done")
    });
    let server = Server::builder()
        .limits(limits)
        .executor(executor.clone())
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(BLOCK), "block", registration(block))
        .task(TaskCode(SLEEP), "sleep", async |_, _| {
            sleep(Duration::from_secs(10)).await;
            Ok(())
        })
        .build();
    World {
        server,
        executor,
        let_go,
        begun,
    }
}

type Change = fn(Registration) -> Registration;

fn plain(registration: Registration) -> Registration {
    registration
}

fn cooperating(registration: Registration) -> Registration {
    registration.on_cancel(OnCancel::Cooperate { grace: ms(300) })
}

#[tokio::test(start_paused = true)]
async fn a_blocking_function_answers_what_it_returns() {
    let world = world(plain, Limits::default());
    let (mut client, thread) = world.blocked().await;
    world.end(thread).await;
    client.expect(ok(1, "done")).await;
}

#[tokio::test(start_paused = true)]
async fn a_blocking_function_that_waits_for_a_thread_never_starts_once_it_is_cancelled() {
    for registration in [plain, cooperating] {
        let world = world(registration, Limits::default());
        let mut client = WireClient::connect(&world.server);
        client.ask(BLOCK, 1, b"").await;
        settle().await;
        client.ask(251, 1, b"").await;
        let began = Instant::now();
        client.expect(Answer::Error(1, CANCELLED)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(world.server.task_count(), 0);
        // It would wait for ever if it started.
        world.executor.start_thread().join().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_function_that_no_thread_ever_gets_to_is_cancelled() {
    let world = world(plain, Limits::default());
    let mut client = WireClient::connect(&world.server);
    client.ask(BLOCK, 1, b"").await;
    settle().await;
    world.executor.drop_blocking();
    client.expect(Answer::Error(1, CANCELLED)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_blocking_function_is_answered_when_its_grace_has_passed() {
    let graces: [(Change, u64); 2] = [(plain, 1000), (cooperating, 300)];
    for (registration, grace) in graces {
        let world = world(registration, Limits::default());
        let (mut client, thread) = world.blocked().await;
        let handle = only_client(&world.server).await;
        handle.cancel(id(1));
        let began = Instant::now();
        client.expect(Answer::Error(1, CANCELLED)).await;
        assert_eq!(began.elapsed(), ms(grace));
        // For the lists and for T11 it is gone; its place in L6 it keeps.
        assert!(handle.tasks().is_empty());
        client.ask(ECHO, 1, b"reused").await;
        client.expect(ok(1, "reused")).await;
        assert_eq!(world.server.task_count(), 1);
        // Its late result is discarded.
        world.end(thread).await;
        assert_eq!(world.server.task_count(), 0);
        client.expect_silence(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_blocking_function_returns_in_time_counts_only_if_it_cooperates() {
    let cases: [(Change, Answer); 2] = [
        (plain, Answer::Error(1, CANCELLED)),
        (cooperating, ok(1, "done")),
    ];
    for (registration, expected) in cases {
        let world = world(registration, Limits::default());
        let (mut client, thread) = world.blocked().await;
        only_client(&world.server).await.cancel(id(1));
        world.end(thread).await;
        client.expect(expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_function_keeps_its_place_on_its_connection() {
    let mut limits = Limits::default();
    limits.in_flight_limit = 1;
    let world = world(plain, limits);
    let (mut client, thread) = world.stuck().await;
    client.ask(ECHO, 2, b"waits").await;
    client.expect_silence(Duration::from_secs(60)).await;
    world.end(thread).await;
    client.expect(ok(2, "waits")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_function_keeps_its_place_past_its_connections_end() {
    let mut limits = Limits::default();
    limits.task_limit = 1;
    let world = world(plain, limits);
    let (client, thread) = world.stuck().await;
    let report = client.finish().await;
    assert_eq!(report.counts.cancelled, 1);
    assert_eq!(report.stuck.len(), 1);
    assert_eq!(
        (report.stuck[0].id, report.stuck[0].code),
        (id(1), TaskCode(BLOCK))
    );
    let mut other = WireClient::connect(&world.server);
    other.ask(ECHO, 1, b"refused").await;
    other.expect(Answer::Error(1, ErrorCode::UNAVAILABLE)).await;
    world.end(thread).await;
    other.ask(ECHO, 1, b"taken").await;
    other.expect(ok(1, "taken")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_function_does_not_keep_a_connection_from_draining_or_idling() {
    let world = world(plain, Limits::default());
    let (client, thread) = world.stuck().await;
    world.server.disconnect(Duration::from_secs(100));
    let report = client.end().await;
    assert!(!report.deadline_reached);
    assert_eq!(report.stuck.len(), 1);
    world.end(thread).await;
}

#[tokio::test(start_paused = true)]
async fn a_future_is_stuck_one_second_after_it_should_have_been_dropped() {
    let world = world(plain, Limits::default());
    let mut client = WireClient::connect(&world.server);
    client.ask(SLEEP, 1, b"").await;
    settle().await;
    client.ask(251, 1, b"").await;
    let began = Instant::now();
    // Its executor does not get to it.
    client.expect(Answer::Error(1, CANCELLED)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(world.server.task_count(), 1);
    assert!(only_client(&world.server).await.tasks().is_empty());
    world.executor.run_futures();
    settle().await;
    assert_eq!(world.server.task_count(), 0);
    client.expect_silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_limit_makes_a_blocking_function_stuck_too() {
    let world = world(
        |block| cooperating(block).run_limit(ms(200)),
        Limits::default(),
    );
    let mut client = WireClient::connect(&world.server);
    let began = Instant::now();
    client.ask(BLOCK, 1, b"").await;
    settle().await;
    let thread = world.begin();
    client.expect(Answer::Error(1, ErrorCode::DEADLINE)).await;
    assert_eq!(began.elapsed(), ms(500));
    world.end(thread).await;
}

#[tokio::test(start_paused = true)]
async fn a_blocking_function_outlives_its_connection_in_its_place() {
    let world = world(plain, Limits::default());
    let mut client = WireClient::connect(&world.server);
    client.ask(BLOCK, 1, b"").await;
    client.ask(BLOCK, 2, b"").await;
    settle().await;
    let thread = world.begin();
    let report = client.finish().await;
    assert_eq!(report.interrupted.len(), 2);
    assert_eq!(world.server.task_count(), 1, "one never got to a thread");
    world.end(thread).await;
    assert_eq!(world.server.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_function_may_return_a_function_that_blocks() {
    let world = world(plain, Limits::default());
    let streamed = reading(|_, message| {
        Box::pin(async move {
            let chunk = message.chunk().await;
            Ok(Task::blocking(move |_| Ok(chunk.unwrap_or_default())))
        })
    });
    world
        .server
        .register(TaskCode(4), "streamed", streamed)
        .unwrap();
    let mut client = WireClient::connect(&world.server);
    client.ask(4, 1, b"one").await;
    client.ask(4, 2, b"two").await;
    settle().await;
    client.ask(251, 2, b"").await;
    client.expect(Answer::Error(2, CANCELLED)).await;
    world.executor.start_thread().join().unwrap();
    client.expect(ok(1, "one")).await;
}

#[tokio::test(start_paused = true)]
async fn a_header_that_waits_behind_a_stuck_function_does_not_keep_a_connection_from_idling() {
    let mut limits = Limits::default();
    limits.in_flight_limit = 1;
    let world = world(plain, limits);
    let (mut client, thread) = world.stuck().await;
    client.ask(ECHO, 2, b"waits").await;
    let began = Instant::now();
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::TimeoutWaitingForTask);
    assert_eq!(began.elapsed(), Timeouts::DEFAULT_WAIT);
    world.end(thread).await;
}

#[tokio::test(start_paused = true)]
async fn a_blocking_function_can_look_whether_it_has_been_cancelled() {
    let executor = ManualExecutor::default();
    let (begins, begun) = mpsc::channel();
    let looks = Registration::blocking(move |context: TaskContext, _| {
        begins.send(()).unwrap();
        while !context.is_cancelled() {
            std::thread::yield_now();
        }
        Ok("it looked")
    });
    let server = Server::builder()
        .executor(executor.clone())
        .register(TaskCode(BLOCK), "looks", cooperating(looks))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(BLOCK, 1, b"").await;
    let handle = only_client(&server).await;
    let thread = executor.start_thread();
    begun.recv().unwrap();
    handle.cancel(id(1));
    thread.join().unwrap();
    client.expect(ok(1, "it looked")).await;
}

//! Executor tasks that have run their functions are used again, for the next ones.

mod manual_executor;
mod wire_client;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use asyncserver::runtime::BoxFuture;
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use manual_executor::ManualExecutor;
use tokio::time::sleep;
use wire_client::*;

/// The code of a task that echoes in an executor task.
const ECHOES: u8 = 1;
/// The code of one that waits there for ever.
const WAITS: u8 = 2;
const CANCEL: u8 = 251;
const KEEP_ALIVE: u8 = 250;

/// What executor tasks there are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// For one function at a time.
    Single,
    /// For up to 64 that pend where they were called.
    Group,
}

const KINDS: [Kind; 2] = [Kind::Single, Kind::Group];

struct Scene {
    executor: ManualExecutor,
    server: Server,
    client: WireClient,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let execution = match kind {
            Kind::Single => Execution::Spawn,
            Kind::Group => Execution::Auto,
        };
        let executor = ManualExecutor::default();
        let echo = Registration::task(move |_, message| async move {
            if kind == Kind::Group {
                tokio::task::yield_now().await;
            }
            Ok(message)
        });
        let waits = Registration::task(async |_, message| {
            std::future::pending::<()>().await;
            Ok(message)
        });
        let server = Server::builder()
            .executor(executor.clone())
            .register(TaskCode(ECHOES), "echo", echo.execution(execution))
            .register(TaskCode(WAITS), "waits", waits.execution(execution))
            .build();
        let client = WireClient::connect(&server);
        Self {
            executor,
            server,
            client,
        }
    }

    async fn ask(&mut self, code: u8, id: u32) {
        self.client.ask(code, id, b"message").await;
        settle().await;
    }

    /// The one executor task that there is now, which has answered a request.
    async fn idle_runner(&mut self) -> Runner {
        self.ask(ECHOES, 1).await;
        let mut runner = self.only_new_task();
        assert!(runner.go_on().is_pending());
        self.client.expect(ok(1, "message")).await;
        runner
    }

    fn only_new_task(&self) -> Runner {
        let mut new = self.executor.take_futures();
        assert_eq!(new.len(), 1, "executor tasks");
        Runner(new.remove(0))
    }

    fn no_new_task(&self) {
        assert!(self.executor.take_futures().is_empty());
    }

    async fn expect_cancelled(&mut self, id: u32) {
        let cancelled = Answer::Error(id, ErrorCode::CANCELLED);
        self.client.expect(cancelled).await;
    }
}

/// An executor task that goes on when the test says so.
struct Runner(BoxFuture<'static, ()>);

impl Runner {
    fn go_on(&mut self) -> Poll<()> {
        let mut cx = Context::from_waker(Waker::noop());
        self.0.as_mut().poll(&mut cx)
    }
}

/// How often it was woken.
struct Woken(AtomicUsize);
impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Panics when it is to wake.
struct Panics;
impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("planned"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_task_that_has_answered_runs_the_next_function() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        for id in 2..10 {
            scene.ask(ECHOES, id).await;
            scene.no_new_task();
            assert!(runner.go_on().is_pending());
            scene.client.expect(ok(id, "message")).await;
        }
    }
}

/// A poll that nobody asked for finds nothing to do.
#[tokio::test(start_paused = true)]
async fn an_idle_executor_task_is_woken_by_its_newest_waker() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(runner.0.as_mut().poll(&mut cx).is_pending());
        scene.ask(ECHOES, 2).await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(runner.0.as_mut().poll(&mut cx).is_pending());
        scene.client.expect(ok(2, "message")).await;
    }
}

/// Nobody else would poll it.
#[tokio::test(start_paused = true)]
async fn a_function_whose_wake_up_panics_gets_a_new_executor_task() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        let waker = Waker::from(Arc::new(Panics));
        let mut cx = Context::from_waker(&waker);
        assert!(runner.0.as_mut().poll(&mut cx).is_pending());
        scene.ask(ECHOES, 2).await;
        assert!(scene.only_new_task().go_on().is_pending());
        scene.client.expect(ok(2, "message")).await;
        assert!(runner.go_on().is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn functions_that_run_at_once_have_an_executor_task_each() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        scene.ask(WAITS, 2).await;
        scene.no_new_task();
        scene.ask(WAITS, 3).await;
        let mut other = scene.only_new_task();
        for (id, runner) in [(2, &mut runner), (3, &mut other)] {
            assert!(runner.go_on().is_pending());
            scene.ask(CANCEL, id).await;
            assert!(runner.go_on().is_pending());
            scene.expect_cancelled(id).await;
        }
        for id in [4, 5] {
            scene.ask(ECHOES, id).await;
            scene.no_new_task();
        }
        assert!(runner.go_on().is_pending() && other.go_on().is_pending());
        let answers = [scene.client.answer().await, scene.client.answer().await];
        assert!(answers.contains(&Some(ok(4, "message"))));
        assert!(answers.contains(&Some(ok(5, "message"))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_executor_task_that_its_executor_drops_is_not_used() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        drop(scene.idle_runner().await);
        scene.ask(ECHOES, 2).await;
        assert!(scene.only_new_task().go_on().is_pending());
        scene.client.expect(ok(2, "message")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_executor_drops_with_a_used_task_is_cancelled() {
    for (kind, has_begun) in KINDS
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)])
    {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        scene.ask(WAITS, 2).await;
        if has_begun {
            assert!(runner.go_on().is_pending());
        }
        drop(runner);
        scene.expect_cancelled(2).await;
        assert_eq!(scene.server.task_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_executor_task_ends_once_its_connection_is_quiet() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        sleep(ms(95)).await;
        assert!(runner.go_on().is_pending());
        sleep(ms(10)).await;
        assert!(runner.go_on().is_ready());
        scene.ask(ECHOES, 2).await;
        assert!(scene.only_new_task().go_on().is_pending());
        scene.client.expect(ok(2, "message")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_executor_task_ends_with_its_connection() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        // Whoever still has a handle keeps what tasks and handles share.
        let client = only_client(&scene.server).await;
        client.close();
        scene.client.finish().await;
        assert!(runner.go_on().is_ready());
        drop(client);
    }
}

/// Nobody is there any more to give it another function.
#[tokio::test(start_paused = true)]
async fn an_executor_task_that_outlives_its_connection_ends_with_its_function() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        scene.ask(WAITS, 1).await;
        let mut runner = scene.only_new_task();
        assert!(runner.go_on().is_pending());
        only_client(&scene.server).await.close();
        scene.client.finish().await;
        assert!(runner.go_on().is_ready());
        assert_eq!(scene.server.task_count(), 0);
    }
}

/// Its task has been answered long before (PROTOCOL T13): nothing is written then.
#[tokio::test(start_paused = true)]
async fn the_executor_task_of_a_function_that_was_stuck_ends_as_well() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        scene.ask(WAITS, 1).await;
        scene.ask(CANCEL, 1).await;
        scene.expect_cancelled(1).await;
        sleep(ms(500)).await;
        assert_eq!(scene.server.task_count(), 1, "it is stuck");
        let mut runner = scene.only_new_task();
        assert!(runner.go_on().is_pending());
        settle().await;
        assert_eq!(scene.server.task_count(), 0);
        assert!(runner.go_on().is_ready());
    }
}

/// Nothing is written when it ends, and the connection is not without tasks either.
#[tokio::test(start_paused = true)]
async fn the_executor_task_of_a_function_that_was_stuck_ends_beside_one_that_waits() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        scene.ask(WAITS, 1).await;
        let mut waits = scene.only_new_task();
        assert!(waits.go_on().is_pending());
        scene.ask(WAITS, 2).await;
        scene.ask(CANCEL, 2).await;
        scene.expect_cancelled(2).await;
        sleep(ms(500)).await;
        let mut runner = scene.only_new_task();
        assert!(runner.go_on().is_pending());
        settle().await;
        assert_eq!(scene.server.task_count(), 1);
        assert!(runner.go_on().is_ready());
        assert!(waits.go_on().is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_task_that_nobody_needs_ends_though_its_connection_is_busy() {
    for kind in KINDS {
        let mut scene = Scene::new(kind);
        let mut runner = scene.idle_runner().await;
        let mut rounds = 0;
        while runner.go_on().is_pending() {
            sleep(ms(40)).await;
            scene.ask(KEEP_ALIVE, 2).await;
            scene.client.expect(ok(2, "")).await;
            rounds += 1;
        }
        // It was not needed for as long as a quiet connection keeps it, and twice that at most.
        assert!((3..=6).contains(&rounds), "{rounds} times 40 ms");
    }
}

//! What observers are told, and in which order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode, TaskId};
use bytes::Bytes;
use tokio::time::sleep;

use crate::wire_client::*;
use crate::world::*;

const CANCEL: u8 = 251;

/// Whether a log asks for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Detail {
    #[default]
    Few,
    EachRequest,
}

/// Writes everything down that it is told of a client.
#[derive(Debug, Default)]
struct Log {
    detail: Detail,
    lines: Mutex<Vec<String>>,
}

impl Log {
    fn of(detail: Detail) -> Arc<Self> {
        Arc::new(Self {
            detail,
            ..Self::default()
        })
    }

    fn write(&self, line: String) {
        self.lines.lock().expect("no panic").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().expect("no panic"))
    }
}

impl Observer for Log {
    fn wants_task_events(&self) -> bool {
        self.detail == Detail::EachRequest
    }

    fn handshake_done(&self, _: &ClientHandle) {
        self.write("opened".to_owned());
    }

    fn request_accepted(&self, _: &ClientHandle, request: ObservedTask) {
        self.write(format!("accepted {}", request.id));
    }

    fn task_started(&self, _: &ClientHandle, task: ObservedTask) {
        self.write(format!("started {}", task.id));
    }

    fn task_cancelled(&self, _: &ClientHandle, task: ObservedTask, _: CancelCause) {
        self.write(format!("cancelled {}", task.id));
    }

    fn task_finished(&self, _: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        self.write(format!("finished {} {ending:?}", task.id));
    }

    fn task_stuck(&self, _: &ClientHandle, task: ObservedTask) {
        self.write(format!("stuck {}", task.id));
    }

    fn limit_reached(&self, _: &ClientHandle, rule: &'static str) {
        self.write(rule.to_owned());
    }

    fn connection_closed(&self, _: &ClientHandle, _: &ConnectionReport) {
        self.write("closed".to_owned());
    }
}

/// Cancels and interruptions are told in any case, the rest on demand.
#[tokio::test(start_paused = true)]
async fn an_observer_of_few_things_is_told_of_cancels_and_interruptions() {
    for (detail, expected) in [
        (
            Detail::Few,
            &["opened", "cancelled 6", "finished 7 Interrupted", "closed"][..],
        ),
        (
            Detail::EachRequest,
            &[
                "opened",
                "accepted 6",
                "started 6",
                // The Cancel itself: it is a request, not a task.
                "accepted 6",
                "cancelled 6",
                "finished 6 Error(ErrorCode(255))",
                "accepted 7",
                "started 7",
                "finished 7 Interrupted",
                "closed",
            ],
        ),
    ] {
        let log = Log::of(detail);
        let server = server().observer(Arc::<Log>::clone(&log)).build();
        let mut client = WireClient::connect(&server);
        client.ask(MINUTE, 6, b"").await;
        sleep(ms(1)).await;
        client.ask(CANCEL, 6, b"").await;
        client.answer().await;
        client.ask(MINUTE, 7, b"").await;
        sleep(ms(10)).await;
        drop(client.stream);
        server.wait().await;
        assert_eq!(log.take(), expected);
    }
}

/// Reads nothing of its message.
struct Ignores;

impl TaskFunction for Ignores {
    async fn read(&self, _: Request, _: &mut MessageReader) -> Result<Task, TaskFunctionError> {
        Ok(Task::run(async |_| Ok("x")))
    }
}

/// It was told of its end alone.
#[tokio::test(start_paused = true)]
async fn a_start_is_told_when_the_task_function_returned_first() {
    let log = Log::of(Detail::EachRequest);
    let server = server()
        .observer(Arc::<Log>::clone(&log))
        .task_function(TaskCode(ODD), "ignores", Ignores)
        .build();
    let mut client = WireClient::connect(&server);
    let bytes = request(ODD, 7, b"abc");
    client.send(&bytes[..6]).await;
    sleep(ms(10)).await;
    client.send(&bytes[6..]).await;
    client.expect(ok(7, "x")).await;
    let expected = ["opened", "accepted 7", "started 7", "finished 7 Ok"];
    assert_eq!(log.take(), expected);
}

/// An id may be free again within one batch: its first task has finished by then.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_task_is_told_before_the_next_one_of_its_id() {
    let log = Log::of(Detail::EachRequest);
    let blocks = Registration::blocking(|_, _| Ok(()));
    let server = server()
        .observer(Arc::<Log>::clone(&log))
        .executor(NoThreads::default())
        .register(TaskCode(ODD), "blocks", blocks)
        .build();
    let mut client = WireClient::connect(&server);
    let requests: [(u8, u32, &[u8]); 3] = [(ODD, 7, b""), (CANCEL, 7, b""), (MINUTE, 7, b"")];
    client.ask_together(&requests).await;
    client.answer().await;
    let lines = log.take();
    let finished = lines.iter().position(|line| line.starts_with("finished 7"));
    let next = lines.iter().rposition(|line| line == "started 7");
    assert!(finished.is_some() && finished < next, "{lines:?}");
}

/// L16 was told of as L5 or L6, and L7 not at all.
#[tokio::test(start_paused = true)]
async fn an_observer_is_told_which_limit_was_reached() {
    for (rule, limit) in [
        (
            "L16",
            (|limits: &mut Limits| limits.held_limit_bytes = 1) as fn(&mut Limits),
        ),
        ("L16", |limits| limits.server_held_limit_bytes = 1),
        ("L6", |limits| limits.task_limit = 1),
        ("L5", |limits| limits.in_flight_limit = 1),
        ("L7", |limits| limits.unsent_limit_bytes = 1),
        // The registration's own.
        ("N9", |_| {}),
    ] {
        let log = Log::of(Detail::Few);
        let waits = Registration::task(async |_, _: Bytes| {
            sleep(ms(10)).await;
            Ok("done")
        });
        let own_limit = if rule == "N9" { 1 } else { usize::MAX };
        let server = server()
            .register(TaskCode(ODD), "waits", waits.max_in_flight(own_limit))
            .limits(limits(limit))
            .observer(Arc::<Log>::clone(&log))
            .build();
        // A pipe that a response fills: L7 is reached for more than a moment.
        let options = ConnectionOptions::default();
        let mut client = WireClient::connect_with(&server, 8, options);
        client.ask(ODD, 1, b"held").await;
        client.ask(ODD, 2, b"").await;
        sleep(ms(20)).await;
        client.answer().await;
        client.answer().await;
        let mut lines = log.take();
        lines.dedup();
        assert_eq!(lines, ["opened", rule]);
    }
}

/// Panics whatever it is told, after having written it down.
#[derive(Debug, Default)]
struct Panics(Log);

impl Observer for Panics {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn task_started(&self, client: &ClientHandle, task: ObservedTask) {
        self.0.task_started(client, task);
        panic!("in an observer");
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.0.connection_closed(client, report);
        panic!("in an observer");
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("in an observer's destructor");
    }
}

/// Neither what it is told nor its end costs anybody anything.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_is_told_all_the_same() {
    let server = server().build();
    let options = ConnectionOptions::default();
    let panics = Arc::new(Panics::default());
    let options = options.observer(Arc::<Panics>::clone(&panics));
    let mut client = WireClient::connect_with(&server, 1024, options);
    for id in [1, 2] {
        client.ask(ECHO, id, b"x").await;
        client.expect(ok(id, "x")).await;
    }
    drop(client.stream);
    assert_eq!(client.connection.await.expect("no panic").counts.ok, 2);
    assert_eq!(panics.0.take(), ["started 1", "started 2", "closed"]);
    std::mem::forget(panics);
}

/// Replaces itself while it is told, with something else in its place.
#[derive(Debug)]
struct Replaces(Mutex<Option<Arc<Log>>>);

impl Observer for Replaces {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn request_accepted(&self, client: &ClientHandle, _: ObservedTask) {
        if let Some(next) = self.0.lock().expect("no panic").take() {
            client.set_observer(next);
        }
    }
}

impl Drop for Replaces {
    fn drop(&mut self) {
        panic!("in an observer's destructor");
    }
}

/// Its destructor ran where it was told, and its panic ended the connection.
#[tokio::test(start_paused = true)]
async fn an_observer_may_replace_itself_and_panic_as_it_goes() {
    let log = Log::of(Detail::EachRequest);
    let server = server().build();
    let replaces = Replaces(Mutex::new(Some(Arc::clone(&log))));
    let options = ConnectionOptions::default().observer(Arc::new(replaces));
    let mut client = WireClient::connect_with(&server, 1024, options);
    for id in [1, 2] {
        client.ask(ECHO, id, b"x").await;
        client.expect(ok(id, "x")).await;
    }
    drop(client.stream);
    client.connection.await.expect("no panic");
    let lines = log.take();
    let last = ["accepted 2", "started 2", "finished 2 Ok", "closed"];
    assert!(lines.ends_with(&last.map(str::to_owned)), "{lines:?}");
}

/// Looks at each client's events as they are told, on whichever thread.
#[derive(Debug, Default)]
struct Judge(Mutex<BTreeMap<String, Vec<String>>>);

impl Judge {
    /// Slow now and then, so that another thread has the time to overtake.
    fn tell(&self, client: &ClientHandle, line: String) {
        if line.starts_with("started") || line.starts_with("cancelled") {
            std::thread::sleep(Duration::from_micros(20));
        }
        let mut clients = self.0.lock().expect("no panic");
        let name = client.remote_addr().to_string();
        clients.entry(name).or_default().push(line);
    }
}

impl Observer for Judge {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn handshake_done(&self, client: &ClientHandle) {
        self.tell(client, "opened".to_owned());
    }

    fn request_accepted(&self, client: &ClientHandle, request: ObservedTask) {
        if request.code != TaskCode(CANCEL) {
            self.tell(client, format!("accepted {}", request.id));
        }
    }

    fn task_started(&self, client: &ClientHandle, task: ObservedTask) {
        self.tell(client, format!("started {}", task.id));
    }

    fn task_cancelled(&self, client: &ClientHandle, task: ObservedTask, _: CancelCause) {
        self.tell(client, format!("cancelled {}", task.id));
    }

    fn task_finished(&self, client: &ClientHandle, task: ObservedTask, _: TaskEnding) {
        self.tell(client, format!("finished {}", task.id));
    }

    fn connection_closed(&self, client: &ClientHandle, _: &ConnectionReport) {
        self.tell(client, "closed".to_owned());
    }
}

/// Each client's story is whole and in order, and told by the end of `wait`.
fn judge(stories: &BTreeMap<String, Vec<String>>, clients: usize, tasks: u32) {
    assert_eq!(stories.len(), clients);
    for (client, story) in stories {
        assert_eq!(
            story.first().map(String::as_str),
            Some("opened"),
            "{client}"
        );
        assert_eq!(story.last().map(String::as_str), Some("closed"), "{client}");
        let at = |line: &str, id: u32| {
            let line = format!("{line} {id}");
            story.iter().position(|other| *other == line)
        };
        for id in 0..tasks {
            let accepted = at("accepted", id).expect("accepted");
            let started = at("started", id).expect("started");
            let finished = at("finished", id).expect("finished");
            assert!(accepted < started && started < finished, "{id}: {story:?}");
            if let Some(cancelled) = at("cancelled", id) {
                assert!(
                    started < cancelled && cancelled < finished,
                    "{id}: {story:?}"
                );
            }
        }
    }
}

/// Cancels all tasks of all clients, over and over, while the rest of a test lives.
fn keep_cancelling(server: &Server) -> (Arc<()>, std::thread::JoinHandle<()>) {
    let lives = Arc::new(());
    let (server, alive) = (server.clone(), Arc::downgrade(&lives));
    let thread = std::thread::spawn(move || {
        while alive.strong_count() > 0 {
            for client in server.clients() {
                client.cancel_all();
            }
        }
    });
    (lives, thread)
}

/// Tasks end on one thread while they are cancelled on another.
#[test]
fn the_story_of_a_client_is_told_in_its_order_on_many_threads() {
    const TASKS: u32 = 20;
    const CLIENTS: usize = 20;
    on_four_threads(async {
        let judged = Arc::new(Judge::default());
        let never = Registration::task(async |_, _: Bytes| {
            std::future::pending::<()>().await;
            Ok(())
        });
        let server = Server::builder()
            .observer(Arc::<Judge>::clone(&judged))
            .register(TaskCode(ODD), "never", never.execution(Execution::Spawn))
            .build();
        let (lives, canceller) = keep_cancelling(&server);
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let server = server.clone();
            clients.spawn(async move {
                let mut client = WireClient::connect_as(&server, &format!("client {number}"));
                for id in 0..TASKS {
                    client.ask(ODD, id, b"").await;
                }
                for _ in 0..TASKS {
                    let answer = tokio::time::timeout(Duration::from_secs(10), client.answer());
                    assert!(answer.await.expect("an answer").is_some());
                }
                drop(client.stream);
            });
        }
        while let Some(joined) = clients.join_next().await {
            joined.expect("no panic");
        }
        server.wait().await;
        drop(lives);
        canceller.join().expect("no panic");
        judge(&judged.0.lock().expect("no panic"), CLIENTS, TASKS);
    });
}

/// Is held up while it is told of a cancel.
#[derive(Debug)]
struct HeldUp {
    log: Arc<Log>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for HeldUp {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn task_cancelled(&self, _: &ClientHandle, _: ObservedTask, _: CancelCause) {
        let told = self.go_on.lock().expect("no panic").recv();
        told.expect("it is told to go on");
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.log.connection_closed(client, report);
    }
}

/// Another thread than the connection's may have to tell it.
#[test]
fn who_waits_for_all_clients_finds_their_ends_told() {
    on_four_threads(async {
        let log = Arc::new(Log::default());
        let (go_on, receiver) = mpsc::channel();
        let held_up = HeldUp {
            log: Arc::clone(&log),
            go_on: Mutex::new(receiver),
        };
        let threads = NoThreads::default();
        let echo = Registration::blocking(|_, message: Bytes| Ok(message));
        let server = server()
            .observer(Arc::new(held_up))
            .executor(threads.clone())
            .register(TaskCode(ODD), "echo", echo)
            .build();
        let mut client = WireClient::connect(&server);
        client.ask(ODD, 7, b"x").await;
        let waiting = loop {
            tokio::task::yield_now().await;
            if let Some(function) = threads.take_all().pop() {
                break function;
            }
        };
        let clients = server.clients();
        let thread = std::thread::spawn(move || clients[0].cancel(TaskId(7)));
        client.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
        drop(client.stream);
        client.connection.await.expect("no panic");
        let mut all_left = Box::pin(server.wait());
        let polled = all_left
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        go_on.send(()).expect("it is held up");
        thread.join().expect("no panic");
        drop(waiting);
        assert!(polled.is_pending());
        all_left.await;
        assert_eq!(log.take(), ["closed"]);
    });
}

struct StartsNothing;

impl TaskFunction for StartsNothing {
    async fn read(&self, _: Request, _: &mut MessageReader) -> Result<Task, TaskFunctionError> {
        Ok(Task::nothing())
    }
}

/// Of a task without a run function a start was told.
#[tokio::test(start_paused = true)]
async fn no_start_is_told_of_a_task_without_a_run_function() {
    let log = Log::of(Detail::EachRequest);
    let server = server()
        .observer(Arc::clone(&log) as Arc<dyn Observer>)
        .task_function(TaskCode(ODD), "starts nothing", StartsNothing)
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"x").await;
    client.expect(ok(7, "")).await;
    assert_eq!(log.take(), ["opened", "accepted 7", "finished 7 Ok"]);
}

//! What observers are told, and in which order.

mod wire_client;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use asyncserver::runtime::Endpoints;
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// Sleeps for as many milliseconds as its message has bytes.
const SLEEP: u8 = 2;
/// Told to cancel, it answers.
const TIDY: u8 = 3;

/// Notes all that it is told.
#[derive(Debug)]
struct Witness(Notes);

impl Observer for Witness {
    fn wants_task_events(&self) -> bool {
        true
    }
    fn handshake_done(&self, client: &ClientHandle) {
        self.0.note(format!("{client} opened"));
    }
    fn task_started(&self, _: &ClientHandle, task: ObservedTask) {
        self.0.note(format!("{} ({}) started", task.id, task.code));
    }
    fn task_cancelled(&self, _: &ClientHandle, task: ObservedTask, cause: CancelCause) {
        self.0.note(format!("{} cancelled: {cause:?}", task.id));
    }
    fn task_finished(&self, _: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        self.0.note(format!("{} finished: {ending:?}", task.id));
    }
    fn task_stuck(&self, _: &ClientHandle, task: ObservedTask) {
        self.0.note(format!("{} stuck", task.id));
    }
    fn limit_reached(&self, _: &ClientHandle, rule: &'static str) {
        self.0.note(format!("{rule} reached"));
    }
    fn connection_refused(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        self.0
            .note(format!("{endpoints} refused: {}", report.reason));
    }
    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.0.note(format!("{client} closed: {}", report.reason));
    }
}

fn witnessed(set: impl FnOnce(&mut Limits)) -> (Server, Notes) {
    let notes = Notes::default();
    let mut limits = Limits::default();
    set(&mut limits);
    let tidy = Registration::task(async |context: TaskContext, _| {
        context.cancelled().await;
        Ok("tidied")
    });
    let grace = Duration::from_secs(1);
    let server = Server::builder()
        .limits(limits)
        .observer(Arc::new(Witness(notes.clone())))
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(SLEEP), "sleep", sleeping())
        .register(
            TaskCode(TIDY),
            "tidy",
            tidy.on_cancel(OnCancel::Cooperate { grace }),
        )
        .build();
    (server, notes)
}

fn sleeping() -> Registration {
    Registration::task(async |_, message: Bytes| {
        sleep(ms(message.len() as u64)).await;
        Ok("slept")
    })
}

#[tokio::test(start_paused = true)]
async fn a_connections_life_is_told_in_order() {
    let (server, notes) = witnessed(|_| ());
    let mut client = WireClient::connect(&server);
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    settle().await;
    client.ask(251, 2, b"").await;
    assert!(client.answer().await.is_some());
    client.ask(TIDY, 3, b"").await;
    settle().await;
    client.ask(251, 3, b"").await;
    assert!(client.answer().await.is_some());
    client.ask(SLEEP, 4, &[0; 100]).await;
    // Requests of other codes are no tasks.
    client.ask(250, 5, b"").await;
    client.ask(99, 6, b"").await;
    settle().await;
    client.finish().await;
    let expected = [
        "client->server opened",
        "1 (1) started",
        "1 finished: Ok",
        "2 (2) started",
        "2 cancelled: Requested",
        "2 finished: Error(ErrorCode(255))",
        "3 (3) started",
        "3 cancelled: Requested",
        "3 finished: Ok",
        "4 (2) started",
        "4 finished: Interrupted",
        "client->server closed: client closed",
    ];
    assert_eq!(notes.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_by_their_rules() {
    let (server, notes) = witnessed(|limits| {
        limits.in_flight_limit = 1;
        limits.message_limit_bytes = 100;
    });
    let limited = sleeping().run_limit(ms(10));
    server
        .register(TaskCode(4), "limited", limited.max_in_flight(0))
        .unwrap();
    let mut client = WireClient::connect(&server);
    settle().await;
    notes.take();
    client.ask(4, 1, b"").await;
    assert!(client.answer().await.is_some());
    assert_eq!(notes.take(), ["N9 reached"]);
    server
        .register(TaskCode(4), "limited", sleeping().run_limit(ms(10)))
        .unwrap();
    client.ask(4, 1, &[0; 100]).await;
    client.ask(ECHO, 2, b"").await;
    client.answer().await;
    client.answer().await;
    let expected = [
        "1 (4) started",
        "L5 reached",
        "1 cancelled: Limit",
        "1 finished: Error(ErrorCode(253))",
        "2 (1) started",
        "2 finished: Ok",
    ];
    assert_eq!(notes.take(), expected);
    client.send(&request(ECHO, 3, &[0; 101])).await;
    let reason = client.end().await.reason;
    let closed = format!("client->server closed: {reason}");
    assert_eq!(notes.take(), ["L4 reached", &closed]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_task_is_told_and_then_no_more() {
    let (server, notes) = witnessed(|_| ());
    let (let_go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let (begins, begun) = tokio::sync::oneshot::channel();
    let begins = std::sync::Mutex::new(Some(begins));
    let block = Registration::blocking(move |_, _| {
        begins.lock().unwrap().take().unwrap().send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        Ok(())
    });
    server.register(TaskCode(4), "block", block).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(4, 1, b"").await;
    begun.await.unwrap();
    server.clients()[0].cancel(id(1));
    // A blocked thread keeps the paused clock from moving by itself.
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(client.answer().await.is_some());
    let_go.send(()).unwrap();
    while server.task_count() > 0 {
        tokio::task::yield_now().await;
    }
    let expected = [
        "client->server opened",
        "1 (4) started",
        "1 cancelled: Requested",
        "1 stuck",
    ];
    assert_eq!(notes.take()[..4], expected);
    assert!(notes.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_may_have_an_observer_of_its_own() {
    let (server, notes) = witnessed(|_| ());
    let (own, later) = (Notes::default(), Notes::default());
    let options = ConnectionOptions::default().observer(Arc::new(Witness(own.clone())));
    let mut client = WireClient::connect_with(&server, 1000, options);
    client.ask(SLEEP, 1, &[0; 100]).await;
    let handle = only_client(&server).await;
    assert_eq!(own.take(), ["client->server opened", "1 (2) started"]);
    handle.set_observer(Arc::new(Witness(later.clone())));
    client.expect(ok(1, "slept")).await;
    client.finish().await;
    let expected = ["1 finished: Ok", "client->server closed: client closed"];
    assert_eq!(later.take(), expected);
    assert!(own.take().is_empty() && notes.take().is_empty());
}

/// Panics at whatever it is told.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn wants_task_events(&self) -> bool {
        panic!("asked")
    }
    fn handshake_done(&self, _: &ClientHandle) {
        panic!("opened")
    }
    fn connection_closed(&self, _: &ClientHandle, _: &ConnectionReport) {
        panic!("closed")
    }
    fn task_cancelled(&self, _: &ClientHandle, _: ObservedTask, _: CancelCause) {
        panic!("cancelled")
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing() {
    let (server, _) = witnessed(|_| ());
    let options = ConnectionOptions::default().observer(Arc::new(Panics));
    let mut client = WireClient::connect_with(&server, 1000, options);
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    settle().await;
    client.ask(251, 2, b"").await;
    assert!(client.answer().await.is_some());
    assert_eq!(client.finish().await.reason, EndReason::ClientClosed);
    assert_eq!(server.client_count(), 0);
}

/// Holds up whoever tells it of a cancel.
#[derive(Debug)]
struct Slow {
    held_up: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Slow {
    fn wants_task_events(&self) -> bool {
        true
    }
    fn task_cancelled(&self, _: &ClientHandle, _: ObservedTask, _: CancelCause) {
        self.held_up.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
    }
}

/// The next answer, unless none comes while others have had many turns.
async fn answer_soon(client: &mut WireClient) -> Option<Answer> {
    let many_turns = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = client.answer() => answer,
        () = many_turns => None,
    }
}

/// Events are told by one thread at a time; what waits for it is bounded.
#[tokio::test(start_paused = true)]
async fn a_connection_pauses_for_an_observer_that_is_far_behind() {
    let (held_up, is_held_up) = mpsc::channel();
    let (release, go_on) = mpsc::channel();
    let go_on = Mutex::new(go_on);
    let server = Server::builder()
        .observer(Arc::new(Slow { held_up, go_on }))
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(SLEEP), "sleep", sleeping())
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 0, &[0; 100]).await;
    let handle = only_client(&server).await;
    // While this runs the paused clock stands still.
    let canceller = tokio::task::spawn_blocking(move || handle.cancel(id(0)));
    is_held_up.recv().unwrap();
    client.expect(Answer::Error(0, ErrorCode::CANCELLED)).await;
    let mut asked = 0;
    while asked < 4096 {
        asked += 1;
        client.ask(ECHO, asked, b"").await;
        if answer_soon(&mut client).await.is_none() {
            break;
        }
    }
    // Two or three events each, of which 4,096 may wait.
    assert!((1366..=2049).contains(&asked), "{asked}");
    let released = tokio::time::Instant::now();
    release.send(()).unwrap();
    canceller.await.unwrap();
    client.expect(ok(asked, "")).await;
    assert_eq!(released.elapsed(), Duration::ZERO, "no timer woke it");
    client.ask(ECHO, 1, b"").await;
    client.expect(ok(1, "")).await;
}

//! What is logged: each line says whose it is and what happened.
//!
//! Every test here listens before anything is logged. One that does not must be
//! elsewhere: what it comes to first, `tracing` takes to interest nobody, for as
//! long as there has been no more than one who listens.

mod wire_client;

use std::fmt::{Debug, Write};
use std::io;
use std::sync::Arc;

use asyncserver::runtime::{Endpoints, Listener};
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use tokio::io::DuplexStream;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use wire_client::*;

const ECHO: u8 = 1;
/// Fails in a way that its message's first byte chooses.
const FAIL: u8 = 2;
const REJECT: u8 = 3;

/// Notes each event: its level, its message, its fields, and the spans around it.
struct Lines(Notes);

/// One line, as it is written.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}:")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        // Others log, too.
        if !event.metadata().target().starts_with("asyncserver") {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let spans = context.event_scope(event).into_iter().flatten();
        let names: String = spans.map(|span| format!(" @{}", span.name())).collect();
        self.0
            .note(format!("{} {}{names}", event.metadata().level(), line.0));
    }
}

/// What is logged on this thread from now on.
fn listen() -> (Notes, DefaultGuard) {
    let notes = Notes::default();
    let lines = tracing_subscriber::registry().with(Lines(notes.clone()));
    (notes, tracing::subscriber::set_default(lines))
}

fn server() -> Server {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(
            TaskCode(FAIL),
            "fail",
            async |_, message: Bytes| match message[0] {
                0 => Err(TaskError::fatal("the disk is gone")),
                1 => Err(TaskError::coded(ErrorCode(9), "out of stock")),
                2 => panic!("out of luck"),
                3 => std::future::pending().await,
                _ => {
                    let error = Err::<Bytes, _>(TaskError::fatal("torn"));
                    Ok(Response::stream(futures_util::stream::iter([error])))
                }
            },
        )
        .register(
            TaskCode(REJECT),
            "reject",
            reading(|_, _| Box::pin(async { Err("rejected".into()) })),
        )
        .build()
}

/// The lines that one client causes which sends these bytes and leaves.
async fn lines_of(bytes: &[u8]) -> Vec<String> {
    let (notes, _guard) = listen();
    let mut client = WireClient::connect(&server());
    client.send(bytes).await;
    settle().await;
    client.finish().await;
    notes.take()
}

const OPENED: &str = "DEBUG connection opened: client=client->server @connection";

#[tokio::test(start_paused = true)]
async fn an_expected_end_is_said_quietly_and_names_the_client() {
    let lines = lines_of(&request(ECHO, 1, b"x")).await;
    let ended = "DEBUG connection ended: client=client->server reason=client closed @connection";
    assert_eq!(lines, [OPENED, ended]);
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_errors_are_warned_of_and_name_the_task() {
    let cases = [
        (
            request(REJECT, 7, b""),
            "reject",
            "task function error: task 7 (task code 3): rejected",
        ),
        (
            request(FAIL, 7, &[0]),
            "fail",
            "run function error: task 7 (task code 2): the disk is gone",
        ),
        (
            request(FAIL, 7, &[4]),
            "fail",
            "body error: task 7 (task code 2): torn",
        ),
    ];
    for (bytes, task, reason) in cases {
        let lines = lines_of(&bytes).await;
        let ended = format!(
            "WARN connection ended: client=client->server task={task} reason={reason} @connection"
        );
        assert_eq!(lines[..2], [OPENED, &ended]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_errors_are_warned_of_once() {
    let twice = [request(FAIL, 7, &[3]), request(ECHO, 7, b"")].concat();
    let cases = [
        (vec![ECHO], "reason=read timeout"),
        (
            twice,
            "task=echo reason=protocol error: duplicate task id 7 (task code 1) in the request at byte 8",
        ),
    ];
    for (bytes, reason) in cases {
        let (notes, _guard) = listen();
        let mut client = WireClient::connect(&server());
        client.send(&bytes).await;
        while client.answer().await.is_some() {}
        client.finish().await;
        let lines = notes.take();
        let warnings: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("WARN connection ended"))
            .collect();
        let ended = format!("WARN connection ended: client=client->server {reason} @connection");
        assert_eq!(warnings, [&ended]);
    }
}

/// Whoever reaches it again and again must not fill the log.
#[tokio::test(start_paused = true)]
async fn a_limit_is_warned_of_once_and_whispered_of_from_then_on() {
    let (notes, _guard) = listen();
    let server = Server::builder()
        .limits(limits(|limits| limits.in_flight_limit = 1))
        .task(TaskCode(ECHO), "pause", async |_, message: Bytes| {
            tokio::time::sleep(ms(10)).await;
            Ok(message)
        })
        .build();
    let mut client = WireClient::connect(&server);
    for id in 1..=3 {
        client.ask(ECHO, id, b"").await;
    }
    for id in 1..=3 {
        client.expect(ok(id, "")).await;
    }
    client.finish().await;
    let lines = notes.take();
    let levels = lines
        .iter()
        .filter(|line| line.contains("limit reached: client=client->server rule=L5"))
        .map(|line| line.split(' ').next().unwrap());
    assert_eq!(levels.collect::<Vec<_>>(), ["WARN", "DEBUG"]);
}

#[tokio::test(start_paused = true)]
async fn each_interrupted_task_is_named() {
    let lines = lines_of(&request(FAIL, 7, &[3])).await;
    let interrupted =
        "DEBUG task interrupted: client=client->server id=7 code=2 state=Running @connection";
    assert_eq!(lines.last().unwrap(), interrupted);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_that_says_whose_it_is() {
    let lines = lines_of(&request(FAIL, 7, &[2])).await;
    let panicked = "ERROR task panicked: client=client->server task=fail code=2 id=7 panic=out of luck @connection";
    assert_eq!(lines[1], panicked);
}

#[tokio::test(start_paused = true)]
async fn an_error_with_a_code_logs_what_clients_never_see() {
    let lines = lines_of(&request(FAIL, 7, &[1])).await;
    assert!(
        lines[1].starts_with(
            "DEBUG task failed: client=client->server task=fail code=2 id=7 error=out of stock"
        ),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_span_of_the_programs_own_takes_the_place_of_the_librarys() {
    let (notes, _guard) = listen();
    let server = server();
    let options = ConnectionOptions::default().span(tracing::info_span!("first"));
    let client = WireClient::connect_with(&server, 100, options);
    let handle = only_client(&server).await;
    handle.set_span(tracing::info_span!("second"));
    client.finish().await;
    let lines = notes.take();
    assert_eq!(
        lines[0],
        "DEBUG connection opened: client=client->server @first"
    );
    assert!(lines[1].ends_with(" @second"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tasks_span_lies_below_its_connections() {
    let (notes, _guard) = listen();
    let server = server();
    let logs = Registration::task(async |context: TaskContext, _| {
        tracing::info!(target: "asyncserver::test", parent: &context.span(), "here");
        Ok(())
    });
    server.register(TaskCode(9), "logs", logs).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(9, 1, b"").await;
    client.expect(ok(1, "")).await;
    assert!(
        notes
            .take()
            .contains(&"INFO here: @task @connection".to_owned())
    );
}

struct Broken;

impl Listener for Broken {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Endpoints)> {
        Err(io::Error::other("too many open files"))
    }
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_are_warned_of() {
    let (notes, _guard) = listen();
    let _serving = server().serve(Broken);
    tokio::time::sleep(ms(5)).await;
    let warned = "WARN accepting a connection failed: error=too many open files pause=10ms";
    assert_eq!(notes.take(), [warned]);
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_failed_task_names_its_client_task_and_id() {
    let (notes, _guard) = listen();
    let server = Server::builder()
        .task(TaskCode(1), "order", async |_, _| {
            Err::<(), _>(TaskError::coded(ErrorCode(9), "out of stock"))
        })
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(1, 77, b"").await;
    assert!(client.answer().await.is_some());
    let lines = notes.take();
    let line = lines
        .iter()
        .find(|line| line.contains("out of stock"))
        .unwrap();
    for part in ["client->server", "order", "77"] {
        assert!(line.contains(part), "{line} does not name {part}");
    }
}

/// Panics at every event of a task.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn wants_task_events(&self) -> bool {
        true
    }
    fn task_started(&self, _: &ClientHandle, _: ObservedTask) {
        panic!("an observer's own mistake")
    }
}

#[tokio::test(start_paused = true)]
async fn what_panics_in_an_observer_is_logged_once_per_connection() {
    let (notes, _guard) = listen();
    let server = Server::builder()
        .observer(Arc::new(Panics))
        .task(TaskCode(1), "echo", async |_, message| Ok(message))
        .build();
    let mut client = WireClient::connect(&server);
    for _ in 0..3 {
        client.ask(1, 1, b"").await;
        client.expect(ok(1, "")).await;
    }
    let lines = notes.take();
    let errors = lines.iter().filter(|line| line.contains("ERROR"));
    let panics = errors.filter(|line| line.contains("own mistake"));
    assert_eq!(panics.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_tasks_code_logs_is_in_its_span() {
    let (notes, _guard) = listen();
    let work = async |_, message: Bytes| {
        tracing::info!(target: "asyncserver_example", "at work");
        tokio::time::sleep(ms(1)).await;
        tracing::info!(target: "asyncserver_example", "still at work");
        Ok(message)
    };
    let server = Server::builder().task(TaskCode(1), "work", work).build();
    let mut client = WireClient::connect(&server);
    client.ask(1, 1, b"").await;
    client.expect(ok(1, "")).await;
    let lines = notes.take();
    for said in ["at work", "still at work"] {
        let line = format!("INFO {said}: @task @connection");
        assert!(lines.contains(&line), "{lines:#?}");
    }
}

/// Notes the names of spans that have ended.
struct Ends(Notes);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ends {
    fn on_close(&self, id: tracing::span::Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("it is still there");
        self.0.note(span.name().to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn a_tasks_span_ends_with_the_task() {
    let notes = Notes::default();
    let ends = tracing_subscriber::registry().with(Ends(notes.clone()));
    let _guard = tracing::subscriber::set_default(ends);
    let mut client = WireClient::connect(&server());
    client.ask(ECHO, 1, b"").await;
    client.expect(ok(1, "")).await;
    assert_eq!(notes.take(), ["task"]);
}

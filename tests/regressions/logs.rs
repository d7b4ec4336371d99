//! What logs say, and how often.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use crate::wire_client::*;
use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

struct Lines(Notes);

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("asyncserver") {
            let mut line = Line(format!("{} ", event.metadata().level()));
            event.record(&mut line);
            self.0.note(line.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_failed_task_names_its_client_task_and_id() {
    let notes = Notes::default();
    let lines = tracing_subscriber::registry().with(Lines(notes.clone()));
    let _guard = tracing::subscriber::set_default(lines);
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
    let notes = Notes::default();
    let lines = tracing_subscriber::registry().with(Lines(notes.clone()));
    let _guard = tracing::subscriber::set_default(lines);
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

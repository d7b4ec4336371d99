//! Limits that observers were not told of, and ends that nobody was.

use std::sync::Arc;

use crate::wire_client::*;
use asyncserver::runtime::memory;
use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use bytes::Bytes;
use tokio::time::sleep;

#[derive(Debug)]
struct Witness {
    notes: Notes,
    wants: bool,
}

impl Observer for Witness {
    fn wants_task_events(&self) -> bool {
        self.wants
    }
    fn task_started(&self, _: &ClientHandle, _: ObservedTask) {
        self.notes.note("started");
    }
    fn task_cancelled(&self, _: &ClientHandle, _: ObservedTask, _: CancelCause) {
        self.notes.note("cancelled");
    }
    fn task_finished(&self, _: &ClientHandle, _: ObservedTask, _: TaskEnding) {
        self.notes.note("finished");
    }
    fn limit_reached(&self, _: &ClientHandle, rule: &'static str) {
        self.notes.note(rule);
    }
    fn connection_closed(&self, _: &ClientHandle, _: &ConnectionReport) {
        self.notes.note("closed");
    }
}

fn watched(wants: bool, set: impl FnOnce(&mut Limits, &mut Timeouts)) -> (Server, Notes) {
    let notes = Notes::default();
    let (mut limits, mut timeouts) = (Limits::default(), Timeouts::default());
    set(&mut limits, &mut timeouts);
    let sleeps = Registration::task(async |_, message: Bytes| {
        sleep(ms(message.len() as u64)).await;
        Ok(message)
    });
    let returns_early = reading(|_, _| Box::pin(async { Ok(Task::run(async |_| Ok(()))) }));
    let observer = Witness {
        notes: notes.clone(),
        wants,
    };
    let server = Server::builder()
        .limits(limits)
        .timeouts(timeouts)
        .observer(Arc::new(observer))
        .register(TaskCode(1), "sleeps", sleeps)
        .register(TaskCode(2), "returns early", returns_early)
        .build();
    (server, notes)
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_task_function_returned_before_its_messages_end_is_told_as_started() {
    let (server, notes) = watched(true, |_, _| ());
    let mut client = WireClient::connect(&server);
    let bytes = request(2, 1, b"abc");
    client.send(&bytes[..7]).await;
    settle().await;
    client.send(&bytes[7..]).await;
    client.expect(ok(1, "")).await;
    assert_eq!(notes.take(), ["started", "finished"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_future_is_dropped_is_told_as_closed() {
    let (server, notes) = watched(false, |_, _| ());
    let client = WireClient::connect(&server);
    settle().await;
    client.connection.abort();
    settle().await;
    assert_eq!(server.client_count(), 0);
    assert_eq!(notes.take(), ["closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_reports_a_connection_whose_future_is_dropped_meanwhile() {
    let (server, _) = watched(false, |_, _| ());
    let (listener, _connector) = memory::listener("server", 1000);
    let serving = server.serve(listener);
    let mut client = WireClient::connect(&server);
    client.ask(1, 1, &[0; 10_000]).await;
    settle().await;
    let drain = serving.shutdown(ms(1000));
    client.connection.abort();
    assert_eq!(drain.await.counts().interrupted, 1);
}

/// Every limit of section 7 that a connection can reach, by what reaches it.
#[tokio::test(start_paused = true)]
async fn limits_of_time_and_of_unsent_and_held_bytes_are_told_too() {
    type Set = fn(&mut Limits, &mut Timeouts);
    let cases: [(&str, Set, &[&[u8]]); 5] = [
        ("L1", |_, timeouts| timeouts.wait = ms(100), &[]),
        ("L2", |_, timeouts| timeouts.read = ms(100), &[&[1, 0, 0]]),
        ("L3", |_, timeouts| timeouts.write = ms(100), &[&[0; 200]]),
        (
            "L7",
            |limits, _| limits.unsent_limit_bytes = 50,
            &[&[0; 200]],
        ),
        (
            "L16",
            |limits, _| limits.held_limit_bytes = 50,
            &[&[0; 200], &[0; 200]],
        ),
    ];
    let mut untold = Vec::new();
    for (rule, set, sends) in cases {
        let (server, notes) = watched(true, set);
        let mut client = WireClient::connect_with(&server, 100, ConnectionOptions::default());
        for (id, bytes) in sends.iter().enumerate() {
            if bytes.len() == 3 {
                client.send(bytes).await;
            } else {
                let sent = client.ask(1, id as u32, bytes);
                let _ = tokio::time::timeout(ms(300), sent).await;
            }
        }
        sleep(ms(1000)).await;
        if !notes.take().iter().any(|note| note == rule) {
            untold.push(rule);
        }
    }
    assert!(untold.is_empty(), "{untold:?} are not told");
}

//! Panics in a task's code, wherever they come (PROTOCOL T9).

mod wire_client;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// The code of the registration that a test is about.
const TESTED: u8 = 2;
const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Local, Execution::Spawn];
// `Local` is missing where functions wait: see `found_local.rs`.
const WAITING: [Execution; 2] = [Execution::Auto, Execution::Spawn];

fn server(tested: Registration) -> Server {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(TESTED), "tested", tested)
        .build()
}

fn panicked(id: u32) -> Answer {
    Answer::Error(id, ErrorCode::PANICKED)
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor panics");
    }
}

/// Its answer is PANICKED, and the connection goes on; twice, for what panicked
/// leaves nothing behind.
async fn expect_panicked(tested: Registration) {
    let server = server(tested);
    let mut client = WireClient::connect(&server);
    for id in [1, 2] {
        client.ask(TESTED, id, &[b'x'; 300]).await;
        client.expect(panicked(id)).await;
    }
    client.ask(ECHO, 1, b"goes on").await;
    client.expect(ok(1, "goes on")).await;
    assert_eq!(server.task_count(), 0);
    let report = client.finish().await;
    assert_eq!((report.counts.errors, report.counts.ok), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_function_panics() {
    expect_panicked(reading(|_, _| panic!("when it is called"))).await;
    expect_panicked(reading(|_, _| {
        Box::pin(async { panic!("when it is polled") })
    }))
    .await;
    expect_panicked(reading(|_, message| {
        Box::pin(async move {
            message.chunk().await;
            sleep(ms(10)).await;
            panic!("when it has read")
        })
    }))
    .await;
    let dropped = reading(|_, _| {
        let bomb = Bomb;
        Box::pin(async move {
            let _bomb = bomb;
            Ok(Task::nothing())
        })
    });
    expect_panicked(dropped).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_function_that_panics_before_its_message_has_ended_is_answered_at_the_end() {
    let panics = reading(|_, _| Box::pin(async { panic!("early") }));
    let mut client = WireClient::connect(&server(panics));
    let bytes = request(TESTED, 1, b"message");
    client.send(&bytes[..8]).await;
    client.expect_silence(ms(1000)).await;
    client.send(&bytes[8..]).await;
    client.expect(panicked(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_function_panics_when_it_is_made() {
    fn made(_: TaskContext, _: Bytes) -> std::future::Ready<Result<(), TaskError>> {
        panic!("when it is made")
    }
    for execution in EXECUTIONS {
        expect_panicked(Registration::task(made).execution(execution)).await;
        let streamed = reading(|_, _| {
            Box::pin(async { Ok(Task::run(|context| made(context, Bytes::new()))) })
        });
        expect_panicked(streamed.execution(execution)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_function_panics_at_its_first_and_at_a_later_poll() {
    for execution in WAITING {
        for wait in [0, 10] {
            let panics = Registration::task(move |_, _| async move {
                if wait > 0 {
                    sleep(ms(wait)).await;
                }
                // A payload whose own destructor panics.
                std::panic::panic_any(Bomb);
                #[expect(unreachable_code, reason = "the result's type")]
                Ok(())
            });
            expect_panicked(panics.execution(execution)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_functions_destructor_panics_before_the_answer() {
    for execution in WAITING {
        let drops = Registration::task(|_, _| {
            let bomb = Bomb;
            async move {
                let _bomb = &bomb;
                sleep(ms(10)).await;
                let done: Result<_, TaskError> = Ok("done");
                done
            }
        });
        expect_panicked(drops.execution(execution)).await;
    }
}

#[tokio::test]
async fn a_blocking_function_panics() {
    expect_panicked(Registration::blocking(|_, _| -> Result<(), _> {
        panic!("on a thread")
    }))
    .await;
}

/// A response of so many bytes, whose body then goes on as `end`.
fn body(
    bytes: usize,
    end: impl Stream<Item = Result<Bytes, TaskError>> + Send + 'static,
) -> Response {
    Response::stream(stream::iter([Ok(Bytes::from(vec![7; bytes]))]).chain(end))
}

fn ending_badly(bytes: usize) -> [Registration; 2] {
    let polled = Registration::task(move |_, _| async move {
        Ok(body(
            bytes,
            stream::poll_fn(|_| panic!("when it is polled")),
        ))
    });
    let dropped = Registration::task(move |_, _| async move {
        let bomb = Bomb;
        let end = stream::poll_fn(move |_| {
            let _ = &bomb;
            std::task::Poll::Ready(None)
        });
        Ok(body(bytes, end))
    });
    [polled, dropped]
}

#[tokio::test(start_paused = true)]
async fn a_body_panics_before_its_response_has_begun() {
    for tested in ending_badly(1000) {
        expect_panicked(tested).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_once_its_response_has_begun_ends_the_connection() {
    for tested in ending_badly(70_000) {
        let mut client =
            WireClient::connect_with(&server(tested), 1 << 20, ConnectionOptions::default());
        client.ask(TESTED, 1, b"").await;
        let rest = client.rest().await;
        assert!(rest.len() > 65_536);
        let report = client.finish().await;
        assert!(
            matches!(report.reason, EndReason::Body { .. }),
            "{report:?}"
        );
        assert_eq!(report.interrupted[0].state, TaskState::Responding);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_under_drop_a_panic_is_only_logged() {
    for execution in EXECUTIONS {
        let bomb = Registration::task(|_, _| {
            let bomb = Bomb;
            async move {
                let _bomb = &bomb;
                sleep(ms(1000)).await;
                let done: Result<_, TaskError> = Ok(());
                done
            }
        });
        let mut client = WireClient::connect(&server(bomb.execution(execution)));
        client.ask(TESTED, 1, b"").await;
        settle().await;
        client.ask(251, 1, b"").await;
        client.expect(Answer::Error(1, ErrorCode::CANCELLED)).await;
        client.ask(ECHO, 2, b"goes on").await;
        client.expect(ok(2, "goes on")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_end_of_a_connection_drops_may_panic() {
    for execution in EXECUTIONS {
        let bomb = Registration::task(|_, message: Bytes| {
            let bomb = Bomb;
            async move {
                let bomb = bomb;
                if message.is_empty() {
                    sleep(ms(1000)).await;
                }
                let end = stream::poll_fn(move |_| {
                    let _ = &bomb;
                    std::task::Poll::Pending
                });
                Ok(body(10, end))
            }
        });
        let server = server(bomb.execution(execution));
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"").await;
        client.ask(TESTED, 2, b"a body").await;
        settle().await;
        let report = client.finish().await;
        assert_eq!(report.interrupted.len(), 2);
        settle().await;
        assert_eq!(server.task_count(), 0);
    }
}

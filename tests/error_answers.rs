//! PROTOCOL N9: what stands in for the library's own errors.

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use wire_client::*;

/// Sleeps for a second.
const SLEEP: u8 = 2;
const PANIC: u8 = 5;
/// Returns the library's own code as the application's.
const OWN_254: u8 = 6;

fn server(answers: &[(ErrorCode, ErrorAnswer)]) -> Server {
    let mut builder = Server::builder()
        .register(
            TaskCode(SLEEP),
            "sleep",
            Registration::task(async |_, _| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            })
            .run_limit(ms(700)),
        )
        .task(
            TaskCode(PANIC),
            "panic",
            async |_, _| -> Result<(), TaskError> { panic!("it was asked to panic") },
        )
        .task(TaskCode(OWN_254), "own", async |_, _| {
            Err::<(), _>(TaskError::code_only(ErrorCode::PANICKED))
        });
    let mut limits = Limits::default();
    limits.task_limit = 1;
    builder = builder.limits(limits);
    for (error, answer) in answers {
        builder = builder.answer_for(*error, *answer);
    }
    builder.build()
}

/// Makes the server answer with each of the library's errors.
async fn provoke(client: &mut WireClient, error: ErrorCode) {
    match error {
        ErrorCode::CANCELLED => {
            client.ask(SLEEP, 1, b"").await;
            client.ask(251, 1, b"").await;
        }
        ErrorCode::PANICKED => client.ask(PANIC, 1, b"").await,
        ErrorCode::DEADLINE => client.ask(SLEEP, 1, b"").await,
        ErrorCode::UNAVAILABLE => {
            client.ask(SLEEP, 9, b"").await;
            client.ask(SLEEP, 1, b"").await;
        }
        ErrorCode::UNKNOWN_TASK => client.ask(99, 1, b"").await,
        _ => client.ask(252, 1, b"").await,
    }
}

const ALL: [ErrorCode; 6] = [
    ErrorCode::CANCELLED,
    ErrorCode::PANICKED,
    ErrorCode::DEADLINE,
    ErrorCode::UNAVAILABLE,
    ErrorCode::UNKNOWN_TASK,
    ErrorCode::MALFORMED,
];

#[tokio::test(start_paused = true)]
async fn each_of_the_librarys_errors_can_be_sent_as_another_code() {
    for error in ALL {
        let server = server(&[(error, ErrorAnswer::Code(ErrorCode(42)))]);
        let mut client = WireClient::connect(&server);
        provoke(&mut client, error).await;
        client.expect(Answer::Error(1, ErrorCode(42))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_the_librarys_errors_can_close_the_connection_instead() {
    for error in ALL {
        let server = server(&[(error, ErrorAnswer::CloseConnection)]);
        let mut client = WireClient::connect(&server);
        provoke(&mut client, error).await;
        let report = client.end().await;
        let EndReason::Unanswered { id, error: of, .. } = report.reason else {
            panic!("{report:?}")
        };
        assert_eq!((id.0, of), (1, error));
        assert!(report.interrupted.iter().any(|task| task.id.0 == 1));
        assert_eq!(server.task_count(), 0, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_returns_a_librarys_code_itself_sends_it_as_it_is() {
    let server = server(&[(ErrorCode::PANICKED, ErrorAnswer::CloseConnection)]);
    let mut client = WireClient::connect(&server);
    client.ask(OWN_254, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode::PANICKED)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_sent_as_another_code_is_still_counted_as_one() {
    let server = server(&[(ErrorCode::CANCELLED, ErrorAnswer::Code(ErrorCode(42)))]);
    let mut client = WireClient::connect(&server);
    provoke(&mut client, ErrorCode::CANCELLED).await;
    client.expect(Answer::Error(1, ErrorCode(42))).await;
    server.disconnect(ms(10));
    let report = client.end().await;
    assert_eq!((report.counts.cancelled, report.counts.errors), (1, 0));
}

#[test]
#[should_panic(expected = "belongs to the application")]
fn only_the_librarys_errors_can_be_answered_otherwise() {
    let _ = Server::builder().answer_for(ErrorCode(249), ErrorAnswer::CloseConnection);
}

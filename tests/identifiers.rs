//! Which ids are live (PROTOCOL N7, T11).

mod wire_client;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};

use wire_client::*;

fn server() -> Server {
    with_limit(1024)
}

fn with_limit(in_flight: usize) -> Server {
    let mut limits = Limits::default();
    limits.in_flight_limit = in_flight;
    with_echo_and_sleep(Server::builder().limits(limits)).build()
}

#[tokio::test(start_paused = true)]
async fn an_id_can_be_used_again_once_its_response_has_come() {
    let mut client = WireClient::connect(&server());
    for code in [ECHO, SLEEP, 250, 99, SLEEP, ECHO] {
        client.ask(code, 7, b"").await;
        assert!(client.answer().await.is_some());
    }
    assert_eq!(client.finish().await.reason, EndReason::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn an_id_can_be_used_again_by_a_client_that_does_not_wait_for_what_is_answered_at_once() {
    let mut client = WireClient::connect(&server());
    // KeepAlive and unknown codes are answered where they are looked at.
    let requests = [250, 99, 252, 250].map(|code| request(code, 7, b""));
    client.send(&requests.concat()).await;
    client.expect(ok(7, "")).await;
    client
        .expect(Answer::Error(7, ErrorCode::UNKNOWN_TASK))
        .await;
    client.expect(Answer::Error(7, ErrorCode::MALFORMED)).await;
    client.expect(ok(7, "")).await;
}

#[tokio::test(start_paused = true)]
async fn a_live_id_is_a_connection_error_for_every_code_but_cancel() {
    for code in [ECHO, SLEEP, 250, 252, 99, 253] {
        let server = server();
        let mut client = WireClient::connect(&server);
        client.ask(SLEEP, 7, &[0; 100]).await;
        client.ask(251, 8, b"").await;
        settle().await;
        client.ask(code, 7, b"second").await;
        let report = client.end().await;
        let duplicate = ProtocolError::DuplicateTaskId {
            id: id(7),
            code: TaskCode(code),
            offset: 5 + 102 + 6,
        };
        assert_eq!(report.reason, duplicate.into());
        assert_eq!(report.counts.accepted, 2);
        assert_eq!(report.interrupted.len(), 1);
        assert_eq!(report.interrupted[0].code, TaskCode(SLEEP));
        assert_eq!(report.interrupted[0].state, TaskState::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_judged_at_its_header_and_before_any_pause() {
    let server = with_limit(1);
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 7, &[0; 100]).await;
    settle().await;
    client.send(&request(SLEEP, 7, b"never read")[..5]).await;
    let report = client.end().await;
    assert!(report.lasted < ms(50), "it waited for a place");
    assert!(
        matches!(report.reason, EndReason::Protocol(_)),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_id_that_waits_for_a_place_is_not_live() {
    let server = with_limit(1);
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    let handle = only_client(&server).await;
    assert_eq!(handle.tasks(), [id(1)]);
    handle.cancel(id(2));
    client.expect(ok(1, "slept")).await;
    settle().await;
    assert_eq!(handle.tasks(), [id(2)]);
    client.expect(ok(2, "slept")).await;
}

#[tokio::test(start_paused = true)]
async fn every_id_is_an_id() {
    let mut client = WireClient::connect(&server());
    for task in [0, 1, u32::MAX, u32::MAX - 1, 1 << 31] {
        client.ask(ECHO, task, b"x").await;
        client.expect(ok(task, "x")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn live_ids_of_two_clients_have_nothing_to_do_with_each_other() {
    let server = server();
    let (mut one, mut other) = (WireClient::connect(&server), WireClient::connect(&server));
    one.ask(SLEEP, 7, &[0; 100]).await;
    other.ask(SLEEP, 7, &[0; 50]).await;
    settle().await;
    other.ask(251, 7, b"").await;
    other.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
    one.expect(ok(7, "slept")).await;
}

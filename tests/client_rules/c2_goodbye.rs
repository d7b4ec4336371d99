//! Goodbye: no further request on that connection; what the server did not
//! take is not started, the rest waits for its responses.

use asyncserver::client::{CallError, ConnectionLoss, NotStarted, PendingTask, Started};
use asyncserver::wire::{ByteOrder, Negotiated};
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;

use super::scripted::*;

const CALLS: [&str; 3] = ["one", "two", "three"];

/// Three calls on one connection, and their ids.
async fn three_calls(
    client: &asyncserver::client::Client,
    peer: &mut Peer,
) -> Vec<(PendingTask, u32)> {
    let mut calls = Vec::new();
    for message in CALLS {
        calls.push(submitted(client, peer, message).await);
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_answered_and_the_rest_goes_elsewhere() {
    for taken in 0..=CALLS.len() {
        let (mut server, client) = scripted();
        let client = client.build();
        let ping = client.submit(ECHO, "ping");
        let mut former = server.negotiated().await;
        former.echo().await;
        answered(ping).await;
        let mut calls = three_calls(&client, &mut former).await;
        // Negotiate and the ping count, too.
        former.goodbye(2 + taken as u32).await;
        let elsewhere = calls.split_off(taken);
        if !elsewhere.is_empty() {
            let mut next = server.negotiated().await;
            for ((call, _), message) in elsewhere.into_iter().zip(&CALLS[taken..]) {
                assert_eq!(next.echo().await.message, message);
                assert_eq!(answered(call).await, message);
            }
        }
        for (call, id) in calls {
            former.ok(id, "late, but well").await;
            assert_eq!(answered(call).await, "late, but well");
        }
        former.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_retries_what_was_not_taken_is_told_so() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("first").await;
    let (second, _) = submitted(&client, &mut peer, "second").await;
    peer.goodbye(2).await;
    let error = failed(second, Started::No).await;
    let reason = NotStarted::Goodbye { accepted: 2 };
    assert_eq!(error, CallError::NotStarted { reason });
    peer.ok(id, "well").await;
    assert_eq!(answered(first).await, "well");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_place_go_elsewhere_in_their_order() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut calls: Vec<_> = CALLS.map(|message| client.submit(ECHO, message)).into();
    let mut former = server
        .told(Negotiated {
            max_in_flight: 1,
            ..TOLD
        })
        .await;
    let id = former.expect_echo("one").await;
    former.goodbye(2).await;
    let mut next = server.negotiated().await;
    for message in &CALLS[1..] {
        next.expect_echo(message).await;
    }
    former.ok(id, "one").await;
    assert_eq!(answered(calls.remove(0)).await, "one");
    former.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_half_sent_ends_there_and_is_sent_again() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let taken = client.submit(ECHO, "taken");
    let mut former = server.negotiated().await;
    let id = former.expect_echo("taken").await;
    let message = vec![7; 100_000];
    let half_sent = client.submit(ECHO, message.clone());
    former.stream.read_exact(&mut [0; 1000]).await.unwrap();
    former.goodbye(2).await;
    let mut next = server.negotiated().await;
    next.expect_echo(&message).await;
    former.ok(id, "taken").await;
    answered(taken).await;
    // The bytes that the transport had taken by then, and none behind them.
    let mut rest = Vec::new();
    former.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 512, "{} bytes more", rest.len());
    drop(half_sent);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_half_sent_is_not_started_and_not_sent_again() {
    let (mut server, client) = scripted();
    let client = client.build();
    let pieces = stream::iter([Ok("begun".into())]).chain(stream::pending());
    let call = client.request(ECHO).message_stream(pieces).submit();
    let mut peer = server.negotiated().await;
    peer.expect_silence(secs(1)).await;
    peer.goodbye(1).await;
    let reason = NotStarted::Goodbye { accepted: 1 };
    let error = failed(call, Started::No).await;
    assert_eq!(error, CallError::NotStarted { reason });
    peer.expect_cut().await;
    server.expect_nobody(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_stream_interrupts_what_was_taken() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "taken");
    let mut peer = server.negotiated().await;
    peer.expect_echo("taken").await;
    peer.goodbye(2).await;
    peer.expect_silence(secs(60)).await;
    drop(peer);
    let loss = ConnectionLoss::EndOfStream;
    let error = failed(call, Started::Perhaps).await;
    assert_eq!(error, CallError::Interrupted { loss });
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_right_before_the_end_of_stream_costs_one_retry() {
    let (mut server, client) = scripted();
    let client = client.retries(1).build();
    let call = client.submit(ECHO, "again");
    let mut peer = server.negotiated().await;
    peer.expect_echo("again").await;
    peer.goodbye(1).await;
    drop(peer);
    server.negotiated().await.echo().await;
    assert_eq!(answered(call).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_response_under_way_is_finished_behind_it() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut response = client.request(ECHO).message("long").stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("long").await;
    peer.goodbye(2).await;
    let bytes = peer.result(id, &[7; 1000]);
    for piece in bytes.chunks(300) {
        peer.send(piece).await;
        tokio::time::sleep(ms(10)).await;
    }
    let mut length = 0;
    while let Some(chunk) = response.chunk().await {
        length += chunk.unwrap().len();
    }
    assert_eq!(length, 1000);
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn cancels_and_keep_alives_count_among_what_was_taken() {
    let (mut server, client) = scripted();
    let client = client.build();
    let (mut peer, given_up) = {
        let call = client.submit(ECHO, "given up");
        let mut peer = server.negotiated().await;
        let id = peer.expect_echo("given up").await;
        drop(call);
        peer.expect_cancel(id).await;
        (peer, id)
    };
    let ping = client.clone();
    let ping = tokio::spawn(async move { ping.keep_alive().await });
    let id = peer.expect(250, "").await;
    peer.ok(id, "").await;
    ping.await.unwrap().unwrap();
    let (taken, id) = submitted(&client, &mut peer, "taken").await;
    // Negotiate, the call given up, its cancel, the keep-alive, and this one.
    peer.goodbye(5).await;
    peer.error(given_up, asyncserver::wire::ErrorCode::CANCELLED)
        .await;
    peer.ok(id, "well").await;
    assert_eq!(answered(taken).await, "well");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_cancelled_and_no_life_is_asked_for_behind_it() {
    let (mut server, client) = scripted();
    let client = client.build();
    let first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("first").await;
    let (second, _) = submitted(&client, &mut peer, "second").await;
    peer.goodbye(3).await;
    // It is said once: what a second one says is too late.
    peer.goodbye(1).await;
    tokio::task::yield_now().await;
    drop(second);
    for _ in 0..4 {
        peer.processing(id).await;
        peer.expect_silence(secs(200)).await;
    }
    peer.ok(id, "well").await;
    assert_eq!(answered(first).await, "well");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_only_wait_for_responses_are_bounded() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut former = Vec::new();
    for _ in 0..16 {
        let call = client.submit(ECHO, "never answered");
        let mut peer = server.negotiated().await;
        let id = peer.expect_echo("never answered").await;
        peer.goodbye(2).await;
        former.push((call, peer, id));
    }
    let waiting = client.submit(ECHO, "waiting");
    server.expect_nobody(secs(60)).await;
    let (call, mut peer, id) = former.remove(7);
    peer.ok(id, "at last").await;
    assert_eq!(answered(call).await, "at last");
    server.negotiated().await.echo().await;
    assert_eq!(answered(waiting).await, "waiting");
}

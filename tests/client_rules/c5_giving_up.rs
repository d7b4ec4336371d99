//! Calls given up: E2, ids that stay live, messages that are not ended early.

use asyncserver::client::{
    CallError, Client, ConnectionLoss, Expired, NotStarted, PendingTask, Started,
};
use asyncserver::wire::{ByteOrder, ErrorCode};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::scripted::*;

/// A message whose pieces the test sends.
fn by_hand(client: &Client) -> (PendingTask, mpsc::UnboundedSender<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok(piece), receiver))
    });
    let request = client.request(ECHO).message_stream(pieces);
    (request.response_timeout(secs(30)).submit(), sender)
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_cancels_it_and_its_id_stays_live() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.request(ECHO).id(77).submit();
    let mut peer = server.negotiated().await;
    assert_eq!(peer.expect_echo("").await, 77);
    drop(call);
    peer.expect_cancel(77).await;
    let reuse = || client.request(ECHO).id(77).message("again").submit();
    let error = failed(reuse(), Started::No).await;
    assert_is!(
        error,
        CallError::NotStarted { reason: NotStarted::IdInUse { id } } if id.0 == 77
    );
    // The terminal response is discarded, whatever it is; then the id is free.
    peer.ok(77, "too late").await;
    peer.expect_silence(secs(1)).await;
    let again = reuse();
    assert_eq!(peer.echo().await.id, 77);
    assert_eq!(answered(again).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_sent_never_is() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "unsent");
    let mut cancelled = client.submit(ECHO, "cancelled");
    let kept = client.submit(ECHO, "kept");
    let mut peer = server.accept().await;
    let negotiate = peer.expect_negotiate().await;
    drop(call);
    cancelled.cancel();
    let error = failed(cancelled, Started::No).await;
    assert_is!(error, CallError::Cancelled { .. });
    peer.ok(negotiate, &peer.encoded(&TOLD)).await;
    assert_eq!(peer.echo().await.message, "kept");
    answered(kept).await;
    peer.expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_base_server_is_never_sent_a_cancel() {
    let (mut server, client) = scripted();
    let client = client.build();
    let dropped = client.submit(ECHO, "dropped");
    let mut peer = server.base().await;
    let id = peer.expect_echo("dropped").await;
    let (mut cancelled, cancelled_id) = submitted(&client, &mut peer, "cancelled").await;
    drop(dropped);
    cancelled.cancel();
    let error = failed(cancelled, Started::Perhaps).await;
    assert_is!(error, CallError::Cancelled { .. });
    peer.expect_silence(secs(100)).await;
    peer.ok(id, "discarded").await;
    peer.error(cancelled_id, ErrorCode(1)).await;
    let (call, id) = submitted(&client, &mut peer, "goes on").await;
    peer.ok(id, "well").await;
    assert_eq!(answered(call).await, "well");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_ends_with_what_the_server_makes_of_it() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut first = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("first").await;
    first.cancel();
    first.cancel();
    peer.expect_cancel(id).await;
    peer.error(id, ErrorCode::CANCELLED).await;
    let started = Started::Perhaps;
    let error = failed(first, started).await;
    assert_eq!(error, CallError::Cancelled { started });
    let (mut second, id) = submitted(&client, &mut peer, "second").await;
    second.cancel();
    peer.expect_cancel(id).await;
    peer.ok(id, "had been on its way").await;
    assert_eq!(answered(&mut second).await, "had been on its way");
    // Cancelling and dropping what has ended does nothing.
    second.cancel();
    drop(second);
    peer.expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_and_then_dropping_sends_one_cancel() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut call = client.submit(ECHO, "");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    call.cancel();
    peer.expect_cancel(id).await;
    drop(call);
    peer.expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_response_stream_that_is_dropped_is_cancelled() {
    let (mut server, client) = scripted();
    let client = client.build();
    let response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    drop(response);
    peer.expect_cancel(id).await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_message_half_sent_goes_on_and_may_run() {
    for ends in ["cancelled", "timed out"] {
        let (mut server, client) = scripted_with(256, ByteOrder::Big);
        let client = client.build();
        let message = vec![7; 100_000];
        let request = client.request(ECHO).message(message.clone());
        let mut call = request.response_timeout(secs(1)).submit();
        let mut peer = server.base().await;
        assert!(timeout(ms(500), &mut call).await.is_err());
        if ends == "cancelled" {
            call.cancel();
        }
        // It is told that the task may have run, for it may run yet.
        let error = failed(&mut call, Started::Perhaps).await;
        assert_is!(
            error,
            CallError::Cancelled { .. } | CallError::TimedOut { .. }
        );
        let id = peer.expect_echo(&message).await;
        peer.ok(id, "discarded").await;
        let (call, id) = submitted(&client, &mut peer, "goes on").await;
        peer.ok(id, ends).await;
        assert_eq!(answered(call).await, ends);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_given_up_is_sent_to_its_end_and_then_cancelled() {
    for drops in [true, false] {
        let (mut server, client) = scripted();
        let client = client.build();
        let (mut call, pieces) = by_hand(&client);
        pieces.send("one ".into()).unwrap();
        let mut peer = server.negotiated().await;
        peer.expect_silence(secs(1)).await;
        call.cancel();
        let kept = (!drops).then_some(call);
        peer.expect_silence(secs(1)).await;
        pieces.send("two".into()).unwrap();
        drop(pieces);
        let id = peer.expect_echo("one two").await;
        peer.expect_cancel(id).await;
        peer.error(id, ErrorCode::CANCELLED).await;
        if let Some(call) = kept {
            assert_is!(
                failed(call, Started::Perhaps).await,
                CallError::Cancelled { .. }
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_stops_is_not_ended_early() {
    for drops in [true, false] {
        let (mut server, client) = scripted();
        let client = client.build();
        let (call, pieces) = by_hand(&client);
        pieces.send("begun".into()).unwrap();
        let mut peer = server.negotiated().await;
        let other = client.submit(ECHO, "behind it");
        peer.expect_silence(secs(20)).await;
        // As long as it goes on it may be slow.
        pieces.send("going on".into()).unwrap();
        peer.expect_silence(secs(20)).await;
        if drops {
            drop(call);
        } else {
            let after = secs(30);
            let started = Started::No;
            let error = failed(call, started).await;
            assert_eq!(error, CallError::TimedOut { after, started });
        }
        peer.expect_cut().await;
        server.negotiated().await.echo().await;
        assert_eq!(answered(other).await, "behind it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_message_that_stops_is_interrupted() {
    let (mut server, client) = scripted();
    let client = client.build();
    let sent = client.submit(ECHO, "sent");
    let mut peer = server.negotiated().await;
    peer.expect_echo("sent").await;
    let (_call, pieces) = by_hand(&client);
    pieces.send("begun".into()).unwrap();
    assert_is!(
        failed(sent, Started::Perhaps).await,
        CallError::Interrupted {
            loss: ConnectionLoss::Expired(Expired::Message { .. })
        }
    );
}

#[tokio::test(start_paused = true)]
async fn ids_are_unique_among_the_live() {
    let (mut server, client) = scripted();
    let client = client.build();
    // Negotiate had 1: the caller's own choice is stepped over.
    let chosen = client.request(ECHO).id(2).submit();
    let mut peer = server.negotiated().await;
    let mut ids = vec![peer.expect_echo("").await];
    let mut calls = vec![chosen];
    for _ in 0..50 {
        calls.push(client.submit(ECHO, ""));
        ids.push(peer.expect_echo("").await);
    }
    drop(calls.split_off(25));
    for _ in 0..26 {
        assert_eq!(peer.request().await.code, 251);
    }
    for _ in 0..50 {
        calls.push(client.submit(ECHO, ""));
        ids.push(peer.expect_echo("").await);
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test(start_paused = true)]
async fn cancel_and_negotiate_are_no_calls() {
    let (mut server, client) = scripted();
    let client = client.build();
    for code in [251, 252] {
        assert_is!(
            failed(client.call(code, ""), Started::No).await,
            CallError::NotStarted { reason: NotStarted::ReservedCode { code: of } } if of.0 == code
        );
    }
    server.expect_nobody(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_meanwhile_is_not_cancelled() {
    let (mut server, client) = scripted();
    let client = client.build();
    let answered_call = client.submit(ECHO, "answered");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("answered").await;
    let (_call, pieces) = by_hand(&client);
    pieces.send("begun".into()).unwrap();
    peer.expect_silence(secs(1)).await;
    // Its cancel waits behind the message that has begun, and then has no purpose.
    drop(answered_call);
    peer.expect_silence(secs(1)).await;
    peer.ok(id, "in time").await;
    peer.expect_silence(secs(1)).await;
    drop(pieces);
    peer.expect_echo("begun").await;
    peer.expect_silence(secs(1)).await;
}

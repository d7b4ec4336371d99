//! Negotiate comes first and alone; a server that does not know it is spoken
//! to in the base protocol.

use asyncserver::client::{CallError, Negotiation, NotStarted, Started};
use asyncserver::wire::{ByteOrder, ErrorCode, Response};
use bytes::BytesMut;
use tokio::time::Instant;

use super::scripted::*;

const ORDERS: [ByteOrder; 2] = [ByteOrder::Big, ByteOrder::Little];

#[tokio::test(start_paused = true)]
async fn nothing_follows_negotiate_until_it_is_answered() {
    for order in ORDERS {
        let (mut server, client) = scripted_with(1 << 16, order);
        let client = client.build();
        let first = client.submit(ECHO, "first");
        let mut peer = server.accept().await;
        let id = peer.expect_negotiate().await;
        let second = client.submit(ECHO, "second");
        drop(client.submit(ECHO, "given up"));
        peer.expect_silence(secs(200)).await;
        // What follows the answer's layout is ignored.
        let mut answer = peer.encoded(&TOLD);
        answer.extend_from_slice(&[9; 300]);
        peer.ok(id, &answer).await;
        for (call, message) in [(first, "first"), (second, "second")] {
            assert_eq!(peer.echo().await.message, message);
            assert_eq!(answered(call).await, message);
        }
    }
}

/// An answer to the Negotiate that has this id.
type Answer = fn(&Peer, u32) -> BytesMut;

/// Answers to Negotiate after which the base protocol is spoken.
const BASE: [(&str, Answer); 5] = [
    ("unknown task", |peer, id| {
        peer.response(Response::Error(id.into(), ErrorCode::UNKNOWN_TASK))
    }),
    ("an application's own word for it", |peer, id| {
        peer.response(Response::Error(id.into(), ErrorCode(17)))
    }),
    ("an answer that is too short", |peer, id| {
        peer.result(id, &[1, 0, 0])
    }),
    ("an empty answer", |peer, id| peer.result(id, &[])),
    ("version 0", |peer, id| peer.result(id, &[0; 21])),
];

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_negotiate_is_spoken_to_in_the_base_protocol() {
    for order in ORDERS {
        for (name, answer) in BASE {
            let (mut server, client) = scripted_with(1 << 16, order);
            let client = client.build();
            let call = client.submit(ECHO, name);
            let mut peer = server.accept().await;
            let id = peer.expect_negotiate().await;
            peer.send(&answer(&peer, id)).await;
            peer.echo().await;
            assert_eq!(answered(call).await, name);
            drop(submitted(&client, &mut peer, "no cancel").await);
            peer.expect_silence(secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_on_negotiate_is_met_once_more_without_it() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let call = client.submit(ECHO, "base");
    server.accept().await.expect_negotiate().await;
    let began = Instant::now();
    // At once, and although nothing is ever sent a second time.
    let mut peer = server.accept().await;
    assert_eq!(peer.echo().await.message, "base");
    assert_eq!(answered(call).await, "base");
    near(began.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn one_reconnection_is_all_that_negotiate_is_worth() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let call = client.submit(ECHO, "refused");
    server.accept().await.expect_negotiate().await;
    drop(server.accept().await);
    assert_is!(
        failed(call, Started::Perhaps).await,
        CallError::Interrupted { .. }
    );
    server.expect_nobody(secs(10)).await;
    // The next connection asks again.
    let call = client.submit(ECHO, "next");
    server.negotiated().await.echo().await;
    assert_eq!(answered(call).await, "next");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_midway_through_its_answer_is_no_base_server() {
    let (mut server, client) = scripted();
    let client = client.retries(0).build();
    let call = client.submit(ECHO, "");
    let mut peer = server.accept().await;
    let id = peer.expect_negotiate().await;
    let answer = peer.result(id, &peer.encoded(&TOLD));
    peer.send(&answer[..10]).await;
    drop(peer);
    assert_is!(
        failed(call, Started::No).await,
        CallError::NotStarted {
            reason: NotStarted::NoConnection { .. }
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_set_to_the_base_protocol() {
    let (mut server, client) = scripted();
    let client = client.negotiation(Negotiation::Skip).build();
    let call = client.submit(ECHO, "first of all");
    let mut peer = server.accept().await;
    peer.echo().await;
    assert_eq!(answered(call).await, "first of all");
}

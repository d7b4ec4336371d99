//! The limits that the server told, and the client's own bounded queue.

use asyncserver::client::{CallError, NotStarted, Started, TooLongMessage};
use asyncserver::wire::Negotiated;
use futures_util::stream;
use tokio::time::timeout;

use super::scripted::*;

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_server_takes() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut calls: Vec<_> = (0..5).map(|_| client.submit(ECHO, "")).collect();
    let told = Negotiated {
        max_in_flight: 2,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    let first = peer.expect_echo("").await;
    let second = peer.expect_echo("").await;
    peer.expect_silence(secs(1)).await;
    // One that is given up holds its place until its response has come.
    drop(calls.remove(0));
    peer.expect_cancel(first).await;
    peer.expect_silence(secs(1)).await;
    peer.ok(second, "").await;
    let third = peer.expect_echo("").await;
    peer.expect_silence(secs(1)).await;
    peer.ok(first, "").await;
    peer.ok(third, "").await;
    peer.expect_echo("").await;
    peer.expect_echo("").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_none_is_sent_one_at_a_time() {
    let (mut server, client) = scripted();
    let client = client.build();
    let _calls: Vec<_> = (0..2).map(|_| client.submit(ECHO, "")).collect();
    let told = Negotiated {
        max_in_flight: 0,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    peer.expect_echo("").await;
    peer.expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_told_nothing_is_sent_1024() {
    let (mut server, client) = scripted();
    let client = client.queue_limit(2000).build();
    let _calls: Vec<_> = (0..1025).map(|_| client.submit(ECHO, "")).collect();
    let mut peer = server.base().await;
    let mut last = 0;
    for _ in 0..1024 {
        last = peer.expect_echo("").await;
    }
    peer.expect_silence(secs(1)).await;
    peer.ok(last, "").await;
    peer.expect_echo("").await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_fails_at_once_and_unsent() {
    let (mut server, client) = scripted();
    let client = client.build();
    let fits = client.submit(ECHO, vec![7; 1000]);
    let told = Negotiated {
        max_message_bytes: 1000,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    peer.echo().await;
    answered(fits).await;
    let error = failed(client.call(ECHO, vec![7; 1001]), Started::No).await;
    let expected = CallError::TooLong {
        message: TooLongMessage::Request,
        length_bytes: 1001,
        limit_bytes: 1000,
    };
    assert_eq!(error, expected);
    peer.expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_becomes_too_long_is_not_ended() {
    let (mut server, client) = scripted();
    let client = client.build();
    let pieces = stream::iter((0..11).map(|_| Ok(vec![7; 100].into())));
    let call = client.request(ECHO).message_stream(pieces).submit();
    let told = Negotiated {
        max_message_bytes: 1000,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    assert_is!(
        failed(call, Started::No).await,
        CallError::TooLong {
            message: TooLongMessage::Request,
            length_bytes: 1100,
            limit_bytes: 1000,
        }
    );
    assert_is!(peer.next().await, Next::End | Next::Cut);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_then_the_caller_waits() {
    let (mut server, client) = scripted();
    let client = client.queue_limit(2).build();
    let mut calls: Vec<_> = (0..6).map(|n| client.submit(ECHO, vec![n])).collect();
    let free = |client| format!("{client:?}").contains("free_queue_places: 0");
    assert!(free(&client));
    // Two are in the queue: the others are not with the client before they are polled.
    let told = Negotiated {
        max_in_flight: 1,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    for n in 0..2 {
        assert_eq!(peer.echo().await.message, [n].as_slice());
    }
    peer.expect_silence(secs(1)).await;
    for call in calls.drain(..2) {
        answered(call).await;
    }
    // Polled, they wait for a place as long as need be, and come in their turn.
    let polled: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    peer.expect_echo([2]).await;
    tokio::time::sleep(secs(1)).await;
    assert!(
        free(&client),
        "two more wait in the queue, and one for a place"
    );
    let mut last = client.submit(ECHO, "cancelled while it waits");
    assert!(timeout(secs(1), &mut last).await.is_err());
    last.cancel();
    assert_is!(failed(last, Started::No).await, CallError::Cancelled { .. });
    polled[0].abort();
    for n in 3..6 {
        let id = match peer.request().await {
            asked if asked.code == 251 => {
                peer.ok(asked.id, "").await;
                peer.expect_echo([n]).await
            }
            asked => asked.id,
        };
        peer.ok(id, [n]).await;
    }
    for (n, call) in (2..).zip(polled).skip(1) {
        assert_eq!(answered(async { call.await.unwrap() }).await, vec![n]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_the_calls_that_wait_are_not_started() {
    let client =
        asyncserver::client::Client::builder(asyncserver::runtime::Address::named("server"))
            .connector(|_| async {
                Err::<tokio::io::DuplexStream, _>(std::io::ErrorKind::ConnectionRefused.into())
            })
            .queue_limit(1)
            .retries(2)
            .build();
    let calls: Vec<_> = (0..3).map(|_| client.submit(ECHO, "")).collect();
    for call in calls {
        assert_is!(
            failed(call, Started::No).await,
            CallError::NotStarted {
                reason: NotStarted::NoConnection { .. }
            }
        );
    }
}

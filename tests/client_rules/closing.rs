//! The client's own end: `close`, and the last handle dropped.

use asyncserver::client::{CallError, Started};
use tokio::time::{Instant, sleep, timeout};

use super::scripted::*;

#[tokio::test(start_paused = true)]
async fn close_waits_for_what_is_pending_and_takes_nothing_more() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "pending");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("pending").await;
    let closing = tokio::spawn(client.close(secs(100)));
    let error = failed(client.call(ECHO, "late"), Started::No).await;
    assert_is!(error, CallError::Closed { .. });
    sleep(secs(50)).await;
    assert!(!closing.is_finished());
    peer.ok(id, "well").await;
    assert_eq!(answered(call).await, "well");
    closing.await.unwrap();
    peer.expect_end().await;
    let error = failed(client.call(ECHO, "later"), Started::No).await;
    assert_is!(error, CallError::Closed { .. });
    timeout(ms(1), client.close(secs(1)))
        .await
        .expect("it is closed");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_pending_is_closed() {
    let (mut server, client) = scripted();
    let client = client.build();
    let sent = client.submit(ECHO, "sent");
    let told = asyncserver::wire::Negotiated {
        max_in_flight: 1,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    peer.expect_echo("sent").await;
    let queued = client.submit(ECHO, "queued");
    let began = Instant::now();
    let closing = client.close(secs(100));
    // The nearer deadline counts, whichever comes last.
    let nearer = client.close(secs(10));
    let farther = client.close(secs(1000));
    assert_is!(
        failed(sent, Started::Perhaps).await,
        CallError::Closed { .. }
    );
    assert_is!(failed(queued, Started::No).await, CallError::Closed { .. });
    for closing in [closing, nearer, farther] {
        timeout(ms(1), closing).await.expect("it is closed");
    }
    near(began.elapsed(), secs(10));
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_client_that_is_still_connecting() {
    let (server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "never sent");
    let began = Instant::now();
    client.close(secs(5)).await;
    near(began.elapsed(), secs(5));
    assert_is!(failed(call, Started::No).await, CallError::Closed { .. });
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn close_with_nothing_pending_ends_at_once() {
    let (mut server, client) = scripted();
    let unused = scripted().1.build();
    timeout(ms(1), unused.close(secs(5)))
        .await
        .expect("it is closed");
    let client = client.build();
    let call = client.submit(ECHO, "");
    let mut peer = server.negotiated().await;
    peer.echo().await;
    answered(call).await;
    timeout(ms(1), client.close(secs(5)))
        .await
        .expect("it is closed");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn close_lets_a_cancel_be_said() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    drop(call);
    client.close(secs(5)).await;
    peer.expect_cancel(id).await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_a_place_are_told() {
    let (server, client) = scripted();
    let client = client.queue_limit(1).build();
    let _queued = client.submit(ECHO, "");
    let waiting = tokio::spawn(client.submit(ECHO, ""));
    sleep(secs(1)).await;
    assert!(!waiting.is_finished());
    let _closing = client.close(secs(100));
    let error = failed(async { waiting.await.unwrap() }, Started::No).await;
    assert_is!(error, CallError::Closed { .. });
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_the_last_handle() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "pending");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("pending").await;
    // A call's future is a handle, too.
    drop(client.clone());
    drop(client);
    peer.expect_silence(secs(1)).await;
    peer.ok(id, "well").await;
    assert_eq!(answered(call).await, "well");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_calls_pending_that_nobody_waits_for() {
    let (mut server, client) = scripted();
    let client = client.build();
    let response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    peer.expect_echo("").await;
    drop(client);
    drop(response);
    assert_is!(
        peer.next().await,
        Next::End | Next::Request(Asked { code: 251, .. })
    );
}

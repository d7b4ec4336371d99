//! Responses that nobody takes, and those that are too long.

use asyncserver::client::{CallError, ResponseStream, Started, TooLongMessage};
use tokio::time::{Instant, sleep, timeout};

use super::scripted::*;

const MIB: usize = 1 << 20;

/// Takes a response to its end; how much came, and how it ended.
async fn take(response: &mut ResponseStream) -> (usize, Option<CallError>) {
    let mut length = 0;
    while let Some(chunk) = response.chunk().await {
        match chunk {
            Ok(chunk) => {
                assert!(!chunk.is_empty());
                length += chunk.len();
            }
            Err(error) => return (length, Some(error)),
        }
    }
    (length, None)
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_taken_holds_up_the_others_for_two_seconds() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut response = client.request(ECHO).message("long").stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("long").await;
    let (other, other_id) = submitted(&client, &mut peer, "other").await;
    let began = Instant::now();
    let server = tokio::spawn(async move {
        peer.ok(id, vec![7; 3 * MIB]).await;
        peer.ok(other_id, "well").await;
        peer
    });
    assert_eq!(answered(other).await, "well");
    near(began.elapsed(), secs(2));
    // What had been buffered can still be taken; then comes the error.
    let (length, error) = take(&mut response).await;
    assert!((MIB..MIB + (128 << 10)).contains(&length), "{length}");
    let error = error.expect("it was not taken");
    assert_eq!(error.started(), Started::Perhaps);
    assert_is!(
        error,
        CallError::NotTaken { buffered_bytes, waited } if buffered_bytes >= MIB && waited >= secs(2)
    );
    assert_eq!(response.chunk().await, None);
    // It has run, so that there is nothing to cancel.
    server.await.unwrap().expect_silence(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_taken_late_but_in_time_is_whole() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    let (other, other_id) = submitted(&client, &mut peer, "other").await;
    tokio::spawn(async move {
        peer.ok(id, vec![7; 5 * MIB]).await;
        peer.ok(other_id, "well").await;
        std::future::pending::<()>().await;
        drop(peer);
    });
    let mut length = 0;
    for _ in 0..4 {
        sleep(ms(1900)).await;
        let most = length + MIB;
        while length < most {
            length += response.chunk().await.unwrap().unwrap().len();
        }
    }
    let (rest, error) = take(&mut response).await;
    assert_eq!((length + rest, error), (5 * MIB, None));
    assert_eq!(answered(other).await, "well");
}

#[tokio::test(start_paused = true)]
async fn dropping_it_lets_the_others_go_on_at_once() {
    let (mut server, client) = scripted();
    let client = client.build();
    let response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    let (other, other_id) = submitted(&client, &mut peer, "other").await;
    tokio::spawn(async move {
        peer.ok(id, vec![7; 3 * MIB]).await;
        peer.ok(other_id, "well").await;
        std::future::pending::<()>().await;
        drop(peer);
    });
    sleep(secs(1)).await;
    let began = Instant::now();
    drop(response);
    assert_eq!(answered(other).await, "well");
    near(began.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_blamed_for_silence_while_reading_has_stopped() {
    let (mut server, client) = scripted();
    let client = client.build();
    let mut response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    let call = |message: &'static str, timeout| {
        let request = client.request(ECHO).message(message);
        request.response_timeout(timeout).submit()
    };
    let mut shorter = call("shorter", ms(1000));
    peer.expect_echo("shorter").await;
    let mut longer = call("longer", ms(1500));
    let longer_id = peer.expect_echo("longer").await;
    let began = Instant::now();
    tokio::spawn(async move {
        peer.ok(id, vec![7; 3 * MIB]).await;
        sleep(ms(1300)).await;
        peer.ok(longer_id, "well").await;
        std::future::pending::<()>().await;
        drop(peer);
    });
    // What may have come for them is behind what is not read.
    assert!(timeout(ms(1900), &mut shorter).await.is_err());
    assert!(timeout(ms(0), &mut longer).await.is_err());
    take(&mut response).await;
    assert_is!(
        failed(shorter, Started::Perhaps).await,
        CallError::TimedOut { .. }
    );
    near(began.elapsed(), ms(2900));
    assert_eq!(answered(longer).await, "well");
    near(began.elapsed(), ms(3200));
}

#[tokio::test(start_paused = true)]
async fn a_whole_response_over_the_limit_is_too_long_and_the_others_go_on() {
    let (mut server, client) = scripted();
    let client = client.response_limit_bytes(1000).build();
    let fits = client.submit(ECHO, "fits");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("fits").await;
    peer.ok(id, [7; 1000]).await;
    assert_eq!(answered(fits).await.len(), 1000);
    let long = client.request(ECHO).id(9).message("long").submit();
    peer.expect_echo("long").await;
    let (other, other_id) = submitted(&client, &mut peer, "other").await;
    let response = peer.result(9, &[7; 5000]);
    peer.send(&response[..1500]).await;
    let error = failed(long, Started::Perhaps).await;
    assert_is!(
        error,
        CallError::TooLong {
            message: TooLongMessage::Response,
            limit_bytes: 1000,
            length_bytes: 1001..,
        }
    );
    // Its id is live until its response has ended.
    let again = client.request(ECHO).id(9).call();
    assert_is!(
        failed(again, Started::No).await,
        CallError::NotStarted { .. }
    );
    peer.send(&response[1500..]).await;
    peer.ok(other_id, "well").await;
    assert_eq!(answered(other).await, "well");
    let again = client.request(ECHO).id(9).message("again").submit();
    peer.echo().await;
    assert_eq!(answered(again).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_response_has_no_limit() {
    let (mut server, client) = scripted();
    let client = client.response_limit_bytes(1000).build();
    let mut response = client.request(ECHO).stream();
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("").await;
    let server = tokio::spawn(async move {
        peer.ok(id, vec![7; 4 * MIB]).await;
        peer
    });
    assert_eq!(take(&mut response).await, (4 * MIB, None));
    drop(server);
}

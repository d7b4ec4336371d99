//! The client's clocks: keep-alive, response, write, unused.

use asyncserver::client::{
    CallError, Client, ClientTimeouts, ConnectionLoss, Expired, NotStarted, Started,
};
use asyncserver::wire::{ByteOrder, ErrorCode, Negotiated};
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use super::scripted::*;

fn timeouts(set: impl FnOnce(&mut ClientTimeouts)) -> ClientTimeouts {
    let mut timeouts = ClientTimeouts::default();
    set(&mut timeouts);
    timeouts
}

/// A call that is pending, so that the connection is in use.
async fn pending(
    server: &mut ScriptedServer,
    client: &Client,
    told: Negotiated,
) -> (asyncserver::client::PendingTask, Peer, u32) {
    let call = client
        .request(ECHO)
        .message("pending")
        .response_timeout(secs(24 * 3600))
        .submit();
    let mut peer = server.told(told).await;
    let id = peer.expect_echo("pending").await;
    (call, peer, id)
}

#[tokio::test(start_paused = true)]
async fn life_is_asked_for_after_three_minutes_without_traffic() {
    for (idle_limit_s, expected) in [
        (1800, secs(180)),
        (u32::MAX, secs(180)),
        // Before half of the server's own limit has passed.
        (60, secs(30)),
        (1, ms(500)),
    ] {
        let (mut server, client) = scripted();
        let client = client.build();
        let told = Negotiated {
            idle_limit_s,
            ..TOLD
        };
        let (_call, mut peer, id) = pending(&mut server, &client, told).await;
        for _ in 0..3 {
            let began = Instant::now();
            let ping = peer.expect(250, "").await;
            near(began.elapsed(), expected);
            peer.ok(ping, "").await;
        }
        // Traffic puts it off.
        sleep(expected / 2).await;
        peer.processing(id).await;
        let began = Instant::now();
        peer.expect(250, "").await;
        near(began.elapsed(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn life_that_is_not_shown_loses_the_connection() {
    let (mut server, client) = scripted();
    let client = client.build();
    let (call, mut peer, _) = pending(&mut server, &client, TOLD).await;
    peer.expect(250, "").await;
    let began = Instant::now();
    let error = failed(call, Started::Perhaps).await;
    near(began.elapsed(), secs(300));
    let after = secs(300);
    let loss = ConnectionLoss::Expired(Expired::KeepAlive { after });
    assert_eq!(error, CallError::Interrupted { loss });
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn life_that_a_caller_asked_for_loses_it_too() {
    let (mut server, client) = scripted();
    let client = client.build();
    let (call, mut peer, _) = pending(&mut server, &client, TOLD).await;
    let ping = client.request(250).response_timeout(secs(10)).submit();
    peer.expect(250, "").await;
    let error = failed(ping, Started::Perhaps).await;
    assert_is!(error, CallError::TimedOut { .. });
    let after = secs(10);
    let loss = ConnectionLoss::Expired(Expired::KeepAlive { after });
    let error = failed(call, Started::Perhaps).await;
    assert_eq!(error, CallError::Interrupted { loss });
}

#[tokio::test(start_paused = true)]
async fn five_minutes_without_a_sign_fail_one_call_alone() {
    for negotiates in [true, false] {
        let (mut server, client) = scripted();
        let client = client.build();
        let silent = client.submit(ECHO, "silent");
        let mut peer = match negotiates {
            true => server.negotiated().await,
            false => server.base().await,
        };
        let began = Instant::now();
        let silent_id = peer.expect_echo("silent").await;
        let (other, other_id) = submitted(&client, &mut peer, "other").await;
        let peers = tokio::spawn(async move {
            // Keep-alive is answered; a sign of life for the other one, where it is known.
            let ping = peer.expect(250, "").await;
            peer.ok(ping, "").await;
            if negotiates {
                peer.processing(other_id).await;
                peer.expect_cancel(silent_id).await;
                peer.error(silent_id, ErrorCode::CANCELLED).await;
            } else {
                sleep(secs(60)).await;
                let start = &peer.result(other_id, b"well")[..7];
                peer.send(start).await;
                peer.expect_silence(secs(120)).await;
                // Late: it is discarded.
                peer.send(&peer.result(other_id, b"well")[7..]).await;
                peer.ok(silent_id, "late").await;
                return peer;
            }
            peer.ok(other_id, "well").await;
            peer
        });
        let error = failed(silent, Started::Perhaps).await;
        near(began.elapsed(), secs(300));
        let (after, started) = (secs(300), Started::Perhaps);
        assert_eq!(error, CallError::TimedOut { after, started });
        assert_eq!(answered(other).await, "well");
        let mut peer = peers.await.unwrap();
        let (_again, _) = submitted(&client, &mut peer, "the connection goes on").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_starts_the_response_time_afresh() {
    let (mut server, client) = scripted();
    let client = client.timeouts(timeouts(|t| t.response = secs(10))).build();
    let call = client.submit(ECHO, "long");
    let mut peer = server.negotiated().await;
    let id = peer.expect_echo("long").await;
    for _ in 0..10 {
        sleep(secs(9)).await;
        peer.processing(id).await;
    }
    // So does each part of the response.
    for part in peer.result(id, b"done").chunks(5) {
        sleep(secs(9)).await;
        peer.send(part).await;
    }
    assert_eq!(answered(call).await, "done");
}

#[tokio::test(start_paused = true)]
async fn a_call_may_have_a_response_time_of_its_own() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.request(ECHO).response_timeout(secs(2)).submit();
    let mut peer = server.negotiated().await;
    let began = Instant::now();
    let id = peer.expect_echo("").await;
    assert_is!(
        failed(call, Started::Perhaps).await,
        CallError::TimedOut { .. }
    );
    near(began.elapsed(), secs(2));
    peer.expect_cancel(id).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_written_for_five_seconds_loses_the_connection() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.retries(0).build();
    let (_first, mut peer, id) = pending(&mut server, &client, TOLD).await;
    // The clock stands while there is nothing to write.
    sleep(secs(60)).await;
    let call = client.submit(ECHO, vec![7; 10_000]);
    // As long as something comes in it does not run out.
    for _ in 0..10 {
        sleep(secs(4)).await;
        peer.processing(id).await;
    }
    let began = Instant::now();
    let error = failed(call, Started::No).await;
    near(began.elapsed(), secs(5));
    assert_is!(
        error,
        CallError::NotStarted {
            reason: NotStarted::ConnectionLost {
                loss: ConnectionLoss::Expired(Expired::Write { after })
            }
        } if after == secs(5)
    );
}

#[tokio::test(start_paused = true)]
async fn the_write_clock_starts_when_there_is_something_to_write() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let (_first, peer, _) = pending(&mut server, &client, TOLD).await;
    // With its header, block and end just what the transport holds: all is taken.
    let _filling = client.submit(ECHO, vec![7; 249]);
    sleep(secs(60)).await;
    let began = Instant::now();
    let call = client.request(ECHO).idempotent().submit();
    server.negotiated().await;
    // And a short pause before connecting again.
    let lost_after = began.elapsed();
    assert!(
        (secs(5)..secs(5) + ms(60)).contains(&lost_after),
        "{lost_after:?}"
    );
    drop((call, peer));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_takes_something_is_no_reason() {
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let (_first, mut peer, _) = pending(&mut server, &client, TOLD).await;
    let call = client.submit(ECHO, vec![7; 2_000]);
    let mut taken = 0;
    while taken < 2_000 {
        sleep(secs(4)).await;
        taken += peer.stream.read(&mut [0; 100]).await.unwrap();
    }
    assert!(timeout(secs(4), call).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_is_closed_after_ten_minutes() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "first");
    let mut peer = server.negotiated().await;
    peer.echo().await;
    answered(call).await;
    let began = Instant::now();
    for _ in 0..3 {
        let ping = peer.expect(250, "").await;
        peer.ok(ping, "").await;
    }
    peer.expect_end().await;
    near(began.elapsed(), secs(600));
    server.expect_nobody(secs(3600)).await;
    let again = client.submit(ECHO, "again");
    server.negotiated().await.echo().await;
    assert_eq!(answered(again).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_call_pending_is_in_use() {
    let (mut server, client) = scripted();
    let client = client.build();
    let (call, mut peer, id) = pending(&mut server, &client, TOLD).await;
    for _ in 0..20 {
        let ping = peer.expect(250, "").await;
        peer.ok(ping, "").await;
    }
    peer.ok(id, "well").await;
    assert_eq!(answered(call).await, "well");
}

#[tokio::test(start_paused = true)]
async fn negotiate_that_is_not_answered_is_a_connection_lost() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client.submit(ECHO, "waiting");
    let mut peer = server.accept().await;
    peer.expect_negotiate().await;
    let began = Instant::now();
    let error = failed(call, Started::No).await;
    near(began.elapsed(), secs(300));
    assert_is!(
        error,
        CallError::TimedOut { .. } | CallError::NotStarted { .. }
    );
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_own_source_times_out_as_such() {
    let (mut server, client) = scripted();
    let client = client.build();
    let call = client
        .request(ECHO)
        .message_stream(stream::pending())
        .submit();
    let after = secs(300);
    let error = failed(call, Started::No).await;
    let started = Started::No;
    assert_eq!(error, CallError::TimedOut { after, started });
    server.expect_nobody(secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_place_times_out_where_it_waits() {
    let (mut server, client) = scripted();
    let client = client.build();
    let told = Negotiated {
        max_in_flight: 1,
        ..TOLD
    };
    let (_first, mut peer, _) = pending(&mut server, &client, told).await;
    let call = client.request(ECHO).response_timeout(secs(7)).submit();
    let began = Instant::now();
    assert_is!(failed(call, Started::No).await, CallError::TimedOut { .. });
    near(began.elapsed(), secs(7));
    peer.expect_silence(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn the_client_is_at_rest_while_requests_wait_for_the_transport() {
    // Paused time goes on only when every task is at rest.
    let (mut server, client) = scripted_with(256, ByteOrder::Big);
    let client = client.build();
    let _large = client.submit(ECHO, vec![7; 100_000]);
    let _behind = client.submit(ECHO, "behind");
    let mut peer = server.negotiated().await;
    let began = Instant::now();
    sleep(secs(4)).await;
    near(began.elapsed(), secs(4));
    assert_eq!(peer.request().await.message.len(), 100_000);
}

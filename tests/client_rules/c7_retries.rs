//! What is sent again, after which pauses, and where.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::client::{
    CallError, Client, ClientBuilder, ClientTimeouts, ConnectError, NotStarted, Pauses, Started,
};
use asyncserver::runtime::{Address, memory};
use asyncserver::wire::{ByteOrder, ErrorCode, Negotiated};
use futures_util::stream;
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::scripted::*;

const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(100),
    longest: Duration::from_millis(1000),
};

/// That each pause is at most twice the longest that the one before may be.
fn assert_growing(pauses: &[Duration]) {
    let mut longest = PAUSES.first;
    for pause in pauses {
        assert!(*pause <= longest + ms(2), "{pauses:?}");
        longest = (longest * 2).min(PAUSES.longest);
    }
    let half = pauses.len() / 2;
    let sum = |pauses: &[Duration]| pauses.iter().sum::<Duration>();
    assert!(sum(&pauses[half..]) > sum(&pauses[..half]), "{pauses:?}");
    assert!(
        pauses[half..].iter().any(|pause| *pause > PAUSES.first * 2),
        "{pauses:?}"
    );
}

/// The pauses before a call that a busy server turns down is sent again.
async fn pauses_of_a_busy_server(seed: u64) -> Vec<Duration> {
    let (mut server, client) = scripted();
    let client = client.pauses(PAUSES).seed(seed).retries(8).build();
    let call = client.submit(ECHO, "busy");
    let mut peer = server.negotiated().await;
    let mut pauses = Vec::new();
    for attempt in 0..=8 {
        let began = Instant::now();
        let id = peer.expect_echo("busy").await;
        if attempt > 0 {
            pauses.push(began.elapsed());
        }
        peer.error(id, ErrorCode::UNAVAILABLE).await;
    }
    let code = ErrorCode::UNAVAILABLE;
    let error = failed(call, Started::No).await;
    assert_eq!(error, CallError::Server { code });
    peer.expect_silence(secs(60)).await;
    pauses
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_after_growing_pauses_that_the_seed_decides() {
    let pauses = pauses_of_a_busy_server(1).await;
    assert_growing(&pauses);
    assert_eq!(pauses, pauses_of_a_busy_server(1).await);
    assert_ne!(pauses, pauses_of_a_busy_server(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_sent_again_ends_with_the_servers_word() {
    for (retries, whole) in [(0, true), (8, false)] {
        let (mut server, client) = scripted();
        let client = client.retries(retries).build();
        let request = client.request(ECHO);
        let request = match whole {
            true => request.message("begun"),
            false => request.message_stream(stream::iter([Ok("begun".into())])),
        };
        let call = request.submit();
        let mut peer = server.negotiated().await;
        let id = peer.expect_echo("begun").await;
        peer.error(id, ErrorCode::UNAVAILABLE).await;
        let code = ErrorCode::UNAVAILABLE;
        let error = failed(call, Started::No).await;
        assert_eq!(error, CallError::Server { code });
        peer.expect_silence(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_busy_server_sent_back_hold_their_places() {
    let (mut server, client) = scripted();
    let pauses = Pauses {
        first: secs(3600),
        longest: secs(3600),
    };
    let client = client.queue_limit(4).pauses(pauses).build();
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(client.submit(ECHO, "")))
        .collect();
    let told = Negotiated {
        max_in_flight: 4,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    let mut came = 0;
    while let Ok(asked) = tokio::time::timeout(ms(100), peer.request()).await {
        came += 1;
        peer.error(asked.id, ErrorCode::UNAVAILABLE).await;
    }
    assert!(
        came <= 8,
        "{came} calls wait, where 4 places are in the queue and 4 in flight"
    );
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn their_places_come_back() {
    let (mut server, client) = scripted();
    let client = client.queue_limit(2).pauses(PAUSES).build();
    let calls: Vec<_> = (0..20)
        .map(|n| tokio::spawn(client.submit(ECHO, vec![n])))
        .collect();
    let told = Negotiated {
        max_in_flight: 2,
        ..TOLD
    };
    let mut peer = server.told(told).await;
    let mut turned_down = 0;
    for _ in 0..40 {
        let asked = peer.request().await;
        if turned_down < 20 {
            turned_down += 1;
            peer.error(asked.id, ErrorCode::UNAVAILABLE).await;
        } else {
            peer.ok(asked.id, &asked.message).await;
        }
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(answered(async { call.await.unwrap() }).await, vec![n as u8]);
    }
    assert!(format!("{client:?}").contains("free_queue_places: 2"));
}

// ── connecting ───────────────────────────────────────────────────────────

type Attempts = Arc<Mutex<Vec<(String, Instant)>>>;

/// A client of two addresses, and the attempts that it makes; `far` decides
/// what becomes of each.
fn client_of_two(
    far: impl Fn(&str) -> Option<io::Result<DuplexStream>> + Send + Sync + 'static,
) -> (ClientBuilder, Attempts) {
    let attempts = Attempts::default();
    let seen = Arc::clone(&attempts);
    let client = Client::builder(Address::named("one"))
        .address(Address::named("two"))
        .pauses(PAUSES)
        .seed(1)
        .connector(move |address: Address| {
            let name = address.to_string();
            seen.lock().unwrap().push((name.clone(), Instant::now()));
            let stream = far(&name);
            async move {
                match stream {
                    Some(stream) => stream,
                    None => std::future::pending().await,
                }
            }
        });
    (client, attempts)
}

fn refused() -> Option<io::Result<DuplexStream>> {
    Some(Err(io::ErrorKind::ConnectionRefused.into()))
}

#[tokio::test(start_paused = true)]
async fn the_next_address_has_its_turn_at_once() {
    for hangs in [false, true] {
        let (listener, connector) = memory::listener("two", 1 << 16);
        let (client, attempts) = client_of_two(move |name| match name {
            "one" if hangs => None,
            "one" => refused(),
            _ => Some(connector.connect("client")),
        });
        let mut timeouts = ClientTimeouts::default();
        timeouts.connect = secs(3);
        let client = client.timeouts(timeouts).retries(0).build();
        let mut server = ScriptedServer::of(listener, ByteOrder::Big);
        let began = Instant::now();
        let call = client.submit(ECHO, "found");
        server.negotiated().await.echo().await;
        assert_eq!(answered(call).await, "found");
        near(began.elapsed(), if hangs { secs(3) } else { secs(0) });
        let names: Vec<_> = attempts
            .lock()
            .unwrap()
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(names, ["one", "two"]);
    }
}

/// When the addresses were tried, where none can be reached.
async fn attempts_at_nobody(seed: u64) -> Vec<(String, Duration)> {
    let (client, attempts) = client_of_two(|_| refused());
    let client = client.seed(seed).retries(8).build();
    let began = Instant::now();
    let error = failed(client.call(ECHO, ""), Started::No).await;
    assert_is!(
        error,
        CallError::NotStarted {
            reason: NotStarted::NoConnection {
                attempts: 18,
                last: ConnectError::Failed { .. }
            }
        }
    );
    let attempts = attempts.lock().unwrap();
    attempts
        .iter()
        .map(|(name, at)| (name.clone(), *at - began))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn after_all_addresses_a_growing_pause_is_made() {
    let attempts = attempts_at_nobody(1).await;
    assert_eq!(attempts.len(), 18);
    for pair in attempts.chunks(2) {
        assert_eq!((&*pair[0].0, &*pair[1].0), ("one", "two"));
        assert_eq!(pair[0].1, pair[1].1);
    }
    let rounds: Vec<_> = attempts.chunks(2).map(|pair| pair[0].1).collect();
    let pauses: Vec<_> = rounds.windows(2).map(|two| two[1] - two[0]).collect();
    assert_growing(&pauses);
    assert_eq!(attempts, attempts_at_nobody(1).await);
    assert_ne!(attempts, attempts_at_nobody(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_anything_is_met_after_growing_pauses() {
    let (mut server, client) = scripted();
    let client = client.pauses(PAUSES).retries(8).build();
    let call = client.request(ECHO).idempotent().submit();
    let mut pauses = Vec::new();
    for attempt in 0..=8 {
        let began = Instant::now();
        let mut peer = server.negotiated().await;
        peer.expect_echo("").await;
        if attempt > 0 {
            pauses.push(began.elapsed());
        }
    }
    assert_growing(&pauses);
    assert_is!(
        failed(call, Started::Perhaps).await,
        CallError::Interrupted { .. }
    );
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_server_that_goes_away_shorten_no_pause() {
    let (listener, connector) = memory::listener("one", 1 << 16);
    let connectors = Mutex::new(Some(connector));
    // The first server is reached once; after that nobody is.
    let (client, attempts) = client_of_two(move |_| match connectors.lock().unwrap().take() {
        Some(connector) => Some(connector.connect("client")),
        None => refused(),
    });
    let client = client.retries(8).build();
    let mut server = ScriptedServer::of(listener, ByteOrder::Big);
    let mut calls = vec![client.submit(ECHO, "")];
    let mut peer = server.negotiated().await;
    let mut ids = vec![peer.expect_echo("").await];
    for _ in 0..200 {
        calls.push(client.submit(ECHO, ""));
        ids.push(peer.expect_echo("").await);
    }
    peer.goodbye(202).await;
    let nowhere = tokio::spawn(client.submit(ECHO, "nowhere to go"));
    for (call, id) in calls.into_iter().zip(ids) {
        tokio::time::sleep(ms(20)).await;
        peer.ok(id, "").await;
        answered(call).await;
    }
    let error = failed(async { nowhere.await.unwrap() }, Started::No).await;
    assert_is!(error, CallError::NotStarted { .. });
    let attempts = attempts.lock().unwrap();
    let rounds: Vec<_> = attempts[1..].chunks(2).map(|pair| pair[0].1).collect();
    let pauses: Vec<_> = rounds.windows(2).map(|two| two[1] - two[0]).collect();
    assert_growing(&pauses);
}

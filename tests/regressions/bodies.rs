//! Bodies: whose clock runs while they are awaited, and what they may hold up
//! (PROTOCOL T7, L3, L7, L15).

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use crate::wire_client::*;
use crate::world::*;

/// A body of pieces of so many bytes, each after its own pause.
fn paused(pauses: &'static [Duration], bytes: usize) -> Registration {
    Registration::task(move |_, _: Bytes| async move {
        let pieces = stream::iter(pauses).then(move |pause| async move {
            sleep(*pause).await;
            Ok(Bytes::from(vec![b'x'; bytes]))
        });
        Ok(Response::stream(pieces))
    })
}

const SECS: fn(u64) -> Duration = Duration::from_secs;
/// Each within L15, and more than it in all.
static DRIPS: [Duration; 4] = [Duration::from_secs(20); 4];
/// More than L3, less than L15.
static STALLS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(20), Duration::ZERO];
static OFTEN: [Duration; 9] = [Duration::from_millis(100); 9];

/// Before it has begun it counted from the first wait.
#[tokio::test(start_paused = true)]
async fn l15_counts_from_the_last_bytes() {
    for begin_after in [1, 64 << 10] {
        let drips = paused(&DRIPS, 1).begin_after_bytes(begin_after);
        let server = server().register(TaskCode(ODD), "drips", drips).build();
        let mut client = WireClient::connect(&server);
        client.ask(ODD, 7, b"").await;
        client.expect(ok(7, "xxxx")).await;
    }
}

/// What waits behind the response made it run.
#[tokio::test(start_paused = true)]
async fn l3_stands_still_while_a_body_is_awaited() {
    let stalls = paused(&STALLS, 300).begin_after_bytes(1);
    let server = server().register(TaskCode(ODD), "stalls", stalls).build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(10)).await;
    client.ask(250, 8, b"").await;
    let answer = timeout(SECS(60), client.answer()).await;
    assert_eq!(answer.expect("an answer"), Some(ok(7, vec![b'x'; 900])));
    client.expect(ok(8, "")).await;
}

/// PROTOCOL L7: only the body's own end lets that go.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_body_does_not_stop_it() {
    let often = paused(&OFTEN, 300).begin_after_bytes(1);
    let server = server()
        .limits(limits(|limits| limits.unsent_limit_bytes = 12))
        .register(TaskCode(ODD), "often", often)
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(150)).await;
    client.ask(250, 8, b"").await;
    client.ask(250, 9, b"").await;
    // 2,700 bytes in 11 blocks, two more answers of 6, and all their headers.
    let mut bytes = vec![0; 2729];
    let began = Instant::now();
    let read = timeout(SECS(60), client.stream.read_exact(&mut bytes)).await;
    read.expect("it goes on").expect("all of it");
    assert!(began.elapsed() < ms(1000), "{:?}", began.elapsed());
    assert_eq!(bytes[2717..], [0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 9, 0]);
}

/// It was polled for ever in one turn.
#[test]
fn a_body_of_empty_pieces_leaves_the_others_their_turn() {
    within_real_time(async {
        let nothing = async |_, _: Bytes| {
            let pieces = stream::repeat_with(|| Ok(Bytes::new()));
            Ok(Response::stream(pieces))
        };
        let server = server().task(TaskCode(ODD), "nothing", nothing).build();
        let mut client = WireClient::connect(&server);
        client.ask(ODD, 7, b"").await;
        client.ask(ECHO, 8, b"goes on").await;
        client.expect(ok(8, "goes on")).await;
    });
}

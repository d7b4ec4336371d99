//! Long messages through the library's client, as an application streams them.

use std::time::{Duration, Instant};

use asyncserver::client::Client;
use futures_util::stream;

use super::Round;
use super::bodies::{Body, Direction};
use crate::long_message::pieces;
use crate::measure::{Latency, Probe};

/// The same as [`bodies::load`](super::bodies::load), end to end.
pub(crate) fn load(body: Body, time: Duration, probe: Probe<'_>) -> Round {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let round = runtime.block_on(async {
        let client = Client::new(probe.server().address());
        client.keep_alive().await.expect("it connects");
        let begun = probe.begin();
        let began = Instant::now();
        let (mut latency, mut requests, mut now) = (Latency::default(), 0, Duration::ZERO);
        while requests == 0 || now < time {
            let length = match body.direction {
                Direction::Upload => upload(&client, body).await,
                Direction::Download => download(&client, body).await,
            };
            assert_eq!(length, body.bytes, "the message is whole");
            let sent = std::mem::replace(&mut now, began.elapsed());
            latency.record((now - sent).as_nanos() as u64, 1);
            requests += 1;
        }
        Round {
            requests,
            cost: begun.end(),
            latency,
        }
    });
    runtime.shutdown_background();
    round
}

/// Returns the length that the server tells.
async fn upload(client: &Client, body: Body) -> usize {
    let request = client.request(body.code);
    let answer = request
        .message_stream(stream::iter(pieces(body.bytes).map(Ok)))
        .call()
        .await;
    let answer = answer.expect("the call succeeds");
    u64::from_be_bytes((*answer).try_into().expect("eight bytes")) as usize
}

/// Returns the length of what comes.
async fn download(client: &Client, body: Body) -> usize {
    let asked = (body.bytes as u64).to_be_bytes().to_vec();
    let mut response = client.request(body.code).message(asked).stream();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await {
        length += chunk.expect("the call succeeds").len();
    }
    length
}

//! Long messages through the library's client, as an application streams them.

use std::time::Duration;

use asyncserver::client::Client;
use futures_util::stream;

use super::Round;
use super::bodies::{Body, Direction, WholeBodies};
use crate::long_message::pieces;
use crate::measure::Probe;

/// The same as [`bodies::load`](super::bodies::load), end to end.
pub(crate) fn load(body: Body, time: Duration, probe: Probe<'_>) -> Round {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let round = runtime.block_on(async {
        let client = Client::new(probe.server().address());
        client.keep_alive().await.expect("it connects");
        let mut whole = WholeBodies::begin(body, time, probe);
        while whole.go_on() {
            let length = match body.direction {
                Direction::Upload => upload(&client, body).await,
                Direction::Download => download(&client, body).await,
            };
            whole.moved(length);
        }
        whole.end()
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

//! Found: the answer to Negotiate overflows on a wait of `Duration::MAX`.

mod wire_client;

use std::time::Duration;

use asyncserver::server::{Server, Timeouts};
use asyncserver::wire::Features;
use wire_client::*;

#[tokio::test(start_paused = true)]
async fn e3_no_wait_limit_is_told_as_the_largest_number() {
    let mut timeouts = Timeouts::default();
    timeouts.wait = Duration::MAX;
    let mut client = WireClient::connect(&Server::builder().timeouts(timeouts).build());
    let answer = client.negotiate(Features::NONE).await;
    assert_eq!(answer.idle_limit_s, u32::MAX);
}

//! Found: a connection that was closed still writes what it had fetched.

mod wire_client;

use asyncserver::server::{ConnectionOptions, Server};
use asyncserver::wire::TaskCode;
use wire_client::*;

#[tokio::test(start_paused = true)]
async fn d5_nothing_is_written_once_close_has_been_called() {
    let server = Server::builder()
        .task(TaskCode(1), "echo", async |_, message| Ok(message))
        .build();
    let mut client = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    client.ask(1, 1, &[7; 100]).await;
    let handle = only_client(&server).await;
    // The transport has taken 64 bytes; the others wait for the client.
    handle.close();
    let rest = client.rest().await;
    let report = client.finish().await;
    // The client has the whole response, which the report calls interrupted.
    assert_eq!((rest.len(), report.counts.interrupted), (64, 1));
}

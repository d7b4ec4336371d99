//! Found: a `Local` run function that waits is not polled again by itself.

mod wire_client;

use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use tokio::time::{Instant, sleep};
use wire_client::*;

#[tokio::test(start_paused = true)]
async fn a_local_function_that_waits_goes_on_by_itself() {
    let waits = Registration::task(async |_, message| {
        sleep(ms(10)).await;
        Ok(message)
    });
    let server = Server::builder()
        .register(TaskCode(1), "waits", waits.execution(Execution::Local))
        .build();
    let mut client = WireClient::connect(&server);
    let began = Instant::now();
    client.ask(1, 1, b"x").await;
    let answer = tokio::time::timeout(ms(1000), client.answer()).await;
    assert_eq!(answer, Ok(Some(ok(1, "x"))), "after {:?}", began.elapsed());
}

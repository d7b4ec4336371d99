//! Found: with a processing interval of zero a connection spins for ever.

mod wire_client;

use std::sync::mpsc;
use std::time::Duration;

use asyncserver::server::{Server, Timeouts};
use asyncserver::wire::Features;
use wire_client::*;

async fn task_with_interval_zero() {
    let mut timeouts = Timeouts::default();
    timeouts.processing_interval = Duration::ZERO;
    let server = with_echo_and_sleep(Server::builder().timeouts(timeouts)).build();
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::PROCESSING).await;
    client.ask(SLEEP, 1, &[0; 10]).await;
    while client.answer().await != Some(ok(1, "slept")) {}
}

// Real time: a loop that never ends cannot be waited for on its own thread.
#[test]
fn e5_an_interval_of_zero_does_not_hold_its_connection_up() {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(task_with_interval_zero());
        let _ = ended.send(());
    });
    assert_eq!(end.recv_timeout(Duration::from_secs(5)), Ok(()));
}

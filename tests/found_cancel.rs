//! Found: a function that was cancelled in the batch of its own request is
//! polled all the same.

mod wire_client;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use wire_client::*;

#[tokio::test(start_paused = true)]
async fn t10_a_function_that_is_cancelled_before_its_first_poll_is_dropped_instead() {
    let notes = Notes::default();
    let polled = notes.clone();
    let tested = Registration::task(move |_, _| {
        let polled = polled.clone();
        async move {
            polled.note("it does its work");
            Ok(())
        }
    });
    let server = Server::builder()
        .register(TaskCode(1), "tested", tested)
        .build();
    let mut client = WireClient::connect(&server);
    let both = [request(1, 1, b""), request(251, 1, b"")].concat();
    client.send(&both).await;
    client.expect(Answer::Error(1, ErrorCode::CANCELLED)).await;
    assert!(notes.take().is_empty());
}

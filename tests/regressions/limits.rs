//! Limits that all connections share, and the budget of a turn (PROTOCOL L7,
//! L13, L16).

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use tokio::time::timeout;

use crate::wire_client::*;
use crate::world::*;

/// A limit of none was reached before there was anything.
#[tokio::test(start_paused = true)]
async fn a_limit_of_no_bytes_still_lets_one_task_at_a_time_through() {
    let server = server()
        .limits(limits(|limits| {
            limits.server_held_limit_bytes = 0;
            limits.held_limit_bytes = 0;
            limits.server_unsent_limit_bytes = 0;
            limits.unsent_limit_bytes = 0;
        }))
        .build();
    let mut client = WireClient::connect(&server);
    for id in [7, 8] {
        client.ask(ECHO, id, b"x").await;
        let answer = timeout(ms(1000), client.answer()).await;
        assert_eq!(answer.expect("an answer"), Some(ok(id, "x")));
    }
}

/// Takes all of its message and does nothing with it.
struct Eats;

impl TaskFunction for Eats {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        while message.chunk().await.is_some() {}
        Ok(Task::nothing())
    }
}

/// PROTOCOL L13: 64 KiB a turn, and others have their turn soon.
#[tokio::test(start_paused = true)]
async fn a_client_that_always_has_more_leaves_the_others_their_turn() {
    let eats = Registration::task_function(Eats).message_limit_bytes(usize::MAX);
    let server = server().register(TaskCode(ODD), "eats", eats).build();
    let bytes_read = Arc::new(Mutex::new(0));
    let transport = Endless {
        bytes_read: Arc::clone(&bytes_read),
        header: request(ODD, 7, b"")[..5].to_vec().into(),
    };
    let connection = server.handle_connection(transport, ConnectionOptions::default());
    let mut connection = Box::pin(connection);
    let polled = connection
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let bytes_read = *bytes_read.lock().expect("no panic");
    assert!((1..=5 << 16).contains(&bytes_read), "{bytes_read}");
}

/// PROTOCOL L7 of the server: who met the limit while another left it slept on.
#[test]
fn two_connections_that_share_the_servers_l7_are_woken() {
    const ROUNDS: u32 = 8000;
    on_four_threads(async {
        let server = server()
            .limits(limits(|limits| limits.server_unsent_limit_bytes = 1))
            .build();
        let (mut one, mut other) = (WireClient::connect(&server), WireClient::connect(&server));
        for id in 0..ROUNDS {
            let asked = request(ECHO, id, b"x");
            let both = async {
                tokio::join!(one.send(&asked), other.send(&asked));
                tokio::join!(one.answer(), other.answer())
            };
            let answers = timeout(Duration::from_secs(4), both).await;
            let expected = (Some(ok(id, "x")), Some(ok(id, "x")));
            assert_eq!(answers.expect("a wake-up"), expected);
        }
    });
}

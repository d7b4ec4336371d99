//! When a connection that has nothing to do is polled once more, to give back the
//! memory that it has used.

mod wire_client;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asyncserver::server::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;
use wire_client::*;

const MS: Duration = Duration::from_millis(1);

/// The client's end of a connection whose polls are counted.
struct Counted {
    stream: DuplexStream,
    polls: Arc<AtomicUsize>,
}

impl Counted {
    fn connect() -> Self {
        let (stream, transport) = tokio::io::duplex(1 << 20);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let server = with_echo_and_sleep(Server::builder()).build();
        tokio::spawn(async move {
            let connection = server.handle_connection(transport, ConnectionOptions::default());
            let mut connection = pin!(connection);
            poll_fn(|cx| {
                count.fetch_add(1, Ordering::Relaxed);
                connection.as_mut().poll(cx)
            })
            .await
        });
        Self { stream, polls }
    }

    async fn echo(&mut self, message: &[u8]) {
        let request = request(ECHO, 1, message);
        let sent = self.stream.write_all(&request).await;
        sent.expect("the server reads");
        // An echo is as long as what it answers.
        let mut answer = vec![0; request.len()];
        let read = self.stream.read_exact(&mut answer).await;
        read.expect("the server answers");
    }

    /// How often it is polled in a time in which nothing comes.
    async fn polls_in(&self, time: Duration) -> usize {
        let before = self.polls.load(Ordering::Relaxed);
        sleep(time).await;
        self.polls.load(Ordering::Relaxed) - before
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_request_now_and_then_is_not_polled_between_them() {
    let mut connection = Counted::connect();
    for _ in 0..5 {
        connection.echo(b"message").await;
        assert_eq!(connection.polls_in(1000 * MS).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_busy_is_polled_again_once_it_has_been_quiet() {
    let mut connection = Counted::connect();
    for _ in 0..20 {
        connection.echo(b"message").await;
        sleep(10 * MS).await;
    }
    // The timer is not set anew for each request: it may come too early once.
    let polls = connection.polls_in(200 * MS).await;
    assert!((1..=2).contains(&polls), "{polls} polls");
    assert_eq!(connection.polls_in(1000 * MS).await, 0);
}

/// The memory of a message of 128 KiB or more is kept for the next one.
#[tokio::test(start_paused = true)]
async fn a_connection_with_a_long_message_now_and_then_keeps_its_memory_for_a_while() {
    let mut connection = Counted::connect();
    for _ in 0..3 {
        connection.echo(&[7; 200 << 10]).await;
        assert_eq!(connection.polls_in(95 * MS).await, 0);
        assert_eq!(connection.polls_in(10 * MS).await, 1);
        assert_eq!(connection.polls_in(1000 * MS).await, 0);
    }
}

//! Requests that come together go out together: in one write, and a caller's that is
//! alone without a wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use asyncserver::client::Client;
use asyncserver::runtime::{Address, memory};
use asyncserver::wire::ByteOrder;
use bytes::BytesMut;
use tokio_util::io::InspectWriter;

use super::scripted::*;

/// A client that counts the writes to its transports.
fn counting() -> (ScriptedServer, Client, Arc<AtomicUsize>) {
    let (listener, connector) = memory::listener("server", 1 << 16);
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    let client = Client::builder(Address::named("server"))
        .connector(move |_| {
            let (stream, count) = (connector.connect("client"), Arc::clone(&count));
            let count = move |_: &[u8]| {
                count.fetch_add(1, Ordering::Relaxed);
            };
            std::future::ready(stream.map(|stream| InspectWriter::new(stream, count)))
        })
        .executor(Arc::new(AtRestExecutor))
        .seed(1)
        .build();
    (ScriptedServer::of(listener, ByteOrder::Big), client, writes)
}

/// How a caller goes on once it has been answered.
#[derive(Clone, Copy)]
enum Caller {
    /// It calls again at once.
    Prompt,
    /// It lets all others who can go on do so first.
    Polite,
}

/// One call after the other.
async fn call_again_and_again(client: Client, caller: Caller, times: usize) {
    for _ in 0..times {
        answered(client.call(ECHO, "again")).await;
        if matches!(caller, Caller::Polite) {
            let mut has_waited = false;
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                match std::mem::replace(&mut has_waited, true) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
        }
    }
}

/// Takes so many requests, then answers them all in one write.
async fn answer_together(peer: &mut Peer, requests: usize) {
    let mut answers = BytesMut::new();
    for _ in 0..requests {
        let id = peer.expect_echo("again").await;
        answers.extend_from_slice(&peer.result(id, b"well"));
    }
    peer.send(&answers).await;
}

#[tokio::test(start_paused = true)]
async fn callers_that_were_answered_together_call_again_in_one_write() {
    const ROUNDS: usize = 20;
    let (mut server, client, writes) = counting();
    let callers = [Caller::Prompt, Caller::Polite];
    let callers =
        callers.map(|caller| tokio::spawn(call_again_and_again(client.clone(), caller, ROUNDS)));
    let mut peer = server.negotiated().await;
    answer_together(&mut peer, 2).await;
    for round in 1..ROUNDS {
        let before = writes.load(Ordering::Relaxed);
        answer_together(&mut peer, 2).await;
        let writes = writes.load(Ordering::Relaxed) - before;
        assert_eq!(writes, 1, "round {round}");
    }
    for caller in callers {
        caller.await.expect("its calls succeed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_comes_back_does_not_wait_for_one_that_does_not() {
    let (mut server, client, writes) = counting();
    let leaving = tokio::spawn(call_again_and_again(client.clone(), Caller::Prompt, 1));
    let staying = tokio::spawn(call_again_and_again(client.clone(), Caller::Prompt, 3));
    let mut peer = server.negotiated().await;
    answer_together(&mut peer, 2).await;
    leaving.await.expect("its call succeeds");
    for _ in 0..2 {
        answer_together(&mut peer, 1).await;
    }
    staying.await.expect("its calls succeed");
    // Negotiate, both callers together, and two times the one that stays.
    assert_eq!(writes.load(Ordering::Relaxed), 4);
}

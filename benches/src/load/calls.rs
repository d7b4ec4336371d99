//! Load as applications make it: a task for each request in flight, which
//! awaits its answer and sends the next. For contenders end to end.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Round, Shape};
use crate::handler::Handler;
use crate::measure::{Latency, Probe};

/// A client with one connection; clones share it.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    fn connect(address: SocketAddr) -> impl Future<Output = Self> + Send;

    /// # Panics
    /// When the call fails.
    fn call(&self, handler: Handler, message: Bytes) -> impl Future<Output = Bytes> + Send;

    /// Ends the connection, unless clones go on. Not all clients can await that.
    fn close(self) -> impl Future<Output = ()> + Send {
        async { drop(self) }
    }
}

/// Puts load on a server.
pub(crate) fn load<C: Caller>(shape: Shape, probe: Probe<'_>) -> Round {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let round = runtime.block_on(async {
        let message = Bytes::from(vec![7; shape.message_bytes]);
        let mut callers = Vec::new();
        for _ in 0..shape.connections {
            let caller = C::connect(probe.server().address()).await;
            // Some connect only when they are first used.
            caller.call(Handler::Ready, Bytes::new()).await;
            callers.push(caller);
        }
        let begun = probe.begin();
        let began = Instant::now();
        let slots = callers
            .iter()
            .flat_map(|caller| (0..shape.in_flight).map(move |_| caller));
        let slots: Vec<_> = slots
            .map(|caller| tokio::spawn(slot(caller.clone(), shape, message.clone(), began)))
            .collect();
        let mut nanos = Vec::new();
        for slot in slots {
            nanos.push(slot.await.expect("its calls succeed"));
        }
        let cost = begun.end();
        let mut latency = Latency::default();
        for &nanos in nanos.iter().flatten() {
            latency.record(nanos, 1);
        }
        Round {
            requests: nanos.iter().map(|nanos| nanos.len() as u64).sum(),
            cost,
            latency,
        }
    });
    runtime.shutdown_background();
    round
}

/// One call after the other; returns how long each took, in nanoseconds.
async fn slot<C: Caller>(caller: C, shape: Shape, message: Bytes, began: Instant) -> Vec<u64> {
    let mut nanos = Vec::new();
    let mut now = began;
    while now - began < shape.time {
        let answer = caller.call(shape.handler, message.clone()).await;
        assert_eq!(answer.len(), shape.message_bytes, "the answer is whole");
        let sent = std::mem::replace(&mut now, Instant::now());
        nanos.push((now - sent).as_nanos() as u64);
    }
    nanos
}

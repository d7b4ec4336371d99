//! Connections that are made for one call each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Round;
use super::calls::Caller;
use crate::handler::Handler;
use crate::measure::{Latency, Probe};

/// Connections at a time.
pub(crate) const AT_A_TIME: usize = 16;

/// A round ends after so many, for a local port is free again only a minute
/// after its connection has ended, and there are some 28,000.
pub(crate) const MOST: usize = 4_000;

/// Puts load on a server. A request of the round is a connection; its latency
/// goes from the connecting to the answer.
pub(super) fn load<C: Caller>(time: Duration, probe: Probe<'_>) -> Round {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let address = probe.server().address();
    let round = runtime.block_on(async {
        let begun = probe.begin();
        let began = Instant::now();
        let slots = (0..AT_A_TIME).map(|_| tokio::spawn(slot::<C>(address, time, began)));
        let slots: Vec<_> = slots.collect();
        let mut nanos = Vec::new();
        for slot in slots {
            nanos.extend(slot.await.expect("its calls succeed"));
        }
        let cost = begun.end();
        let mut latency = Latency::default();
        for &nanos in &nanos {
            latency.record(nanos, 1);
        }
        Round {
            requests: nanos.len() as u64,
            cost,
            latency,
        }
    });
    runtime.shutdown_background();
    round
}

/// One connection after the other; returns how long each took, in nanoseconds.
async fn slot<C: Caller>(address: SocketAddr, time: Duration, began: Instant) -> Vec<u64> {
    let message = Bytes::from_static(&[7; 16]);
    let mut nanos = Vec::new();
    while began.elapsed() < time && nanos.len() < MOST / AT_A_TIME {
        let connecting = Instant::now();
        let client = C::connect(address).await;
        let answer = client.call(Handler::Ready, message.clone()).await;
        assert_eq!(answer, message, "the answer is whole");
        nanos.push(connecting.elapsed().as_nanos() as u64);
        client.close().await;
    }
    nanos
}

//! What connections and calls take of a server's memory while nothing moves.

use std::time::Duration;

use bytes::Bytes;

use super::calls::Caller;
use crate::handler::Handler;
use crate::measure::process_bytes;
use crate::server::ServerProcess;

const MESSAGE: Bytes = Bytes::from_static(&[7; 16]);

/// Bytes for each idle connection: fresh, and after one call.
pub(super) fn idle_bytes<C: Caller>(server: &ServerProcess, connections: usize) -> [f64; 2] {
    with_runtime(async {
        // What the first one brings about is no connection's own.
        let first = C::connect(server.address()).await;
        first.call(Handler::Ready, MESSAGE).await;
        let before = settled(server).await;
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(C::connect(server.address()).await);
        }
        let fresh = settled(server).await;
        for client in &clients {
            client.call(Handler::Ready, MESSAGE).await;
        }
        let used = settled(server).await;
        [fresh, used].map(|bytes| bytes.saturating_sub(before) as f64 / connections as f64)
    })
}

/// Bytes for each call that waits, so many on each connection.
pub(super) fn waiting_bytes<C: Caller>(
    server: &ServerProcess,
    connections: usize,
    each: usize,
) -> f64 {
    with_runtime(async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let client = C::connect(server.address()).await;
            client.call(Handler::Ready, MESSAGE).await;
            clients.push(client);
        }
        let before = settled(server).await;
        for client in &clients {
            for _ in 0..each {
                let client = client.clone();
                // They end with the runtime.
                tokio::spawn(async move { client.call(Handler::Wait, MESSAGE).await });
            }
        }
        let after = settled(server).await;
        after.saturating_sub(before) as f64 / (connections * each) as f64
    })
}

fn with_runtime<T>(measuring: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let measured = runtime.block_on(measuring);
    runtime.shutdown_background();
    measured
}

/// The server's memory, once it no longer changes: it may still be accepting.
async fn settled(server: &ServerProcess) -> u64 {
    let mut bytes = process_bytes(server.id());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = std::mem::replace(&mut bytes, process_bytes(server.id()));
        if before == bytes {
            return bytes;
        }
    }
}

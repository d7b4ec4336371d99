//! Many connections with a request now and then, beside a few that saturate
//! the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::request::request;
use super::{Round, Shape, wire};
use crate::handler::Handler;
use crate::measure::{Latency, Probe};

/// What the quiet connections do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet {
    pub(crate) connections: u32,
    /// Between two requests of a connection.
    pub(crate) interval: Duration,
    pub(crate) requests_each: u32,
}

/// The quiet ones begin when the others have, and end before them.
const MARGIN: Duration = Duration::from_millis(200);

impl Quiet {
    const fn time(self) -> Duration {
        self.interval.saturating_mul(self.requests_each)
    }
}

/// Puts load on a server. The latency is that of the quiet requests, all else
/// that of the others.
pub(crate) fn load(quiet: Quiet, saturating: Shape, probe: Probe<'_>) -> Round {
    let address = probe.server().address();
    let saturating = Shape {
        time: quiet.time() + MARGIN * 2,
        ..saturating
    };
    std::thread::scope(|scope| {
        let latency = scope.spawn(move || ask(quiet, address));
        let round = wire::load(saturating, probe);
        Round {
            latency: latency.join().expect("its requests are answered"),
            ..round
        }
    })
}

fn ask(quiet: Quiet, address: SocketAddr) -> Latency {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let began = tokio::time::Instant::now() + MARGIN;
        let asking = (0..quiet.connections).map(|place| {
            // They are spread over the interval.
            let first = began + quiet.interval * place / quiet.connections;
            tokio::spawn(ask_on_one(quiet, address, first))
        });
        let asking: Vec<_> = asking.collect();
        let mut latency = Latency::default();
        for asking in asking {
            for nanos in asking.await.expect("its requests are answered") {
                latency.record(nanos, 1);
            }
        }
        latency
    })
}

/// Returns how long each request took, in nanoseconds.
async fn ask_on_one(quiet: Quiet, address: SocketAddr, first: tokio::time::Instant) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.set_nodelay(true).expect("an option");
    let frame = request(Handler::Ready, 0, 16);
    let mut answer = frame.clone();
    let mut nanos = Vec::new();
    for turn in 0..quiet.requests_each {
        tokio::time::sleep_until(first + quiet.interval * turn).await;
        let sent = Instant::now();
        stream.write_all(&frame).await.expect("the server is there");
        let got = stream.read_exact(&mut answer).await;
        got.expect("the server is there");
        nanos.push(sent.elapsed().as_nanos() as u64);
    }
    nanos
}

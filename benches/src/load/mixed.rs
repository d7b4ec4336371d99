//! A short and a long request in flight on one connection, all the time.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Round;
use super::request::{HEADER_BYTES, request};
use crate::handler::Handler;
use crate::measure::{Latency, Probe};

/// Payload bytes of the requests; the place is the id.
pub(crate) const MESSAGE_BYTES: [usize; 2] = [16, 1 << 20];

/// Puts load on a server. Requests and latency are those of the short ones.
pub(crate) fn load(time: Duration, probe: Probe<'_>) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(probe.server().address()).await;
        let stream = stream.expect("it accepts");
        stream.set_nodelay(true).expect("an option");
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::with_capacity(64 << 10, read);
        let frames = [0, 1].map(|id| request(Handler::Ready, id, MESSAGE_BYTES[id as usize]));
        let mut answers = frames.clone();
        let (send, mut to_send) = mpsc::unbounded_channel::<usize>();
        let begun = probe.begin();
        let writer = tokio::spawn(async move {
            while let Some(which) = to_send.recv().await {
                let written = write.write_all(&frames[which]).await;
                written.expect("the server is there");
            }
            write
        });
        let began = Instant::now();
        let (mut latency, mut requests, mut in_flight) = (Latency::default(), 0, 2);
        let mut short_sent = Duration::ZERO;
        for which in [1, 0] {
            send.send(which).expect("the writer goes on");
        }
        while in_flight > 0 {
            let mut header = [0; HEADER_BYTES];
            let got = read.read_exact(&mut header).await;
            got.expect("the server is there");
            assert_eq!(header[0], 0, "the answer is an error");
            let which = usize::from(header[HEADER_BYTES - 1]);
            let got = read.read_exact(&mut answers[which][HEADER_BYTES..]).await;
            got.expect("the server is there");
            let now = began.elapsed();
            if which == 0 {
                latency.record((now - short_sent).as_nanos() as u64, 1);
                requests += 1;
                short_sent = now;
            }
            if now < time {
                send.send(which).expect("the writer goes on");
            } else {
                in_flight -= 1;
            }
        }
        let cost = begun.end();
        drop(send);
        writer.await.expect("all is written");
        Round {
            requests,
            cost,
            latency,
        }
    })
}

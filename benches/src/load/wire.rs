//! A cheap client of our wire: it keeps a number of requests in flight on each
//! connection, and sends what answers have set free in one write. It measures
//! the server; an application's client is in [`calls`](super::calls).

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use asyncserver::wire::{ByteOrder, TaskId, encode_message, encode_request_header};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::{HEADER_BYTES, Round, Shape};
use crate::measure::{Latency, Probe};

/// Bytes that are put together for one write, and taken by one read.
const BATCH_BYTES: usize = 256 << 10;

/// Puts load on a server, over connections that end with it.
pub(crate) fn load(shape: Shape, probe: Probe<'_>) -> Round {
    Client::open(shape, probe.server().address()).load(probe)
}

/// Connections that can be used for many rounds of the same load.
pub(crate) struct Client {
    runtime: Runtime,
    connections: Vec<Connection>,
    shape: Shape,
}

impl Client {
    pub(crate) fn open(shape: Shape, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let connections = runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..shape.connections {
                connections.push(Connection::open(address, shape).await);
            }
            connections
        });
        Self {
            runtime,
            connections,
            shape,
        }
    }

    /// One round. All of its requests have been answered when it ends.
    pub(crate) fn load(&mut self, probe: Probe<'_>) -> Round {
        let (shape, connections) = (self.shape, std::mem::take(&mut self.connections));
        LocalSet::new().block_on(&self.runtime, async {
            let begun = probe.begin();
            let tally = Rc::new(RefCell::new(Tally::new()));
            let ends: Vec<_> = connections
                .into_iter()
                .map(|connection| connection.run(Rc::clone(&tally), shape))
                .map(tokio::task::spawn_local)
                .collect();
            for end in ends {
                let connection = end.await.expect("the connection goes on");
                self.connections.push(connection);
            }
            let cost = begun.end();
            let tally = Rc::into_inner(tally).expect("all have ended").into_inner();
            Round {
                requests: tally.requests,
                cost,
                latency: tally.latency,
            }
        })
    }
}

/// What all connections count together.
struct Tally {
    began: Instant,
    requests: u64,
    latency: Latency,
}

impl Tally {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: 0,
            latency: Latency::default(),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// One request, whole; its id is set before it is sent. The answer is as long.
    frame: Vec<u8>,
    /// Ids that are free.
    free: Vec<u32>,
    /// When the request of each id was sent, in nanoseconds since the beginning.
    sent_at: Vec<u64>,
    outgoing: Vec<u8>,
    /// How much of `outgoing` has been written.
    written: usize,
    incoming: Box<[u8]>,
    /// Bytes in `incoming`: the beginning of a header.
    kept: usize,
    /// The answer that is coming, if its header has been read.
    coming: Option<Coming>,
}

struct Coming {
    id: u32,
    missing: usize,
}

impl Connection {
    async fn open(address: SocketAddr, shape: Shape) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("an option");
        let mut frame = BytesMut::new();
        let code = shape.handler.code();
        encode_request_header(code, TaskId(0), ByteOrder::Big, &mut frame);
        encode_message(&vec![7; shape.message_bytes], &mut frame);
        let window = shape.in_flight * frame.len();
        Self {
            stream,
            incoming: vec![0; window.clamp(HEADER_BYTES, BATCH_BYTES)].into(),
            frame: frame.into(),
            free: (0..shape.in_flight as u32).rev().collect(),
            sent_at: vec![0; shape.in_flight],
            outgoing: Vec::with_capacity(window.min(2 * BATCH_BYTES)),
            written: 0,
            kept: 0,
            coming: None,
        }
    }

    async fn run(mut self, tally: Rc<RefCell<Tally>>, shape: Shape) -> Self {
        let mut now = tally.borrow().began.elapsed();
        while now < shape.time || self.free.len() < shape.in_flight {
            if now < shape.time {
                self.compose(now.as_nanos() as u64);
            }
            let read = poll_fn(|cx| self.poll_turn(cx)).await;
            let mut tally = tally.borrow_mut();
            now = tally.began.elapsed();
            self.take(read, now.as_nanos() as u64, &mut tally);
        }
        self
    }

    /// Puts requests together for the ids that are free, as far as one write goes.
    fn compose(&mut self, now: u64) {
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        }
        while self.outgoing.len() < BATCH_BYTES
            && let Some(id) = self.free.pop()
        {
            self.sent_at[id as usize] = now;
            self.frame[1..HEADER_BYTES].copy_from_slice(&id.to_be_bytes());
            self.outgoing.extend_from_slice(&self.frame);
        }
    }

    /// Writes what there is and reads what has come; ready with the bytes read,
    /// or with 0 once more can be put together.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let had = self.outgoing.len() - self.written;
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(written) => self.written += written.expect("the server is there"),
                Poll::Pending => break,
            }
        }
        let mut into = ReadBuf::new(&mut self.incoming[self.kept..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
            Poll::Ready(read) => {
                read.expect("the server is there");
                let read = into.filled().len();
                assert!(read > 0, "the server closed the connection");
                Poll::Ready(read)
            }
            Poll::Pending
                if had > 0 && self.written == self.outgoing.len() && !self.free.is_empty() =>
            {
                Poll::Ready(0)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes the answers that have come whole; they set their ids free.
    fn take(&mut self, read: usize, now: u64, tally: &mut Tally) {
        let end = self.kept + read;
        let (mut at, mut same) = (0, Equal::default());
        loop {
            let coming = match &mut self.coming {
                Some(coming) => coming,
                None if end - at < HEADER_BYTES => break,
                None => {
                    let header = &self.incoming[at..at + HEADER_BYTES];
                    assert_eq!(header[0], 0, "the answer is an error");
                    let id = header[1..].try_into().expect("four bytes");
                    at += HEADER_BYTES;
                    self.coming.insert(Coming {
                        id: u32::from_be_bytes(id),
                        missing: self.frame.len() - HEADER_BYTES,
                    })
                }
            };
            let taken = coming.missing.min(end - at);
            at += taken;
            coming.missing -= taken;
            if coming.missing > 0 {
                break;
            }
            let id = coming.id;
            self.coming = None;
            self.free.push(id);
            tally.requests += 1;
            same.count(self.sent_at[id as usize], now, &mut tally.latency);
        }
        same.record(now, &mut tally.latency);
        self.incoming.copy_within(at..end, 0);
        self.kept = end - at;
    }
}

/// Answers in a row whose requests were sent together: recorded at once, for
/// the client is to cost little.
#[derive(Default)]
struct Equal {
    sent_at: u64,
    requests: u64,
}

impl Equal {
    fn count(&mut self, sent_at: u64, now: u64, latency: &mut Latency) {
        if sent_at != self.sent_at {
            self.record(now, latency);
            *self = Self {
                sent_at,
                requests: 0,
            };
        }
        self.requests += 1;
    }

    fn record(&self, now: u64, latency: &mut Latency) {
        if self.requests > 0 {
            latency.record(now - self.sent_at, self.requests);
        }
    }
}

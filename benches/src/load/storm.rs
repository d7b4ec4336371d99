//! Requests of which every second one is cancelled right behind it, in the same
//! write. Each must get exactly one answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use asyncserver::wire::{
    ByteOrder, ErrorCode, Response, ResponseDecoder, ResponsePart, TaskCode, TaskId,
    encode_message, encode_request_header,
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::{Round, Shape};
use crate::measure::{Latency, Probe};

/// What a server makes of a Cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCancel {
    /// It ends the task that it names, and has no answer of its own.
    EndsTask,
    /// It is a request as any other to one that has no tasks.
    IsAnswered,
}

pub(crate) struct Storm {
    pub(crate) round: Round,
    /// Requests that were answered `CANCELLED`.
    pub(crate) cancelled: u64,
}

/// Puts load on a server.
pub(crate) fn load(shape: Shape, on_cancel: OnCancel, probe: Probe<'_>) -> Storm {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut connections = Vec::new();
        for _ in 0..shape.connections {
            let address = probe.server().address();
            connections.push(Connection::open(address, shape, on_cancel).await);
        }
        let begun = probe.begin();
        let tally = Rc::new(RefCell::new(Tally {
            began: Instant::now(),
            requests: 0,
            cancelled: 0,
            latency: Latency::default(),
        }));
        let ends: Vec<_> = connections
            .into_iter()
            .map(|connection| tokio::task::spawn_local(connection.run(Rc::clone(&tally), shape)))
            .collect();
        let mut connections = Vec::new();
        for end in ends {
            connections.push(end.await.expect("the connection goes on"));
        }
        let cost = begun.end();
        for connection in connections {
            connection.expect_nothing_more().await;
        }
        let tally = Rc::into_inner(tally).expect("all have ended").into_inner();
        Storm {
            round: Round {
                requests: tally.requests,
                cost,
                latency: tally.latency,
            },
            cancelled: tally.cancelled,
        }
    })
}

/// What all connections count together.
struct Tally {
    began: Instant,
    requests: u64,
    cancelled: u64,
    latency: Latency,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// In nanoseconds since the beginning.
    at: u64,
    is_cancelled: bool,
    /// Answers that are still to come; more than one only where a Cancel has its own.
    answers: u8,
}

struct Connection {
    stream: TcpStream,
    shape: Shape,
    on_cancel: OnCancel,
    message: BytesMut,
    free: Vec<u32>,
    /// By id; `None` for those that are free.
    sent: Vec<Option<Sent>>,
    sent_in_all: u64,
    decoder: ResponseDecoder,
    /// The id of the `OK` whose message has not ended.
    coming: Option<TaskId>,
}

impl Connection {
    async fn open(address: SocketAddr, shape: Shape, on_cancel: OnCancel) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("an option");
        let mut message = BytesMut::new();
        encode_message(&vec![7; shape.message_bytes], &mut message);
        Self {
            stream,
            shape,
            on_cancel,
            message,
            free: (0..shape.in_flight as u32).rev().collect(),
            sent: vec![None; shape.in_flight],
            sent_in_all: 0,
            decoder: ResponseDecoder::new(ByteOrder::Big),
            coming: None,
        }
    }

    async fn run(mut self, tally: Rc<RefCell<Tally>>, shape: Shape) -> Self {
        let (mut outgoing, mut incoming) = (BytesMut::new(), vec![0; 64 << 10]);
        let mut now = tally.borrow().began.elapsed();
        while now < shape.time || self.free.len() < shape.in_flight {
            if now < shape.time {
                self.compose(now.as_nanos() as u64, &mut outgoing);
                // All that is in flight fits into the sockets' buffers: this does not wait
                // for answers to be read.
                let written = self.stream.write_all(&outgoing).await;
                written.expect("the server is there");
                outgoing.clear();
            }
            let read = self.stream.read(&mut incoming).await;
            let read = read.expect("the server is there");
            assert!(read > 0, "the server closed the connection");
            let mut tally = tally.borrow_mut();
            now = tally.began.elapsed();
            self.take(&incoming[..read], now.as_nanos() as u64, &mut tally);
        }
        self
    }

    /// A request for each id that is free, and a Cancel behind every second one.
    fn compose(&mut self, now: u64, outgoing: &mut BytesMut) {
        while let Some(id) = self.free.pop() {
            let (is_cancelled, order) = (self.sent_in_all % 2 == 1, ByteOrder::Big);
            self.sent_in_all += 1;
            encode_request_header(self.shape.handler.code(), TaskId(id), order, outgoing);
            outgoing.extend_from_slice(&self.message);
            if is_cancelled {
                encode_request_header(TaskCode::CANCEL, TaskId(id), order, outgoing);
                encode_message(&[], outgoing);
            }
            let has_two = is_cancelled && self.on_cancel == OnCancel::IsAnswered;
            self.sent[id as usize] = Some(Sent {
                at: now,
                is_cancelled,
                answers: 1 + u8::from(has_two),
            });
        }
    }

    fn take(&mut self, bytes: &[u8], now: u64, tally: &mut Tally) {
        let mut at = 0;
        while let Some(part) = self.decoder.next(bytes, &mut at).expect("responses") {
            match part {
                ResponsePart::Response(Response::Ok(id)) => self.coming = Some(id),
                ResponsePart::Payload(_) => {}
                ResponsePart::End => {
                    let id = self.coming.take().expect("a message has a header");
                    self.answered(id, now, tally);
                }
                ResponsePart::Response(Response::Error(id, code)) => {
                    assert_eq!(code, ErrorCode::CANCELLED, "the answer is another error");
                    let sent = self.sent[id.0 as usize];
                    let is_cancelled = sent.is_some_and(|sent| sent.is_cancelled);
                    assert!(is_cancelled, "nobody cancelled this one");
                    tally.cancelled += 1;
                    self.answered(id, now, tally);
                }
                ResponsePart::Response(other) => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn answered(&mut self, id: TaskId, now: u64, tally: &mut Tally) {
        let place = &mut self.sent[id.0 as usize];
        let sent = place.as_mut().expect("one answer each");
        sent.answers -= 1;
        if sent.answers == 0 {
            tally.requests += 1;
            tally.latency.record(now - sent.at, 1);
            *place = None;
            self.free.push(id.0);
        }
    }

    /// A last request: nothing but its own answer may come.
    async fn expect_nothing_more(mut self) {
        let id = TaskId(u32::MAX);
        let mut bytes = BytesMut::new();
        encode_request_header(TaskCode::KEEP_ALIVE, id, ByteOrder::Big, &mut bytes);
        encode_message(&[], &mut bytes);
        let written = self.stream.write_all(&bytes).await;
        written.expect("the server is there");
        let mut answer = [0; 6];
        let got = self.stream.read_exact(&mut answer).await;
        got.expect("the server is there");
        let [code, answered @ .., end] = answer;
        let answered = TaskId(ByteOrder::Big.decode_u32(answered));
        assert_eq!((code, answered, end), (0, id, 0), "an answer too many");
    }
}

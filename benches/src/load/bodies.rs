//! Long messages one after the other on one connection, streamed by a client
//! that keeps none of them. A round has whole messages only, at least one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bytes::BytesMut;

use super::Round;
use super::request::HEADER_BYTES;
use crate::long_message::{LongMessage, Skimmed};
use crate::measure::{Begun, Latency, Probe};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the server, which answers with the length.
    Upload,
    /// From the server, which is told the length.
    Download,
}

/// What one request moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) direction: Direction,
    pub(crate) bytes: usize,
    /// The task that takes it, or makes it.
    pub(crate) code: TaskCode,
}

pub(crate) fn load(body: Body, time: Duration, probe: Probe<'_>) -> Round {
    let mut stream = TcpStream::connect(probe.server().address()).expect("it accepts");
    stream.set_nodelay(true).expect("an option");
    let mut header = BytesMut::new();
    encode_request_header(body.code, TaskId(1), ByteOrder::Big, &mut header);
    let message = match body.direction {
        Direction::Upload => LongMessage::new(body.bytes),
        Direction::Download => LongMessage::new(0),
    };
    let mut buffer = vec![0; 256 << 10];
    let mut whole = WholeBodies::begin(body, time, probe);
    while whole.go_on() {
        let length = match body.direction {
            Direction::Upload => upload(&mut stream, &header, &message),
            Direction::Download => download(&mut stream, &header, body.bytes, &mut buffer),
        };
        whole.moved(length);
    }
    whole.end()
}

/// A round of whole messages one after another: at least one, whatever its time.
pub(super) struct WholeBodies<'a> {
    body: Body,
    time: Duration,
    begun: Begun<'a>,
    began: Instant,
    /// When the last one had been moved.
    now: Duration,
    requests: u64,
    latency: Latency,
}

impl<'a> WholeBodies<'a> {
    pub(super) fn begin(body: Body, time: Duration, probe: Probe<'a>) -> Self {
        Self {
            body,
            time,
            begun: probe.begin(),
            began: Instant::now(),
            now: Duration::ZERO,
            requests: 0,
            latency: Latency::default(),
        }
    }

    pub(super) fn go_on(&self) -> bool {
        self.requests == 0 || self.now < self.time
    }

    pub(super) fn moved(&mut self, length: usize) {
        assert_eq!(length, self.body.bytes, "the message is whole");
        let sent = std::mem::replace(&mut self.now, self.began.elapsed());
        self.latency.record((self.now - sent).as_nanos() as u64, 1);
        self.requests += 1;
    }

    pub(super) fn end(self) -> Round {
        Round {
            requests: self.requests,
            cost: self.begun.end(),
            latency: self.latency,
        }
    }
}

/// Returns the length that the server tells.
fn upload(stream: &mut TcpStream, header: &[u8], message: &LongMessage) -> usize {
    for write in std::iter::once(header).chain(message.writes()) {
        stream.write_all(write).expect("it is taken");
    }
    read_ok(stream);
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("the answer goes on");
    let [_, length @ .., _] = answer;
    u64::from_be_bytes(length) as usize
}

/// Returns the length of what comes.
fn download(stream: &mut TcpStream, header: &[u8], bytes: usize, buffer: &mut [u8]) -> usize {
    let mut request = BytesMut::from(header);
    encode_message(&(bytes as u64).to_be_bytes(), &mut request);
    stream.write_all(&request).expect("it is taken");
    read_ok(stream);
    let mut message = Skimmed::default();
    loop {
        let read = stream.read(buffer).expect("the answer goes on");
        assert!(read > 0, "the answer has an end");
        if let Some(length) = message.take(&buffer[..read]) {
            return length;
        }
    }
}

fn read_ok(stream: &mut TcpStream) {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).expect("an answer");
    assert_eq!(header[0], 0, "the answer is an error");
}

//! A raw client of the protocol over an in-memory connection, for tests of the
//! server under paused time.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use asyncserver::runtime::{Address, Endpoints};
use asyncserver::server::{ConnectionOptions, ConnectionReport, Limits, Server, Timeouts};
use asyncserver::wire::*;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// What a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok(u32, Bytes),
    Error(u32, ErrorCode),
    Goodbye(u32),
    Processing(u32),
}

pub(crate) fn ok(id: u32, body: impl Into<Bytes>) -> Answer {
    Answer::Ok(id, body.into())
}

/// The whole bytes of a request.
pub(crate) fn request(code: u8, id: u32, message: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_request_header(TaskCode(code), TaskId(id), ByteOrder::Big, &mut bytes);
    encode_message(message, &mut bytes);
    bytes
}

/// A client, and the connection that serves it.
pub(crate) struct WireClient {
    pub(crate) stream: DuplexStream,
    decoder: ResponseDecoder,
    unread: BytesMut,
    pub(crate) connection: JoinHandle<ConnectionReport>,
}

impl WireClient {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::connect_with(server, 1 << 16, ConnectionOptions::default())
    }

    /// `buffer_bytes` is what each direction takes before a writer has to wait.
    pub(crate) fn connect_with(
        server: &Server,
        buffer_bytes: usize,
        options: ConnectionOptions,
    ) -> Self {
        Self::connect_named(server, buffer_bytes, options, "client")
    }

    /// Under this name.
    pub(crate) fn connect_as(server: &Server, name: &str) -> Self {
        Self::connect_named(server, 1 << 16, ConnectionOptions::default(), name)
    }

    fn connect_named(
        server: &Server,
        buffer_bytes: usize,
        options: ConnectionOptions,
        name: &str,
    ) -> Self {
        let (near, far) = tokio::io::duplex(buffer_bytes);
        let server = server.clone();
        let endpoints = Endpoints::new(Address::named("server"), Address::named(name));
        let options = options.endpoints(endpoints);
        let connection = tokio::spawn(async move { server.handle_connection(far, options).await });
        Self {
            stream: near,
            decoder: ResponseDecoder::new(ByteOrder::Big),
            unread: BytesMut::new(),
            connection,
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    pub(crate) async fn ask(&mut self, code: u8, id: u32, message: &[u8]) {
        self.send(&request(code, id, message)).await;
    }

    /// Requests that the server reads in one batch.
    pub(crate) async fn ask_together(&mut self, requests: &[(u8, u32, &[u8])]) {
        let mut bytes = BytesMut::new();
        for (code, id, message) in requests {
            bytes.unsplit(request(*code, *id, message));
        }
        self.send(&bytes).await;
    }

    /// Asks for extensions (PROTOCOL E3).
    pub(crate) async fn negotiate(&mut self, features: u8) {
        self.ask(252, u32::MAX, &[1, 0, 0, 0, features]).await;
        let answer = self.answer().await;
        assert!(matches!(answer, Some(Answer::Ok(u32::MAX, _))));
    }

    /// The next answer; `None` at the end of the stream.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut body = BytesMut::new();
        let mut id = 0;
        loop {
            let mut at = 0;
            let part = self
                .decoder
                .next(&self.unread, &mut at)
                .expect("a response");
            let payload = match &part {
                Some(ResponsePart::Payload(range)) => self.unread[range.clone()].to_vec(),
                _ => Vec::new(),
            };
            let _ = self.unread.split_to(at);
            match part {
                Some(ResponsePart::Response(Response::Ok(of))) => id = of.0,
                Some(ResponsePart::Payload(_)) => body.extend_from_slice(&payload),
                Some(ResponsePart::End) => return Some(Answer::Ok(id, body.freeze())),
                Some(ResponsePart::Response(Response::Error(id, code))) => {
                    return Some(Answer::Error(id.0, code));
                }
                Some(ResponsePart::Response(Response::Goodbye { accepted })) => {
                    return Some(Answer::Goodbye(accepted));
                }
                Some(ResponsePart::Response(Response::Processing(id))) => {
                    return Some(Answer::Processing(id.0));
                }
                None => {
                    let read = self.stream.read_buf(&mut self.unread).await;
                    if read.unwrap_or(0) == 0 {
                        assert!(self.decoder.is_between_responses(), "a response was cut");
                        return None;
                    }
                }
            }
        }
    }

    pub(crate) async fn expect(&mut self, expected: Answer) {
        assert_eq!(self.answer().await, Some(expected));
    }

    /// Nothing comes for this long.
    pub(crate) async fn expect_silence(&mut self, time: Duration) {
        let answer = tokio::time::timeout(time, self.answer()).await;
        assert!(answer.is_err(), "{answer:?} came");
    }

    /// The end of the stream, and the report.
    pub(crate) async fn end(mut self) -> ConnectionReport {
        assert_eq!(self.answer().await, None);
        drop(self.stream);
        let report = self.connection.await.expect("no panic");
        assert!(report.counts.add_up(), "{report:?}");
        report
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn timeouts(set: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts::default();
    set(&mut timeouts);
    timeouts
}

pub(crate) fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

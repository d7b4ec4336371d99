//! A raw client of the protocol over an in-memory connection, for tests of the
//! server under paused time.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::runtime::{Address, BoxFuture, Endpoints, Transport};
use asyncserver::server::{
    ClientHandle, ConnectionOptions, ConnectionReport, Limits, MessageReader, Registration,
    Request, Server, ServerBuilder, Task, TaskFunction, TaskFunctionError, Timeouts,
};
use asyncserver::wire::*;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
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
        Self::serve(server, near, far, options.endpoints(endpoints(name)))
    }

    /// The server's end may be any transport that ends in `near`.
    pub(crate) fn connect_over(
        server: &Server,
        near: DuplexStream,
        far: impl Transport,
        options: ConnectionOptions,
    ) -> Self {
        Self::serve(server, near, far, options.endpoints(endpoints("client")))
    }

    fn serve(
        server: &Server,
        near: DuplexStream,
        far: impl Transport,
        options: ConnectionOptions,
    ) -> Self {
        let server = server.clone();
        let connection = tokio::spawn(async move { server.handle_connection(far, options).await });
        Self::over(near, connection)
    }

    /// A client of a connection that is served elsewhere.
    pub(crate) fn over(stream: DuplexStream, connection: JoinHandle<ConnectionReport>) -> Self {
        Self {
            stream,
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

    /// Sends at once, or not at all: whether it did.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.send(bytes).now_or_never().is_some()
    }

    /// Ends the stream at once: whether that was possible.
    pub(crate) fn try_end_of_stream(&mut self) -> bool {
        self.end_of_stream().now_or_never().is_some()
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
    pub(crate) async fn negotiate_for(&mut self, features: u8) {
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

    /// Asks for extensions, and takes the answer.
    pub(crate) async fn negotiate(&mut self, features: Features) -> Negotiated {
        let mut message = BytesMut::new();
        let version = NEGOTIATE_VERSION;
        Negotiate { version, features }.encode(ByteOrder::Big, &mut message);
        self.ask(252, u32::MAX, &message).await;
        match self.answer().await {
            Some(Answer::Ok(u32::MAX, body)) => {
                Negotiated::decode(&body, ByteOrder::Big).expect("an answer to Negotiate")
            }
            other => panic!("{other:?} answers Negotiate"),
        }
    }

    /// Every byte up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread).to_vec();
        self.stream.read_to_end(&mut rest).await.expect("an end");
        rest
    }

    /// Takes what comes, up to the end of the stream or this much silence.
    pub(crate) async fn rest_until_silence(&mut self, time: Duration) {
        let mut some = BytesMut::new();
        loop {
            some.clear();
            let read = tokio::time::timeout(time, self.stream.read_buf(&mut some));
            match read.await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return,
            }
        }
    }

    /// The client ends its stream, and still takes what comes.
    pub(crate) async fn end_of_stream(&mut self) {
        self.stream.shutdown().await.expect("a stream that is open");
    }

    /// The end of the stream, and the report.
    pub(crate) async fn end(mut self) -> ConnectionReport {
        assert_eq!(self.answer().await, None);
        self.finish().await
    }

    /// The client is gone; what became of its connection.
    pub(crate) async fn finish(self) -> ConnectionReport {
        drop(self.stream);
        let report = self.connection.await.expect("no panic");
        assert!(report.counts.add_up(), "{report:?}");
        report
    }
}

fn endpoints(name: &str) -> Endpoints {
    Endpoints::new(Address::named("server"), Address::named(name))
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Virtual time passes only once nothing else can run: all that was under way
/// has come as far as it can.
pub(crate) async fn settle() {
    tokio::time::sleep(ms(1)).await;
}

/// The server's one client.
pub(crate) async fn only_client(server: &Server) -> ClientHandle {
    settle().await;
    let mut clients = server.clients();
    assert_eq!(clients.len(), 1);
    clients.remove(0)
}

pub(crate) fn id(id: u32) -> TaskId {
    TaskId(id)
}

/// What has happened, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn note(&self, words: impl Into<String>) {
        self.0.lock().unwrap().push(words.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Notes `words` when it is dropped.
    pub(crate) fn on_drop(&self, words: &'static str) -> DropNote {
        DropNote(self.clone(), words)
    }
}

pub(crate) struct DropNote(Notes, &'static str);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

pub(crate) type Read<'m> = BoxFuture<'m, Result<Task, TaskFunctionError>>;

/// A task function that is a closure.
pub(crate) fn reading<F>(function: F) -> Registration
where
    F: for<'m> Fn(Request, &'m mut MessageReader) -> Read<'m> + Send + Sync + 'static,
{
    Registration::task_function(Reading(function))
}

struct Reading<F>(F);

impl<F> TaskFunction for Reading<F>
where
    F: for<'m> Fn(Request, &'m mut MessageReader) -> Read<'m> + Send + Sync + 'static,
{
    async fn read(
        &self,
        request: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        (self.0)(request, message).await
    }
}

pub(crate) const ECHO: u8 = 1;
/// Sleeps for as many milliseconds as its message has bytes.
pub(crate) const SLEEP: u8 = 2;

/// With the tasks that most tests need.
pub(crate) fn with_echo_and_sleep(builder: ServerBuilder) -> ServerBuilder {
    builder
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(SLEEP), "sleep", async |_, message: Bytes| {
            tokio::time::sleep(ms(message.len() as u64)).await;
            Ok("slept")
        })
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

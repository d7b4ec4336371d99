//! A server that does what the test says: it accepts an in-memory connection,
//! reads requests, and writes whatever bytes it is told to.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use asyncserver::client::{CallError, Client, ClientBuilder, Started};
use asyncserver::runtime::memory::{self, MemoryListener};
use asyncserver::runtime::{Address, BoxFuture, Executor, Listener};
use asyncserver::wire::*;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

pub(crate) const ECHO: u8 = 1;
/// Longer than any time that the tests wait for: what has not come by then never will.
const NEVER: Duration = Duration::from_secs(24 * 3600);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What this server answers to Negotiate, if nothing else is said.
pub(crate) const TOLD: Negotiated = Negotiated {
    version: 1,
    granted: Features::SUPPORTED,
    max_in_flight: 1024,
    max_message_bytes: 4 << 20,
    idle_limit_s: 1800,
    processing_interval_s: 15,
};

/// Where clients arrive.
pub(crate) struct ScriptedServer {
    listener: MemoryListener,
    order: ByteOrder,
}

/// A server, and a client of it to be set up further. Each direction of a
/// connection holds 64 KiB.
pub(crate) fn scripted() -> (ScriptedServer, ClientBuilder) {
    scripted_with(1 << 16, ByteOrder::Big)
}

/// As [`scripted`], with what each direction holds before a writer has to wait.
pub(crate) fn scripted_with(
    buffer_bytes: usize,
    order: ByteOrder,
) -> (ScriptedServer, ClientBuilder) {
    let (listener, connector) = memory::listener("server", buffer_bytes);
    let client = Client::builder(Address::named("server"))
        .connector(connector)
        .byte_order(order)
        .executor(Arc::new(AtRestExecutor))
        .seed(1);
    (ScriptedServer::of(listener, order), client)
}

/// Runs the client's task, and panics in it once it spins: under paused time
/// that would hang the test, for time goes on only when all tasks are at rest.
#[derive(Debug)]
pub(crate) struct AtRestExecutor;

/// How often the task may be polled while no time passes.
const POLLS_MOST: u32 = 20_000;

impl Executor for AtRestExecutor {
    fn spawn(&self, mut future: BoxFuture<'static, ()>) {
        let (mut last, mut polls) = (Instant::now(), 0);
        tokio::spawn(poll_fn(move |cx| {
            polls = if Instant::now() == last { polls + 1 } else { 0 };
            last = Instant::now();
            assert!(polls < POLLS_MOST, "the client's task spins");
            future.as_mut().poll(cx)
        }));
    }

    fn spawn_blocking(&self, _: Box<dyn FnOnce() + Send>) {
        unimplemented!("the client blocks nothing")
    }
}

impl ScriptedServer {
    pub(crate) const fn of(listener: MemoryListener, order: ByteOrder) -> Self {
        Self { listener, order }
    }

    pub(crate) async fn accept(&mut self) -> Peer {
        let accepted = timeout(NEVER, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a client connects").expect("it can");
        Peer::new(stream, self.order)
    }

    /// Accepts a connection and answers its Negotiate with [`TOLD`].
    pub(crate) async fn negotiated(&mut self) -> Peer {
        self.told(TOLD).await
    }

    /// Accepts a connection and answers its Negotiate.
    pub(crate) async fn told(&mut self, told: Negotiated) -> Peer {
        let mut peer = self.accept().await;
        let id = peer.expect_negotiate().await;
        peer.ok(id, &peer.encoded(&told)).await;
        peer
    }

    /// Accepts a connection as a server that knows nothing of Negotiate.
    pub(crate) async fn base(&mut self) -> Peer {
        let mut peer = self.accept().await;
        let id = peer.expect_negotiate().await;
        peer.error(id, ErrorCode::UNKNOWN_TASK).await;
        peer
    }

    /// Nobody connects for this long.
    pub(crate) async fn expect_nobody(&mut self, time: Duration) {
        let accepted = timeout(time, self.listener.accept()).await;
        assert!(accepted.is_err(), "a client has connected");
    }
}

/// A request, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) code: u8,
    pub(crate) id: u32,
    pub(crate) message: Bytes,
}

/// What comes next from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Request(Asked),
    /// The end of the stream, between two requests.
    End,
    /// The end of the stream inside a request.
    Cut,
}

/// The server's end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: DuplexStream,
    decoder: RequestDecoder,
    unread: BytesMut,
    header: Option<RequestHeader>,
    message: BytesMut,
    pub(crate) order: ByteOrder,
}

// What the client sends.
impl Peer {
    pub(crate) fn new(stream: DuplexStream, order: ByteOrder) -> Self {
        Self {
            stream,
            decoder: RequestDecoder::new(order),
            unread: BytesMut::new(),
            header: None,
            message: BytesMut::new(),
            order,
        }
    }

    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let mut at = 0;
            let part = self.decoder.next(&self.unread, &mut at);
            if let Some(RequestPart::Payload(range)) = &part {
                self.message.extend_from_slice(&self.unread[range.clone()]);
            }
            let _ = self.unread.split_to(at);
            match part {
                Some(RequestPart::Header(header)) => self.header = Some(header),
                Some(RequestPart::Payload(_)) => {}
                Some(RequestPart::End) => {
                    let header = self.header.take().expect("a header");
                    return Next::Request(Asked {
                        code: header.code.0,
                        id: header.id.0,
                        message: self.message.split().freeze(),
                    });
                }
                None => {
                    let read = timeout(NEVER, self.stream.read_buf(&mut self.unread)).await;
                    if read.expect("the client says something").unwrap_or(0) == 0 {
                        let between = self.decoder.is_between_requests();
                        return if between { Next::End } else { Next::Cut };
                    }
                }
            }
        }
    }

    pub(crate) async fn request(&mut self) -> Asked {
        match self.next().await {
            Next::Request(asked) => asked,
            other => panic!("{other:?} instead of a request"),
        }
    }

    /// The next request is this one; its id.
    pub(crate) async fn expect(&mut self, code: u8, message: impl AsRef<[u8]>) -> u32 {
        let asked = self.request().await;
        assert_eq!(
            (asked.code, &asked.message[..]),
            (code, message.as_ref()),
            "of task {}",
            asked.id
        );
        asked.id
    }

    /// The next request is an echo with this message; its id.
    pub(crate) async fn expect_echo(&mut self, message: impl AsRef<[u8]>) -> u32 {
        self.expect(ECHO, message).await
    }

    /// The next request cancels this task (PROTOCOL E2).
    pub(crate) async fn expect_cancel(&mut self, id: u32) {
        assert_eq!(self.expect(251, "").await, id);
    }

    /// The next request is a Negotiate that asks for everything; its id.
    pub(crate) async fn expect_negotiate(&mut self) -> u32 {
        let asked = self.request().await;
        assert_eq!(asked.code, 252);
        let negotiate = Negotiate::decode(&asked.message, self.order).expect("well formed");
        assert_eq!(negotiate.version, 1);
        assert_eq!(negotiate.features, Features::SUPPORTED);
        asked.id
    }

    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.next().await, Next::End);
    }

    /// The stream ends inside a request: it was not ended early.
    pub(crate) async fn expect_cut(&mut self) {
        assert_eq!(self.next().await, Next::Cut);
    }

    /// Nothing comes that would be, or end, a request, and no end of the stream.
    pub(crate) async fn expect_silence(&mut self, time: Duration) {
        let came = timeout(time, self.next()).await;
        assert!(came.is_err(), "{came:?} came");
    }
}

// What it is sent.
impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(NEVER, self.stream.write_all(bytes)).await;
        sent.expect("the client reads").expect("it is there");
    }

    pub(crate) fn response(&self, response: Response) -> BytesMut {
        let mut bytes = BytesMut::new();
        response.encode(self.order, &mut bytes);
        bytes
    }

    pub(crate) fn result(&self, id: u32, body: &[u8]) -> BytesMut {
        let mut bytes = self.response(Response::Ok(TaskId(id)));
        encode_message(body, &mut bytes);
        bytes
    }

    pub(crate) fn encoded(&self, told: &Negotiated) -> BytesMut {
        let mut bytes = BytesMut::new();
        told.encode(self.order, &mut bytes);
        bytes
    }

    pub(crate) async fn ok(&mut self, id: u32, body: impl AsRef<[u8]>) {
        self.send(&self.result(id, body.as_ref())).await;
    }

    pub(crate) async fn error(&mut self, id: u32, code: ErrorCode) {
        self.send(&self.response(Response::Error(TaskId(id), code)))
            .await;
    }

    pub(crate) async fn processing(&mut self, id: u32) {
        self.send(&self.response(Response::Processing(TaskId(id))))
            .await;
    }

    /// `accepted` counts Negotiate, too.
    pub(crate) async fn goodbye(&mut self, accepted: u32) {
        self.send(&self.response(Response::Goodbye { accepted }))
            .await;
    }

    /// Takes the next request, an echo, and answers it.
    pub(crate) async fn echo(&mut self) -> Asked {
        let asked = self.request().await;
        assert_eq!(asked.code, ECHO);
        self.ok(asked.id, &asked.message).await;
        asked
    }
}

/// Submits a call and sees that the server has it; the call and its id.
pub(crate) async fn submitted(
    client: &Client,
    peer: &mut Peer,
    message: &'static str,
) -> (asyncserver::client::PendingTask, u32) {
    let call = client.submit(ECHO, message);
    let id = peer.expect_echo(message).await;
    (call, id)
}

/// How a call failed, and that `started` says what it must.
pub(crate) async fn failed(
    call: impl Future<Output = Result<Bytes, CallError>>,
    started: Started,
) -> CallError {
    let outcome = timeout(NEVER, call).await.expect("it ends");
    let error = outcome.expect_err("it fails");
    assert_eq!(error.started(), started, "{error}");
    error
}

/// The call ends, and well.
pub(crate) async fn answered(call: impl Future<Output = Result<Bytes, CallError>>) -> Bytes {
    let outcome = timeout(NEVER, call).await.expect("it ends");
    outcome.expect("it succeeds")
}

/// That `actual` is `expected`, but for the timers' millisecond.
pub(crate) fn near(actual: Duration, expected: Duration) {
    let late = actual.saturating_sub(expected);
    assert!(
        actual >= expected && late <= ms(10),
        "{actual:?}, not {expected:?}"
    );
}

/// Asserts that a value matches a pattern.
macro_rules! assert_is {
    ($value:expr, $pattern:pat $(if $guard:expr)?) => {{
        let value = $value;
        assert!(matches!(value, $pattern $(if $guard)?), "{value:?}");
    }};
}
pub(crate) use assert_is;

//! Responses and their bodies (PROTOCOL T7, N8).

mod wire_client;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// The code of the registration that a test is about.
const TESTED: u8 = 2;
/// A body that gives as many bytes as its message says, then waits for ever.
const HALF: u8 = 3;

type Piece = Result<Bytes, TaskError>;

fn server(tested: Registration) -> Server {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(HALF), "half", async |_, message: Bytes| {
            let bytes = usize::from(message[0]) * 1000;
            Ok(body(bytes, stream::pending()))
        })
        .register(TaskCode(TESTED), "tested", tested)
        .build()
}

/// So many bytes, in pieces of at most 1,000, then what `end` gives.
fn body(bytes: usize, end: impl stream::Stream<Item = Piece> + Send + 'static) -> Response {
    let pieces = (0..bytes.div_ceil(1000)).map(move |at| {
        let length = (bytes - at * 1000).min(1000);
        Ok(Bytes::from(vec![7; length]))
    });
    Response::stream(stream::iter(pieces).chain(end))
}

fn fails(error: fn() -> TaskError) -> impl stream::Stream<Item = Piece> + Send {
    stream::iter([()]).map(move |()| Err(error()))
}

/// A body of 1,000 bytes for each unit of the message's byte, then this error.
fn failing(error: fn() -> TaskError) -> Registration {
    Registration::task(move |_, message: Bytes| async move {
        Ok(body(usize::from(message[0]) * 1000, fails(error)))
    })
}

const CODED: fn() -> TaskError = || TaskError::code_only(ErrorCode(9));
const FATAL: fn() -> TaskError = || TaskError::fatal("the disk is gone");

#[tokio::test(start_paused = true)]
async fn t7_every_kind_of_result_is_a_message() {
    let kinds = Registration::task(async |_, message: Bytes| {
        let result: Response = match message[0] {
            0 => ().into(),
            1 => Bytes::from_static(b"abc").into(),
            2 => BytesMut::from(&b"abc"[..]).into(),
            3 => vec![b'a', b'b', b'c'].into(),
            4 => String::from("abc").into(),
            5 => "abc".into(),
            6 => (&b"abc"[..]).into(),
            7 => (*b"abc").into(),
            8 => Box::<[u8]>::from(*b"abc").into(),
            9 => Response::reader(&b"abc"[..]),
            10 => Response::reader(tokio::io::empty()),
            11 => Response::stream(stream::iter(["a", "", "bc"].map(Ok))),
            _ => Response::stream(stream::empty::<Piece>()),
        };
        Ok(result)
    });
    let mut client = WireClient::connect(&server(kinds));
    for kind in 0..=12 {
        client.ask(TESTED, 1, &[kind]).await;
        let expected = if matches!(kind, 0 | 10 | 12) {
            ""
        } else {
            "abc"
        };
        client.expect(ok(1, expected)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t7_bodies_of_every_length_come_whole() {
    let readers = Registration::task(async |_, message: Bytes| {
        Ok(Response::reader(std::io::Cursor::new(message)))
    });
    let streams = Registration::task(async |_, message: Bytes| {
        let pieces: Vec<_> = message.chunks(777).map(Bytes::copy_from_slice).collect();
        Ok(Response::stream(stream::iter(pieces).map(Ok)))
    });
    for tested in [readers, streams] {
        let mut client = WireClient::connect(&server(tested));
        for length in [1, 254, 255, 256, 65_535, 65_536, 65_537, 200_000] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            client.ask(TESTED, 1, &payload).await;
            client.expect(ok(1, payload)).await;
        }
    }
}

fn state(client: &ClientHandle, task: u32) -> Option<TaskState> {
    client.metadata(id(task)).map(|task| task.state)
}

#[tokio::test(start_paused = true)]
async fn t7_a_response_begins_once_64_kib_of_its_body_have_been_produced() {
    for (thousands, expected) in [(65, TaskState::Running), (66, TaskState::Responding)] {
        let server = server(failing(CODED));
        let mut client = WireClient::connect(&server);
        client.ask(HALF, 1, &[thousands]).await;
        let handle = only_client(&server).await;
        assert_eq!(state(&handle, 1), Some(expected), "{thousands}");
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_registration_may_begin_its_responses_earlier() {
    for (begin_after, expected) in [(0, 1), (1, 1), (3000, 3), (3001, 4), (usize::MAX, 66)] {
        let slow = Registration::task(async |_, _| {
            Ok(Response::stream(stream::unfold((), async |()| {
                sleep(ms(10)).await;
                Some((Ok(Bytes::from(vec![7; 1000])), ()))
            })))
        });
        let server = server(slow.begin_after_bytes(begin_after));
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, b"").await;
        let handle = only_client(&server).await;
        sleep(ms(10 * expected - 6)).await;
        assert_eq!(state(&handle, 1), Some(TaskState::Running));
        sleep(ms(10)).await;
        assert_eq!(state(&handle, 1), Some(TaskState::Responding));
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_body_that_fails_with_a_code_before_it_has_begun_is_answered() {
    let mut client = WireClient::connect(&server(failing(CODED)));
    for thousands in [0, 1, 65] {
        client.ask(TESTED, 1, &[thousands]).await;
        client.expect(Answer::Error(1, ErrorCode(9))).await;
    }
    client.ask(ECHO, 2, b"goes on").await;
    client.expect(ok(2, "goes on")).await;
}

/// Fails with a code.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(CODED().into()))
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_reader_keeps_the_code_of_its_error() {
    let reader =
        Registration::task(async |_, _| Ok(Response::reader((&b"some"[..]).chain(Broken))));
    let mut client = WireClient::connect(&server(reader));
    client.ask(TESTED, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode(9))).await;
}

#[tokio::test(start_paused = true)]
async fn t7_a_body_that_fails_without_a_code_sends_nothing_and_ends_the_connection() {
    for thousands in [0, 65] {
        let mut client = WireClient::connect(&server(failing(FATAL)));
        client.ask(TESTED, 1, &[thousands]).await;
        let report = client.end().await;
        let expected = EndReason::Body {
            id: id(1),
            code: TaskCode(TESTED),
            error: "the disk is gone".into(),
        };
        assert_eq!(report.reason, expected);
        assert_eq!(report.bytes_written, 0);
        assert_eq!(report.interrupted[0].state, TaskState::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_body_that_fails_once_it_has_begun_ends_the_connection_whatever_its_error() {
    for error in [CODED, FATAL] {
        let server = server(failing(error));
        let mut client = WireClient::connect(&server);
        client.ask(TESTED, 1, &[70]).await;
        settle().await;
        // It waits behind the response that is never whole (D8).
        client.ask(ECHO, 2, b"lost").await;
        let rest = client.rest().await;
        assert!(rest.len() > 65_536, "{} bytes", rest.len());
        assert!(!rest.windows(4).any(|bytes| bytes == b"lost"));
        let report = client.finish().await;
        assert!(
            matches!(report.reason, EndReason::Body { .. }),
            "{report:?}"
        );
        assert_eq!(report.interrupted[0].state, TaskState::Responding);
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_body_is_dropped_once_copying_stops() {
    type End = fn(&ClientHandle);
    let ends: [(&str, u8, End); 5] = [
        ("whole", 1, |_| ()),
        ("failed", 2, |_| ()),
        ("cancelled", 3, |client| client.cancel(id(1))),
        ("closed before it began", 3, ClientHandle::close),
        ("closed after it began", 4, ClientHandle::close),
    ];
    for (name, kind, end) in ends {
        let notes = Notes::default();
        let at_drop = notes.clone();
        let tested = Registration::task(move |_, message: Bytes| {
            let note = at_drop.on_drop("dropped");
            async move {
                let end = match message[0] {
                    1 => stream::empty().boxed(),
                    2 => fails(CODED).boxed(),
                    _ => stream::pending().boxed(),
                };
                let length = if message[0] == 4 { 70_000 } else { 10 };
                let end = end.inspect(move |_: &Piece| _ = &note);
                Ok(body(length, end))
            }
        });
        let server = server(tested);
        let mut client = WireClient::connect_with(&server, 1000, ConnectionOptions::default());
        client.ask(TESTED, 1, &[kind]).await;
        let handle = only_client(&server).await;
        end(&handle);
        settle().await;
        assert_eq!(notes.take(), ["dropped"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn n8_responses_wait_behind_a_body_that_has_begun() {
    let server = server(failing(CODED));
    let mut client = WireClient::connect_with(&server, 500, ConnectionOptions::default());
    let (reader, mut writer) = tokio::io::duplex(1000);
    let reader = std::sync::Mutex::new(Some(reader));
    let slow = Registration::task(move |_, _| {
        let reader = reader.lock().unwrap().take().expect("one request");
        async move { Ok(Response::reader(reader)) }
    });
    server
        .register(TaskCode(9), "slow", slow.begin_after_bytes(1))
        .unwrap();
    client.ask(9, 1, b"").await;
    writer.write_all(&[7; 600]).await.unwrap();
    settle().await;
    // Each way to be answered: a task, a failure, a KeepAlive, an unknown code, a body.
    client.ask(ECHO, 2, b"behind").await;
    client.ask(TESTED, 3, &[0]).await;
    client.ask(250, 4, b"").await;
    client.ask(99, 5, b"").await;
    client.ask(ECHO, 6, &[8; 70_000]).await;
    let others = tokio::spawn(async move {
        sleep(ms(100)).await;
        writer.write_all(&[7; 600]).await.unwrap();
    });
    client.expect(ok(1, vec![7; 1200])).await;
    let mut left = vec![2, 3, 4, 5, 6];
    while !left.is_empty() {
        let answer = client.answer().await.expect("all are answered");
        let id = match answer {
            Answer::Ok(id, _) | Answer::Error(id, _) => id,
            other => panic!("{other:?}"),
        };
        left.retain(|other| *other != id);
    }
    others.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn n8_bodies_are_produced_ahead_while_another_one_has_the_wire() {
    let server = server(failing(CODED));
    let mut client = WireClient::connect(&server);
    client.ask(HALF, 1, &[70]).await;
    settle().await;
    // It fails ahead of its turn, so its code can still be answered: behind the wire's owner.
    client.ask(TESTED, 2, &[3]).await;
    let handle = only_client(&server).await;
    assert_eq!(state(&handle, 1), Some(TaskState::Responding));
    assert_eq!(state(&handle, 2), None);
}

#[tokio::test(start_paused = true)]
async fn l7_the_producing_of_bodies_pauses_while_the_client_takes_nothing() {
    let produced = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = produced.clone();
    let endless = Registration::task(move |_, _| {
        let counted = counted.clone();
        async move {
            let pieces = stream::repeat_with(move || {
                counted.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
                Ok(Bytes::from(vec![7; 1000]))
            });
            Ok(Response::stream(pieces))
        }
    });
    let mut limits = Limits::default();
    limits.unsent_limit_bytes = 100_000;
    let server = Server::builder()
        .limits(limits)
        .register(TaskCode(TESTED), "endless", endless)
        .build();
    let mut client = WireClient::connect_with(&server, 1000, ConnectionOptions::default());
    client.ask(TESTED, 1, b"").await;
    sleep(Duration::from_secs(1)).await;
    let stopped = produced.load(std::sync::atomic::Ordering::Relaxed);
    assert!(stopped < 200_000, "{stopped} bytes were produced");
    let mut some = vec![0; 300_000];
    client.stream.read_exact(&mut some).await.unwrap();
    assert!(produced.load(std::sync::atomic::Ordering::Relaxed) > 300_000);
}

#[tokio::test(start_paused = true)]
async fn at_most_sixteen_bodies_are_produced_ahead_of_their_turn() {
    let notes = Notes::default();
    let asked = notes.clone();
    let tested = Registration::task(move |context: TaskContext, _| {
        let (asked, id) = (asked.clone(), context.id());
        let mut once = false;
        let body = stream::poll_fn(move |_| {
            if !std::mem::replace(&mut once, true) {
                asked.note(id.to_string());
            }
            Poll::<Option<Piece>>::Pending
        });
        async move { Ok(Response::stream(body)) }
    });
    let mut client = WireClient::connect(&server(tested));
    client.ask(HALF, 100, &[70]).await;
    settle().await;
    for id in 1..=20 {
        client.ask(TESTED, id, b"").await;
    }
    settle().await;
    let expected: Vec<_> = (1..=16).map(|id| id.to_string()).collect();
    assert_eq!(notes.take(), expected, "oldest first");
    // Where one leaves, the next one follows.
    client.ask(251, 3, b"").await;
    settle().await;
    assert_eq!(notes.take(), ["17"]);
}

//! What a small request costs on the server's fast path, in allocations: they
//! are the same on every machine. `ci/fast-path` has how many there may be;
//! more than a tenth above that fails, and so does a tenth below it, for then
//! the file is to be mended. `ci/instructions` counts the instructions of the
//! same cases, where it can.
//!
//! In release alone, which `ci/test` runs as a step of its own: the checks that
//! debug builds make of the bookkeeping allocate.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use allocation_counter::measure;
use asyncserver::server::{ConnectionOptions, Execution, Registration, Server};
use asyncserver::wire::{ByteOrder, TaskCode, TaskId, encode_message, encode_request_header};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Brings the same requests again as soon as all of them have been answered.
struct Repeated {
    requests: Bytes,
    unread: Bytes,
    unanswered: usize,
    rounds: usize,
    answered: Arc<AtomicUsize>,
}

impl AsyncRead for Repeated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            if self.unanswered > 0 || self.rounds == 0 {
                return Poll::Pending;
            }
            self.rounds -= 1;
            self.unanswered = self.requests.len();
            self.unread = self.requests.clone();
        }
        let length = into.remaining().min(self.unread.len());
        into.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Repeated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unanswered -= bytes.len();
        if self.unanswered == 0 {
            self.answered.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls the connection until so many rounds have been answered.
async fn until(connection: &mut Pin<Box<impl Future>>, answered: &AtomicUsize, rounds: usize) {
    std::future::poll_fn(|cx| {
        if answered.load(Ordering::Relaxed) >= rounds {
            return Poll::Ready(());
        }
        assert!(connection.as_mut().poll(cx).is_pending(), "it goes on");
        if answered.load(Ordering::Relaxed) >= rounds {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Some requests in flight, an echo of 16 bytes each, answered again and again.
struct Case {
    name: &'static str,
    in_flight: usize,
    registration: fn() -> Registration,
}

const CASES: [Case; 6] = [
    Case::new("auto-1", 1, echo),
    Case::new("auto-64", 64, echo),
    Case::new("auto-1024", 1024, echo),
    Case::new("yields-auto-1024", 1024, yields),
    Case::new("yields-local-1024", 1024, || {
        yields().execution(Execution::Local)
    }),
    Case::new("yields-spawn-1024", 1024, || {
        yields().execution(Execution::Spawn)
    }),
];

impl Case {
    const fn new(name: &'static str, in_flight: usize, registration: fn() -> Registration) -> Self {
        Self {
            name,
            in_flight,
            registration,
        }
    }

    /// Runs some rounds, and then as many once more within `measured`.
    fn run(&self, rounds: usize, measured: impl FnOnce(&mut dyn FnMut())) {
        let mut requests = BytesMut::new();
        for id in 0..self.in_flight as u32 {
            encode_request_header(TaskCode(1), TaskId(id), ByteOrder::Big, &mut requests);
            encode_message(&[7; 16], &mut requests);
        }
        let answered = Arc::new(AtomicUsize::new(0));
        let transport = Repeated {
            requests: requests.freeze(),
            unread: Bytes::new(),
            unanswered: 0,
            rounds: 2 * rounds,
            answered: Arc::clone(&answered),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let server = Server::builder()
            .register(TaskCode(1), "echo", (self.registration)())
            .build();
        let serving = server.handle_connection(transport, ConnectionOptions::default());
        let mut connection = Box::pin(serving);
        // What the first ones take is kept for the others.
        runtime.block_on(until(&mut connection, &answered, rounds));
        measured(&mut || runtime.block_on(until(&mut connection, &answered, 2 * rounds)));
        assert_eq!(answered.load(Ordering::Relaxed), 2 * rounds);
    }

    /// Allocations a request.
    fn allocations(&self) -> f64 {
        const ROUNDS: usize = 50;
        let mut allocations = 0;
        self.run(ROUNDS, |rounds| allocations = measure(rounds).count_total);
        allocations as f64 / (ROUNDS * self.in_flight) as f64
    }
}

fn echo() -> Registration {
    Registration::task(async |_, message| Ok(message))
}

fn yields() -> Registration {
    Registration::task(async |_, message| {
        tokio::task::yield_now().await;
        Ok(message)
    })
}

/// How many there may be, by the baseline.
fn baseline(name: &str) -> f64 {
    let lines = include_str!("../ci/fast-path");
    let words = lines.lines().map(|line| line.split_whitespace());
    let mut found =
        words.filter_map(|mut words| (words.next() == Some(name)).then(|| words.next()));
    let figure = found.next().flatten();
    let figure = figure.unwrap_or_else(|| panic!("ci/fast-path has a line for {name}"));
    figure.parse().unwrap()
}

fn is_as_before(case: &Case) {
    let (name, allocations) = (case.name, case.allocations());
    println!("{name} {allocations:.2}");
    let before = baseline(name);
    let (least, most) = (before * 0.9, before * 1.1);
    assert!(
        (least..=most).contains(&allocations),
        "{name}: {allocations:.2} allocations a request, {before} in ci/fast-path"
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "in release, by ci/test fast_path")]
fn a_request_that_is_answered_in_place_is_one_allocation() {
    CASES[..3].iter().for_each(is_as_before);
    assert!(baseline("auto-1024") < 1.05, "its message alone");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "in release, by ci/test fast_path")]
fn a_run_function_that_pends_allocates_as_before() {
    CASES[3..].iter().for_each(is_as_before);
}

/// `FAST_PATH_CASE` for `FAST_PATH_ROUNDS`, for somebody who counts from outside.
#[test]
#[ignore = "by ci/instructions"]
fn rounds_of_a_case() {
    let setting = |name| std::env::var(name).expect("ci/instructions sets it");
    let name = setting("FAST_PATH_CASE");
    let case = CASES.iter().find(|case| case.name == name);
    let rounds = setting("FAST_PATH_ROUNDS").parse().unwrap();
    case.expect("there is such a case")
        .run(rounds, |rounds| rounds());
}

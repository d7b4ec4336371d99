//! Panics and destructors of what tasks leave behind (PROTOCOL T9).

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode, TaskId};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::wire_client::*;
use crate::world::*;

/// Looks at its client while it is dropped, which takes the session's lock.
struct Looks(Mutex<Option<ClientHandle>>);

impl Looks {
    fn at(client: ClientHandle) -> Self {
        Self(Mutex::new(Some(client)))
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        let client = self.0.get_mut().expect("no panic").take();
        drop(client.map(|client| client.tasks()));
    }
}

struct WithRunData;

impl TaskFunction for WithRunData {
    async fn read(
        &self,
        request: Request,
        _: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let task = Task::run(async |_| Ok(Response::reader(&b"abc"[..])));
        Ok(task.with_run_data(Looks::at(request.client())))
    }
}

#[test]
fn run_data_is_dropped_outside_the_lock() {
    within_real_time(async {
        let server = server()
            .task_function(TaskCode(ODD), "data", WithRunData)
            .build();
        let mut client = WireClient::connect(&server);
        client.ask(ODD, 7, b"").await;
        client.expect(ok(7, "abc")).await;
    });
}

/// What owns the bytes of a response.
struct Owner<T> {
    _owned: T,
}

impl<T> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        b"abc"
    }
}

fn owned_by<T: Send + 'static>(owned: T) -> Bytes {
    Bytes::from_owner(Owner { _owned: owned })
}

#[test]
fn the_owner_of_an_answer_is_dropped_outside_the_lock() {
    within_real_time(async {
        let owned = async |context: TaskContext, _| Ok(owned_by(Looks::at(context.client())));
        let server = server().task(TaskCode(ODD), "owned", owned).build();
        let mut client = WireClient::connect(&server);
        client.ask(ODD, 7, b"").await;
        client.expect(ok(7, "abc")).await;
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

/// A panic behind the last byte of the response is only logged; the second one
/// ended the process.
#[tokio::test(start_paused = true)]
async fn owners_of_answers_may_panic_in_one_batch() {
    // Where the functions end at once, a short answer's owner is dropped before it is sent.
    for wait in [ms(0), ms(10)] {
        let owned = move |_, _| async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            Ok(owned_by(PanicsInDrop))
        };
        let server = server().task(TaskCode(ODD), "owned", owned).build();
        let mut client = WireClient::connect(&server);
        let requests: [(u8, u32, &[u8]); 2] = [(ODD, 7, b""), (ODD, 8, b"")];
        client.ask_together(&requests).await;
        client.expect(ok(7, "abc")).await;
        let second = timeout(ms(5000), client.answer()).await;
        assert_eq!(second.expect("an answer"), Some(ok(8, "abc")));
        client.ask(ECHO, 9, b"goes on").await;
        client.expect(ok(9, "goes on")).await;
    }
}

/// A body that gives a piece, waits for ever, and panics once it is dropped.
struct Panicking {
    piece: Option<Bytes>,
    _panics: PanicsInDrop,
}

impl futures_util::Stream for Panicking {
    type Item = Result<Bytes, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_piece_may_panic_behind_its_last_byte() {
    let owned = async |_, _| {
        let pieces = [Ok(owned_by(PanicsInDrop))];
        Ok(Response::stream(futures_util::stream::iter(pieces)))
    };
    let server = server().task(TaskCode(ODD), "owned", owned).build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    client.expect(ok(7, "abc")).await;
    client.ask(ECHO, 9, b"goes on").await;
    client.expect(ok(9, "goes on")).await;
}

/// The second panic ended the process.
#[tokio::test(start_paused = true)]
async fn a_body_and_the_owner_of_its_piece_may_both_panic() {
    let body = async |_, _| {
        Ok(Response::stream(Panicking {
            piece: Some(owned_by(PanicsInDrop)),
            _panics: PanicsInDrop,
        }))
    };
    let server = server().task(TaskCode(ODD), "body", body).build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    settle().await;
    only_client(&server).await.cancel(TaskId(7));
    client.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
    client.ask(ECHO, 9, b"goes on").await;
    client.expect(ok(9, "goes on")).await;
}

/// An error that panics once it is dropped.
#[derive(Debug)]
struct Boom;

impl Drop for Boom {
    fn drop(&mut self) {
        panic!("in an error's destructor");
    }
}

impl fmt::Display for Boom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boom")
    }
}

impl std::error::Error for Boom {}

fn boom() -> TaskError {
    TaskError::coded(ErrorCode(5), Boom)
}

/// The connection was lost with it; on a thread, the answer was.
#[tokio::test(start_paused = true)]
async fn an_errors_destructor_may_panic() {
    let on_a_thread = Registration::blocking(|_, _| Err::<(), _>(boom()));
    let server = server()
        .task(TaskCode(ODD), "fails", async |_, _| Err::<(), _>(boom()))
        .register(TaskCode(4), "fails on a thread", on_a_thread)
        .build();
    let mut client = WireClient::connect(&server);
    for code in [ODD, 4] {
        client.ask(code, 7, b"").await;
        let answer = timeout(ms(5000), client.answer()).await;
        let panicked = Answer::Error(7, ErrorCode::PANICKED);
        assert_eq!(answer.expect("an answer"), Some(panicked));
        client.ask(ECHO, 8, b"goes on").await;
        client.expect(ok(8, "goes on")).await;
    }
}

/// Run data whose destructor panics, of a function that takes so long.
struct WithPanickingData(u64);

impl TaskFunction for WithPanickingData {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        while message.chunk().await.is_some() {}
        let millis = self.0;
        let task = Task::run(async move |_| {
            if millis > 0 {
                sleep(ms(millis)).await;
            }
            Ok("done")
        });
        Ok(task.with_run_data(PanicsInDrop))
    }
}

/// In place, and on the executor in one batch: the second panic ended the process.
#[tokio::test(start_paused = true)]
async fn run_data_of_two_tasks_may_panic_at_once() {
    for millis in [0, 10] {
        let server = server()
            .task_function(TaskCode(ODD), "data", WithPanickingData(millis))
            .build();
        let mut client = WireClient::connect(&server);
        let requests: [(u8, u32, &[u8]); 2] = [(ODD, 7, b""), (ODD, 8, b"")];
        client.ask_together(&requests).await;
        client.expect(ok(7, "done")).await;
        client.expect(ok(8, "done")).await;
        client.ask(ECHO, 9, b"goes on").await;
        client.expect(ok(9, "goes on")).await;
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("in a waker");
    }
}

/// It cost those behind it their wake-up, and the connection its driver.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_keeps_nobody_from_being_told() {
    let cooperates = Registration::task(async |context: TaskContext, _: Bytes| {
        let mut told = Box::pin(context.cancelled());
        let waker = Arc::new(PanickingWaker).into();
        let polled = told.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        pin!(context.cancelled()).await;
        drop(told);
        Ok("tidied")
    });
    let cooperates = cooperates.on_cancel(OnCancel::Cooperate { grace: ms(1000) });
    let server = server()
        .register(TaskCode(ODD), "cooperates", cooperates)
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(ODD, 7, b"").await;
    sleep(ms(10)).await;
    client.ask(251, 7, b"").await;
    let answer = timeout(ms(20_000), client.answer()).await;
    assert_eq!(answer.expect("an answer"), Some(ok(7, "tidied")));
    client.ask(ECHO, 8, b"goes on").await;
    client.expect(ok(8, "goes on")).await;
}

//! The demo tasks (docs/protocol.md, section 11).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::server::{ErrorCoder, Response};
use asyncserver::server::{
    MessageReader, OnCancel, Registration, Request, ServerBuilder, Task, TaskContext, TaskError,
    TaskFunction, TaskFunctionError,
};
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode};
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Registers all of them.
pub(crate) fn register(builder: ServerBuilder) -> ServerBuilder {
    builder
        .task(TaskCode(1), "echo", async |_, message| Ok(message))
        .task(TaskCode(2), "sleep", sleep)
        .task(TaskCode(3), "fail", fail)
        .task(TaskCode(4), "produce", produce)
        .task(TaskCode(5), "panic", panic)
        .task_function(TaskCode(6), "none", Nothing)
        .task_function(TaskCode(7), "reject", Reject)
        .task(TaskCode(8), "break", async |_, _| {
            Err::<(), _>(TaskError::fatal("it was asked to break"))
        })
        .task(TaskCode(9), "tear", tear)
        .task_function(TaskCode(10), "digest", DigestFunction)
        .task_function(TaskCode(11), "first", First)
        .register(TaskCode(12), "tidy", tidy())
        .task(TaskCode(13), "tasks", tasks)
        .register(TaskCode(14), "block", block())
        .register(
            TaskCode(15),
            "limited",
            Registration::task(sleep).run_limit(Duration::from_millis(200)),
        )
}

/// What a message shorter than its layout is answered.
#[derive(Debug, thiserror::Error)]
#[error("the message has {length} bytes where {expected} are needed")]
struct TooShort {
    length: usize,
    expected: usize,
}

impl ErrorCoder for TooShort {
    fn error_code(&self) -> ErrorCode {
        ErrorCode(1)
    }
}

fn take_u32(message: &mut Bytes, order: ByteOrder) -> Result<u32, TooShort> {
    let Some(bytes) = message.first_chunk::<4>() else {
        let (length, expected) = (message.len(), 4);
        return Err(TooShort { length, expected });
    };
    let integer = order.decode_u32(*bytes);
    message.advance(4);
    Ok(integer)
}

fn take_millis(message: &mut Bytes, order: ByteOrder) -> Result<Duration, TooShort> {
    Ok(Duration::from_millis(take_u32(message, order)?.into()))
}

fn order(task: &TaskContext) -> ByteOrder {
    task.client().byte_order()
}

async fn sleep(task: TaskContext, mut message: Bytes) -> Result<Bytes, TaskError> {
    tokio::time::sleep(take_millis(&mut message, order(&task))?).await;
    Ok(message)
}

async fn fail(_: TaskContext, message: Bytes) -> Result<(), TaskError> {
    match message.first() {
        Some(code) => Err(TaskError::code_only(ErrorCode(*code))),
        None => Err(TooShort {
            length: 0,
            expected: 1,
        })?,
    }
}

async fn produce(task: TaskContext, mut message: Bytes) -> Result<Response, TaskError> {
    let length = take_u32(&mut message, order(&task))?;
    Ok(Response::reader(Pattern { at: 0 }.take(length.into())))
}

async fn panic(_: TaskContext, _: Bytes) -> Result<(), TaskError> {
    panic!("it was asked to panic")
}

async fn tear(task: TaskContext, mut message: Bytes) -> Result<Response, TaskError> {
    let length = take_u32(&mut message, order(&task))?;
    let body = Pattern { at: 0 }.take(length.into());
    Ok(Response::reader(body.chain(Torn)))
}

fn tidy() -> Registration {
    let grace = Duration::from_secs(1);
    Registration::task(async |task: TaskContext, mut message: Bytes| {
        let time = take_millis(&mut message, order(&task))?;
        tokio::select! {
            biased;
            () = task.cancelled() => Ok("tidied"),
            () = tokio::time::sleep(time) => Ok("done"),
        }
    })
    .on_cancel(OnCancel::Cooperate { grace })
}

async fn tasks(task: TaskContext, _: Bytes) -> Result<Vec<u8>, TaskError> {
    let order = order(&task);
    let ids = task.client().tasks().into_iter();
    Ok(ids.flat_map(|id| order.encode_u32(id.0)).collect())
}

fn block() -> Registration {
    let grace = Duration::from_millis(500);
    Registration::blocking(|task: TaskContext, mut message: Bytes| {
        std::thread::sleep(take_millis(&mut message, order(&task))?);
        Ok("done")
    })
    .on_cancel(OnCancel::Cooperate { grace })
}

/// Has no run function.
struct Nothing;

impl TaskFunction for Nothing {
    async fn read(&self, _: Request, _: &mut MessageReader) -> Result<Task, TaskFunctionError> {
        Ok(Task::nothing())
    }
}

/// Finds the situation serious.
struct Reject;

impl TaskFunction for Reject {
    async fn read(&self, _: Request, _: &mut MessageReader) -> Result<Task, TaskFunctionError> {
        Err("it was asked to reject".into())
    }
}

/// SHA-256, taken while the message arrives.
struct DigestFunction;

impl TaskFunction for DigestFunction {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let mut hash = Sha256::new();
        while let Some(chunk) = message.chunk().await {
            hash.update(&chunk);
        }
        Ok(Task::run(async move |_| Ok(hash.finalize().to_vec())))
    }
}

/// Reads one byte and leaves the rest.
struct First;

impl TaskFunction for First {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let first: Vec<u8> = message.read_u8().await.into_iter().collect();
        Ok(Task::run(async move |_| Ok(first)))
    }
}

/// An endless body: byte i is i mod 251.
struct Pattern {
    at: u8,
}

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        const PERIOD: [u8; 251] = {
            let mut period = [0; 251];
            let mut at = 0;
            while at < period.len() {
                period[at] = at as u8;
                at += 1;
            }
            period
        };
        while into.remaining() > 0 {
            let rest = &PERIOD[usize::from(self.at)..];
            let length = rest.len().min(into.remaining());
            into.put_slice(&rest[..length]);
            self.at = ((usize::from(self.at) + length) % PERIOD.len()) as u8;
        }
        Poll::Ready(Ok(()))
    }
}

/// Fails without a code.
struct Torn;

impl AsyncRead for Torn {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("it was asked to tear")))
    }
}

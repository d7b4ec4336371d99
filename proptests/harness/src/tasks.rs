//! The tasks of a scenario as real registrations that report what they do.

use std::sync::Arc;
use std::time::Duration;

use asyncserver::server::{
    ClientHandle, Execution, MessageReader, OnCancel, Registration, Request, Response, Server,
    ServerBuilder, Task, TaskContext, TaskError, TaskFunction, TaskFunctionError,
};
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode, TaskId};
use bytes::Bytes;
use oracle::{
    BodyEnd, Call, Does, FunctionEnd, Reads, Returned, RunEnd, Runs, TaskSpec, What, pattern,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::body::Body;
use crate::threads::block_on;
use crate::world::World;

/// Finds the world in which a client's tasks are recorded.
pub type FindWorld = Arc<dyn Fn(&ClientHandle) -> World + Send + Sync>;

/// Registers these tasks, for a server of connections that have a world each.
pub fn register_for(
    mut builder: ServerBuilder,
    tasks: &[TaskSpec],
    find: &FindWorld,
) -> ServerBuilder {
    for spec in tasks {
        let name = format!("{:?}", spec.does).to_lowercase();
        builder = builder.register(TaskCode(spec.code), &name, registration(spec, find));
    }
    builder
}

/// The places that limited registrations hold.
pub(crate) fn places_in_flight(server: &Server, tasks: &[TaskSpec]) -> usize {
    let codes = tasks.iter().map(|spec| TaskCode(spec.code));
    codes
        .filter_map(|code| server.registration(code)?.in_flight())
        .sum()
}

fn registration(spec: &TaskSpec, find: &FindWorld) -> Registration {
    let mut registration = kind(spec, find)
        .on_cancel(match spec.on_cancel {
            oracle::OnCancel::Drop => OnCancel::Drop,
            oracle::OnCancel::Cooperate { grace_ms } => OnCancel::Cooperate {
                grace: Duration::from_millis(grace_ms),
            },
        })
        .begin_after_bytes(spec.begin_after_bytes)
        .execution(match spec.runs {
            Runs::Async | Runs::Blocking => Execution::Auto,
            Runs::Local => Execution::Local,
            Runs::Spawn => Execution::Spawn,
        });
    if let Some(limit) = spec.run_limit_ms {
        registration = registration.run_limit(Duration::from_millis(limit));
    }
    if let Some(limit) = spec.message_limit_bytes {
        registration = registration.message_limit_bytes(limit);
    }
    if let Some(limit) = spec.max_in_flight {
        registration = registration.max_in_flight(limit);
    }
    registration
}

fn kind(spec: &TaskSpec, find: &FindWorld) -> Registration {
    let (find, spec) = (Arc::clone(find), spec.clone());
    let streams = matches!(
        spec.does,
        Does::Nothing | Does::Reject | Does::Digest | Does::First
    );
    if streams || spec.reads != Reads::Whole {
        return Registration::task_function(Reading { find, spec });
    }
    match spec.runs {
        Runs::Async | Runs::Local | Runs::Spawn => {
            Registration::task(move |context: TaskContext, message| {
                run(find(&context.client()), spec.clone(), context, message)
            })
        }
        Runs::Blocking => Registration::blocking(move |context, message| {
            block(&find(&context.client()), &spec, &context, &message)
        }),
    }
}

/// How a run function ends, and what it returns.
type End = (RunEnd, Result<Response, TaskError>);

/// Reports a run function's start, and by its drop its end.
struct Run {
    world: World,
    run: u32,
    how: RunEnd,
}

impl Run {
    fn start(world: &World, code: u8, id: u32) -> Self {
        let run = world.next_run();
        world.record(What::RunStarted { run, id, code });
        Self {
            world: world.clone(),
            run,
            how: RunEnd::Dropped,
        }
    }

    /// The run function returns this.
    fn end(mut self, (how, returned): End) -> Result<Response, TaskError> {
        self.how = how;
        if how == RunEnd::Panicked {
            // Unlike `panic!`, it leaves the error output alone.
            std::panic::resume_unwind(Box::new("it was asked to panic"));
        }
        returned
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let (run, how) = (self.run, self.how);
        self.world.record(What::RunEnded { run, how });
    }
}

async fn run(
    world: World,
    spec: TaskSpec,
    context: TaskContext,
    message: Bytes,
) -> Result<Response, TaskError> {
    let run = Run::start(&world, spec.code, context.id().0);
    let number = run.run;
    if let Some(id) = spec.cancels {
        world.called(Call::Cancel { id }, || {
            context.client().cancel(TaskId(id));
            Returned::Nothing
        });
    }
    let end = match spec.does {
        Does::Scripted => {
            let how = world.run_end(context.id().0).await;
            scripted(&world, (number, context.id().0), how)
        }
        does => demo(&world, does, number, &context, message).await,
    };
    run.end(end)
}

/// What a scripted task returns for its script's word.
fn scripted(world: &World, (run, id): (u32, u32), how: RunEnd) -> End {
    let returned = match how {
        RunEnd::Whole { bytes } => Ok(pattern(bytes).into()),
        RunEnd::Streamed { bytes, then } => Ok(Response::stream(Body::new(
            world.clone(),
            (run, id),
            bytes,
            then,
        ))),
        RunEnd::Coded { code } => Err(TaskError::code_only(ErrorCode(code))),
        RunEnd::Result | RunEnd::Uncoded | RunEnd::Panicked | RunEnd::Dropped => {
            Err(TaskError::fatal("it was asked to break"))
        }
    };
    (how, returned)
}

fn result(bytes: impl Into<Response>) -> End {
    (RunEnd::Result, Ok(bytes.into()))
}

fn coded(code: u8) -> End {
    let error = TaskError::code_only(ErrorCode(code));
    (RunEnd::Coded { code }, Err(error))
}

fn order(context: &TaskContext) -> ByteOrder {
    context.client().byte_order()
}

/// A message of section 11 that begins with a number, and its rest.
fn with_number(message: &Bytes, order: ByteOrder) -> Option<(u32, Bytes)> {
    let number = message.first_chunk::<4>()?;
    Some((order.decode_u32(*number), message.slice(4..)))
}

async fn demo(world: &World, does: Does, run: u32, context: &TaskContext, message: Bytes) -> End {
    let number = with_number(&message, order(context));
    let sleep = |ms: u32| world.sleep(Duration::from_millis(ms.into()));
    match does {
        Does::Echo => result(message),
        Does::Fail => coded(message.first().copied().unwrap_or(1)),
        Does::Panic => (RunEnd::Panicked, Ok(().into())),
        Does::Break => (
            RunEnd::Uncoded,
            Err(TaskError::fatal("it was asked to break")),
        ),
        Does::Tasks => {
            let order = order(context);
            let ids = context.client().tasks().into_iter();
            result(
                ids.flat_map(|id| order.encode_u32(id.0))
                    .collect::<Vec<_>>(),
            )
        }
        Does::Sleep | Does::Tidy | Does::Produce | Does::Tear => {
            let Some((number, rest)) = number else {
                return coded(1);
            };
            let body = |then| streamed(world, (run, context.id().0), number as usize, then);
            match does {
                Does::Produce => return body(BodyEnd::Whole),
                Does::Tear => return body(BodyEnd::Torn),
                Does::Sleep => {
                    sleep(number).await;
                    return result(rest);
                }
                _ => {}
            }
            tokio::select! {
                biased;
                () = context.cancelled() => result("tidied"),
                () = sleep(number) => result("done"),
            }
        }
        Does::Nothing
        | Does::Reject
        | Does::Digest
        | Does::First
        | Does::Block
        | Does::Scripted => unreachable!("{does:?} is no future of its message alone"),
    }
}

fn streamed(world: &World, task: (u32, u32), bytes: usize, then: BodyEnd) -> End {
    let body = Response::reader(Body::new(world.clone(), task, bytes, then));
    (RunEnd::Streamed { bytes, then }, Ok(body))
}

/// A run function on a thread, or what passes for one.
fn block(
    world: &World,
    spec: &TaskSpec,
    context: &TaskContext,
    message: &Bytes,
) -> Result<Response, TaskError> {
    let id = context.id().0;
    let run = Run::start(world, spec.code, id);
    let shared = world.clone();
    let end = match spec.does {
        Does::Scripted => {
            let how = block_on(async move { shared.run_end(id).await });
            scripted(world, (run.run, id), how)
        }
        _ => match with_number(message, order(context)) {
            None => coded(1),
            Some((ms, _)) => {
                block_on(async move { shared.sleep(Duration::from_millis(ms.into())).await });
                result("done")
            }
        },
    };
    run.end(end)
}

/// A task function that reads its message itself.
struct Reading {
    find: FindWorld,
    spec: TaskSpec,
}

/// Reports a task function's start, and by its drop its end.
struct Function {
    world: World,
    id: u32,
    how: FunctionEnd,
    read: Vec<u8>,
}

impl Function {
    fn start(world: &World, request: &Request) -> Self {
        let (id, code) = (request.id().0, request.code().0);
        world.record(What::FunctionStarted { id, code });
        Self {
            world: world.clone(),
            id,
            how: FunctionEnd::Dropped,
            read: Vec::new(),
        }
    }

    async fn read_one(&mut self, message: &mut MessageReader) {
        self.read.extend(message.read_u8().await.ok());
    }

    async fn read_all(&mut self, message: &mut MessageReader) {
        while let Some(chunk) = message.chunk().await {
            self.read.extend(chunk);
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.world.record(What::FunctionEnded {
            id: self.id,
            how: self.how,
            read: Some(std::mem::take(&mut self.read).into()),
        });
    }
}

impl TaskFunction for Reading {
    async fn read(
        &self,
        request: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let world = (self.find)(&request.client());
        let mut function = Function::start(&world, &request);
        match (self.spec.does, self.spec.reads) {
            (Does::Nothing, _) => {
                function.how = FunctionEnd::Nothing;
                Ok(Task::nothing())
            }
            (Does::Reject, _) => {
                function.how = FunctionEnd::Failed;
                Err("it was asked to reject".into())
            }
            (Does::First, _) => {
                function.read_one(message).await;
                Ok(self.returns(function, result))
            }
            (Does::Digest, _) => {
                function.read_all(message).await;
                Ok(self.returns(function, |read| result(Sha256::digest(&read).to_vec())))
            }
            (_, Reads::Panics) => {
                function.read_one(message).await;
                function.how = FunctionEnd::Panicked;
                std::panic::resume_unwind(Box::new("it was asked to panic"));
            }
            (_, Reads::Dawdles) => {
                function.read_one(message).await;
                std::future::pending().await
            }
            (_, Reads::Whole | Reads::Nothing) => {
                function.how = FunctionEnd::Task;
                let spec = self.spec.clone();
                Ok(Task::run(move |context| {
                    run(world, spec, context, Bytes::new())
                }))
            }
        }
    }
}

impl Reading {
    /// A run function that returns at once what follows from what was read.
    fn returns(
        &self,
        mut function: Function,
        end: impl FnOnce(Vec<u8>) -> End + Send + 'static,
    ) -> Task {
        function.how = FunctionEnd::Task;
        let (read, world, code) = (
            function.read.clone(),
            function.world.clone(),
            self.spec.code,
        );
        Task::run(move |context| at_once(world, code, context, move || end(read)))
    }
}

async fn at_once(
    world: World,
    code: u8,
    context: TaskContext,
    end: impl FnOnce() -> End + Send,
) -> Result<Response, TaskError> {
    Run::start(&world, code, context.id().0).end(end())
}

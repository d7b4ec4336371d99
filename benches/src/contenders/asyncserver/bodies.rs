//! Long messages, both ways: streamed, and as a whole.

use asyncserver::server::{
    Execution, MessageReader, Registration, Request, Response, ServerBuilder, Task, TaskFunction,
    TaskFunctionError,
};
use bytes::Bytes;
use futures_util::stream;

use crate::handler::{COUNT, COUNT_WHOLE, PRODUCE, PRODUCE_WHOLE};
use crate::long_message::{pieces, whole_body};

pub(super) fn register(builder: ServerBuilder, execution: Execution) -> ServerBuilder {
    let count = Registration::task_function(Count);
    let count_whole =
        Registration::task(async |_, message: Bytes| Ok((message.len() as u64).to_be_bytes()));
    let produce = Registration::task(async |_, message: Bytes| {
        let pieces = pieces(asked(&message)).map(Ok);
        Ok(Response::stream(stream::iter(pieces)))
    });
    let produce_whole =
        Registration::task(async |_, message: Bytes| Ok(whole_body(asked(&message))));
    builder
        .register(COUNT, "count", count.execution(execution))
        .register(COUNT_WHOLE, "count whole", count_whole.execution(execution))
        .register(PRODUCE, "produce", produce.execution(execution))
        .register(
            PRODUCE_WHOLE,
            "produce whole",
            produce_whole.execution(execution),
        )
}

/// Takes the message as it comes, and answers with its length.
struct Count;

impl TaskFunction for Count {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let mut length = 0_u64;
        while let Some(chunk) = message.chunk().await {
            length += chunk.len() as u64;
        }
        Ok(Task::run(async move |_| Ok(length.to_be_bytes())))
    }
}

/// How long a body the request asks for.
fn asked(message: &[u8]) -> usize {
    let length = message.try_into().expect("eight bytes");
    u64::from_be_bytes(length) as usize
}

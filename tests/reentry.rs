//! A task's own code may end its own client, wherever it is called.

mod wire_client;

use std::task::Poll;
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::TaskCode;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{sleep, timeout};
use wire_client::*;

/// The code of the registration that a test is about.
const TESTED: u8 = 3;
const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Local, Execution::Spawn];

type End = fn(&ClientHandle);

const ENDS: [End; 5] = [
    ClientHandle::close,
    ClientHandle::cancel_all,
    |client| client.disconnect(Duration::ZERO),
    |client| client.disconnect(Duration::MAX),
    |client| client.server().disconnect(Duration::from_secs(1)),
];

/// Ends its client when it is dropped.
struct AtDrop(ClientHandle, End);

impl Drop for AtDrop {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}

/// Every place in which a task's code runs.
fn registrations(end: End) -> Vec<(&'static str, Registration)> {
    let task_function = reading(move |request, _| {
        Box::pin(async move {
            end(&request.client());
            Ok(Task::run(async |_| Ok("done")))
        })
    });
    let maker = Registration::task(move |context: TaskContext, _| {
        end(&context.client());
        async { Ok("done") }
    });
    let first_poll = Registration::task(move |context: TaskContext, _| async move {
        end(&context.client());
        Ok("done")
    });
    let waits = Registration::task(move |context: TaskContext, _| async move {
        end(&context.client());
        sleep(ms(10)).await;
        Ok("done")
    });
    let destructor = Registration::task(move |context: TaskContext, _| {
        let at_drop = AtDrop(context.client(), end);
        async move {
            let _at_drop = &at_drop;
            let done: Result<_, TaskError> = Ok("done");
            done
        }
    });
    let body = Registration::task(move |context: TaskContext, _| async move {
        let mut pieces = 0;
        let body = stream::poll_fn(move |_| {
            end(&context.client());
            pieces += 1;
            let piece = Bytes::from(vec![7; 1000]);
            Poll::Ready((pieces < 100).then_some(Ok::<_, TaskError>(piece)))
        });
        Ok(Response::stream(body))
    });
    vec![
        ("task function", task_function),
        ("maker", maker),
        ("first poll", first_poll),
        ("waits", waits),
        ("destructor", destructor),
        ("body", body),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_task_may_end_its_own_client_from_anywhere() {
    for execution in EXECUTIONS {
        for (number, end) in ENDS.into_iter().enumerate() {
            for (place, tested) in registrations(end) {
                let tested = tested.execution(execution);
                let server = with_echo_and_sleep(Server::builder())
                    .register(TaskCode(TESTED), "tested", tested)
                    .build();
                let mut client = WireClient::connect(&server);
                let both = [request(SLEEP, 1, &[0; 100]), request(TESTED, 2, b"x")].concat();
                client.send(&both).await;
                sleep(ms(200)).await;
                let report = timeout(ms(3000), async {
                    client.rest_until_silence(ms(100)).await;
                    client.finish().await
                });
                let report = report.await;
                let case = format!("end {number} in a {place} under {execution:?}");
                let report = report.unwrap_or_else(|_| panic!("no {case}"));
                assert!(report.counts.accepted <= 2, "{case}: {report:?}");
                sleep(ms(1000)).await;
                assert_eq!(
                    (server.task_count(), server.client_count()),
                    (0, 0),
                    "{case}"
                );
            }
        }
    }
}

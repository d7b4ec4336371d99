//! Run limits (PROTOCOL T12).

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};
use wire_client::*;

/// The code of the registration that a test is about.
const TESTED: u8 = 3;
const SECOND: Duration = Duration::from_secs(1);
const COOPERATE: OnCancel = OnCancel::Cooperate { grace: SECOND };

fn server(tested: Registration) -> Server {
    Server::builder()
        .register(TaskCode(TESTED), "tested", tested)
        .build()
}

fn sleeper() -> Registration {
    Registration::task(async |_, _| {
        sleep(SECOND * 10).await;
        Ok("slept")
    })
}

/// Once told to end, it takes as many milliseconds as its message has bytes.
fn tidy() -> Registration {
    Registration::task(async |context, message: Bytes| {
        context.cancelled().await;
        sleep(ms(message.len() as u64)).await;
        Ok("tidied")
    })
    .on_cancel(COOPERATE)
}

#[tokio::test(start_paused = true)]
async fn t12_a_run_limit_is_a_cancel_that_answers_deadline() {
    let limit = ms(200);
    for (tested, expected, after) in [
        (sleeper(), Answer::Error(1, ErrorCode::DEADLINE), 200),
        (tidy(), ok(1, "tidied"), 300),
        (
            sleeper().on_cancel(COOPERATE),
            Answer::Error(1, ErrorCode::DEADLINE),
            1200,
        ),
    ] {
        let mut client = WireClient::connect(&server(tested.run_limit(limit)));
        let began = Instant::now();
        client.ask(TESTED, 1, &[0; 100]).await;
        client.expect(expected).await;
        assert_eq!(began.elapsed(), ms(after));
    }
}

#[tokio::test(start_paused = true)]
async fn t12_a_run_limit_ends_with_the_beginning_of_the_response() {
    let body = |begin_after| {
        Registration::task(async |_, _| {
            let some = futures_util::stream::iter(0..4).then(async |_| {
                sleep(ms(90)).await;
                Ok(vec![7; 100])
            });
            Ok(Response::stream(some))
        })
        .run_limit(ms(200))
        .begin_after_bytes(begin_after)
    };
    let mut client = WireClient::connect(&server(body(150)));
    client.ask(TESTED, 1, b"").await;
    client.expect(ok(1, vec![7; 400])).await;
    let mut client = WireClient::connect(&server(body(250)));
    client.ask(TESTED, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode::DEADLINE)).await;
}

#[tokio::test(start_paused = true)]
async fn t12_the_deadline_is_told_until_a_cancel() {
    let tells = Registration::task(async |context: TaskContext, _| {
        let left = context.deadline().unwrap() - Instant::now().into_std();
        context.cancelled().await;
        assert!(context.deadline().is_none());
        Ok(left.as_millis().to_string())
    });
    let tells = tells.run_limit(ms(200)).on_cancel(COOPERATE);
    let mut client = WireClient::connect(&server(tells));
    client.ask(TESTED, 1, b"").await;
    client.expect(ok(1, "200")).await;
}

#[tokio::test(start_paused = true)]
async fn limits_and_graces_of_no_time_and_of_all_time_are_taken_as_they_are() {
    let never = OnCancel::Cooperate {
        grace: Duration::MAX,
    };
    let at_once = OnCancel::Cooperate {
        grace: Duration::ZERO,
    };
    let deadline = Answer::Error(1, ErrorCode::DEADLINE);
    for (tested, expected, after) in [
        (sleeper().run_limit(Duration::ZERO), deadline.clone(), 0),
        (sleeper().run_limit(Duration::MAX), ok(1, "slept"), 10_000),
        (
            sleeper().run_limit(SECOND).on_cancel(never),
            ok(1, "slept"),
            10_000,
        ),
        (
            sleeper().run_limit(SECOND).on_cancel(at_once),
            deadline,
            1000,
        ),
    ] {
        let mut client = WireClient::connect(&server(tested));
        let began = Instant::now();
        client.ask(TESTED, 1, b"").await;
        client.expect(expected).await;
        assert_eq!(began.elapsed(), ms(after));
    }
}

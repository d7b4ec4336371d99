//! Signs of life and Negotiate (PROTOCOL E3, E5).

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, TaskCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use crate::wire_client::*;
use crate::world::*;

const PROCESSING: u8 = 2;

/// PROTOCOL E3: rounding up the longest of all durations overflowed.
#[tokio::test(start_paused = true)]
async fn negotiate_states_an_endless_idle_limit_as_none() {
    let server = server().timeouts(timeouts(|timeouts| {
        timeouts.wait = Duration::MAX;
        timeouts.processing_interval = ms(1500);
    }));
    let mut client = WireClient::connect(&server.build());
    client.ask(252, 1, &[1, 0, 0, 0, 3]).await;
    let Some(Answer::Ok(1, answer)) = client.answer().await else {
        panic!("no answer")
    };
    assert_eq!(answer[13..21], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2]);
}

/// E3: a server that takes only short messages did not take it either.
#[tokio::test(start_paused = true)]
async fn negotiate_is_taken_below_its_own_length_of_messages() {
    let server = server().limits(limits(|limits| limits.message_limit_bytes = 2));
    let mut client = WireClient::connect(&server.build());
    client.negotiate_for(PROCESSING).await;
}

fn with_interval(interval: Duration) -> ServerBuilder {
    server().timeouts(timeouts(|timeouts| {
        timeouts.processing_interval = interval;
        timeouts.write = Duration::from_secs(100);
        timeouts.task_function = Duration::from_secs(100);
    }))
}

/// The turn never came to an end.
#[test]
fn a_processing_interval_of_none_comes_to_an_end() {
    within_real_time(async {
        let server = with_interval(Duration::ZERO)
            .task(TaskCode(ODD), "sleeps", async |_, message: Bytes| {
                sleep(ms(50)).await;
                Ok(message)
            })
            .build();
        let mut client = WireClient::connect(&server);
        client.negotiate_for(PROCESSING).await;
        client.ask(ODD, 7, b"x").await;
        let mut signs = 0;
        let answer = loop {
            match client.answer().await {
                Some(Answer::Processing(7)) => signs += 1,
                answer => break answer,
            }
        };
        assert_eq!(answer, Some(ok(7, "x")));
        assert!((1..=51).contains(&signs), "{signs}");
    });
}

/// At most one per task is unsent; they piled up behind a body.
#[tokio::test(start_paused = true)]
async fn one_sign_of_life_of_a_task_waits_behind_a_body() {
    let body = Registration::task(async |_, _: Bytes| {
        let pieces = futures_util::stream::iter([0, 5000, 0]).then(|millis| async move {
            sleep(ms(millis)).await;
            Ok(Bytes::from_static(b"abc"))
        });
        Ok(Response::stream(pieces))
    });
    let server = with_interval(Duration::from_secs(2))
        .register(TaskCode(ODD), "body", body.begin_after_bytes(1))
        .build();
    let mut client = WireClient::connect(&server);
    client.negotiate_for(PROCESSING).await;
    let began = Instant::now();
    client.ask(MINUTE, 6, b"").await;
    client.ask(ODD, 7, b"").await;
    client.expect(ok(7, "abcabcabc")).await;
    client.expect(Answer::Processing(6)).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    // That was queued at 2 s, and the next one is overdue: it follows at once.
    client.expect(Answer::Processing(6)).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    client.expect(Answer::Processing(6)).await;
    assert_eq!(began.elapsed().as_secs(), 7);
}

/// Goes on for so long when its message has ended.
struct Dawdles(Duration);

impl TaskFunction for Dawdles {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        while message.chunk().await.is_some() {}
        sleep(self.0).await;
        Ok(Task::run(async |_| {
            sleep(ms(2300)).await;
            Ok("done")
        }))
    }
}

/// Accepted, it gets one each interval: there was only the first one.
#[tokio::test(start_paused = true)]
async fn signs_of_life_go_on_while_a_task_function_does() {
    let server = with_interval(Duration::from_secs(1))
        .task_function(TaskCode(ODD), "dawdles", Dawdles(ms(2500)))
        .build();
    let mut client = WireClient::connect(&server);
    client.negotiate_for(PROCESSING).await;
    client.ask(ODD, 7, b"abc").await;
    for _ in 0..4 {
        client.expect(Answer::Processing(7)).await;
    }
    client.expect(ok(7, "done")).await;
}

/// What was stuck and answered gets no more of them (T13).
#[tokio::test(start_paused = true)]
async fn a_task_that_is_stuck_gives_no_sign_of_life() {
    let threads = NoThreads::default();
    let (started, is_started) = mpsc::channel();
    let (end, is_over) = mpsc::channel::<()>();
    let is_over = Mutex::new(is_over);
    let blocks = Registration::blocking(move |_, _| {
        started.send(()).expect("it is waited for");
        let ended = is_over.lock().expect("no panic").recv();
        ended.expect("an end");
        Ok(())
    });
    let server = with_interval(ms(300))
        .executor(threads.clone())
        .register(TaskCode(ODD), "blocks", blocks)
        .build();
    let mut client = WireClient::connect(&server);
    client.negotiate_for(PROCESSING).await;
    client.ask(ODD, 7, b"").await;
    client.expect_silence(ms(200)).await;
    let function = threads.take_all().remove(0);
    let thread = std::thread::spawn(function);
    is_started.recv().expect("it has started");
    client.ask(251, 7, b"").await;
    for _ in 0..3 {
        client.expect(Answer::Processing(7)).await;
    }
    client.expect(Answer::Error(7, ErrorCode::CANCELLED)).await;
    client.expect_silence(Duration::from_secs(5)).await;
    end.send(()).expect("it runs");
    thread.join().expect("no panic");
    client.expect_silence(ms(1)).await;
    assert_eq!(server.task_count(), 0);
}

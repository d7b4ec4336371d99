//! Task functions and what they return (PROTOCOL T1–T6).

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ErrorCode, Features, TaskCode};
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// The code of the registration that a test is about.
const TESTED: u8 = 2;

fn server(tested: Registration) -> Server {
    builder(tested).build()
}

fn builder(tested: Registration) -> ServerBuilder {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(TESTED), "tested", tested)
}

/// Notes when it begins and when it has read its message.
fn noting(notes: &Notes) -> Registration {
    let notes = notes.clone();
    reading(move |request, message| {
        let notes = notes.clone();
        Box::pin(async move {
            notes.note(format!("{} begins", request.id()));
            while message.chunk().await.is_some() {}
            sleep(ms(10)).await;
            notes.note(format!("{} returns", request.id()));
            Ok(Task::run(async |_| Ok(())))
        })
    })
}

/// Reads one byte, and answers with it.
fn first() -> Registration {
    reading(|_, message| {
        Box::pin(async move {
            let first = message.read_u8().await?;
            Ok(Task::run(async move |_| Ok([first])))
        })
    })
}

fn failing() -> Registration {
    reading(|_, message| {
        Box::pin(async move {
            message.read_u8().await?;
            Err("no such file".into())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn t1_task_functions_are_called_one_at_a_time_and_in_order() {
    let notes = Notes::default();
    let mut client = WireClient::connect(&server(noting(&notes)));
    for id in [3, 1, 2] {
        client.ask(TESTED, id, b"message").await;
    }
    for id in [3, 1, 2] {
        client.expect(ok(id, "")).await;
    }
    let expected = [
        "3 begins",
        "3 returns",
        "1 begins",
        "1 returns",
        "2 begins",
        "2 returns",
    ];
    assert_eq!(notes.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn t1_task_functions_of_two_clients_run_side_by_side() {
    let notes = Notes::default();
    let server = server(noting(&notes));
    let (mut one, mut other) = (WireClient::connect(&server), WireClient::connect(&server));
    one.ask(TESTED, 1, b"").await;
    other.ask(TESTED, 2, b"").await;
    one.expect(ok(1, "")).await;
    other.expect(ok(2, "")).await;
    assert_eq!(notes.take()[..2], ["1 begins", "2 begins"]);
}

#[tokio::test(start_paused = true)]
async fn t1_responses_do_not_wait_for_a_task_function() {
    let mut client = WireClient::connect(&server(noting(&Notes::default())));
    client.ask(ECHO, 1, b"before").await;
    client.send(&request(TESTED, 2, b"message")[..8]).await;
    client.expect(ok(1, "before")).await;
}

#[tokio::test(start_paused = true)]
async fn t2_what_is_left_unread_is_discarded() {
    let mut client = WireClient::connect(&server(first()));
    for (id, length) in [(1, 1), (2, 2), (3, 600), (4, 200_000)] {
        client.ask(TESTED, id, &vec![b'x'; length]).await;
        client.expect(ok(id, "x")).await;
    }
    client.ask(ECHO, 5, b"next").await;
    client.expect(ok(5, "next")).await;
}

#[tokio::test(start_paused = true)]
async fn t2_a_reader_sees_its_own_message_and_its_end() {
    let whole = reading(|_, message| {
        Box::pin(async move {
            let mut read = Vec::new();
            message.read_to_end(&mut read).await?;
            assert!(message.chunk().await.is_none(), "the end stays the end");
            Ok(Task::run(async move |_| Ok(read)))
        })
    });
    let mut client = WireClient::connect(&server(whole));
    for (id, length) in [(1, 0), (2, 1), (3, 255), (4, 256), (5, 150_000)] {
        client.ask(TESTED, id, &vec![7; length]).await;
        client.expect(ok(id, vec![7; length])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t2_the_next_request_waits_for_the_task_function_to_return() {
    let notes = Notes::default();
    let mut client = WireClient::connect(&server(noting(&notes)));
    client.ask(TESTED, 1, b"message").await;
    client.ask(250, 2, b"").await;
    client.ask(99, 3, b"").await;
    client.expect_silence(ms(9)).await;
    client.expect(ok(1, "")).await;
    client.expect(ok(2, "")).await;
    client
        .expect(Answer::Error(3, ErrorCode::UNKNOWN_TASK))
        .await;
}

#[tokio::test(start_paused = true)]
async fn t3_the_run_function_starts_once_the_request_is_accepted() {
    let mut client = WireClient::connect(&server(first()));
    let bytes = request(TESTED, 1, b"xyz");
    client.send(&bytes[..7]).await;
    client.expect_silence(ms(100)).await;
    client.send(&bytes[7..9]).await;
    client.expect_silence(ms(100)).await;
    client.send(&bytes[9..]).await;
    client.expect(ok(1, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn t3_run_data_can_be_looked_up_until_the_run_function_has_ended() {
    let with_data = reading(|_, _| {
        Box::pin(async {
            let body = async |_| {
                sleep(ms(10)).await;
                // Its turn never comes: the run function has ended, the task lives.
                Ok(Response::stream(futures_util::stream::pending::<
                    Result<Bytes, TaskError>,
                >()))
            };
            Ok(Task::run(body).with_run_data(String::from("progress")))
        })
    });
    let server = server(with_data);
    let mut client = WireClient::connect(&server);
    client.ask(TESTED, 1, b"").await;
    let handle = only_client(&server).await;
    assert_eq!(*handle.run_data::<String>(id(1)).unwrap(), "progress");
    assert!(handle.run_data::<u8>(id(1)).is_none(), "of another type");
    assert!(handle.run_data::<String>(id(2)).is_none());
    sleep(ms(20)).await;
    assert_eq!(handle.tasks(), [id(1)]);
    assert!(handle.run_data::<String>(id(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn t3_an_error_of_a_task_function_ends_the_connection_and_is_not_accepted() {
    let whole = request(TESTED, 7, b"xyz");
    // Wherever the request's end is: not come, come together, come before.
    for bytes in [&whole[..8], &whole[..]] {
        let server = server(failing());
        let mut client = WireClient::connect(&server);
        client.ask(ECHO, 1, b"x").await;
        client.expect(ok(1, "x")).await;
        client.send(bytes).await;
        let report = client.end().await;
        let expected = EndReason::TaskFunction {
            id: id(7),
            code: TaskCode(TESTED),
            error: "no such file".into(),
        };
        assert_eq!(report.reason, expected);
        assert_eq!(report.counts.accepted, 1);
        assert!(report.interrupted.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn t3_a_goodbye_does_not_count_a_request_whose_task_function_failed() {
    let mut client = WireClient::connect(&server(failing()));
    client.negotiate(Features::GOODBYE).await;
    client.ask(TESTED, 7, b"xyz").await;
    client.expect(Answer::Goodbye(1)).await;
    assert_eq!(client.end().await.counts.accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn t3_a_request_that_a_goodbye_has_counted_is_interrupted_when_its_task_function_fails() {
    let late = reading(|_, message| {
        Box::pin(async move {
            while message.chunk().await.is_some() {}
            sleep(ms(50)).await;
            Err("too late".into())
        })
    });
    let server = server(late);
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::GOODBYE).await;
    client.ask(TESTED, 7, b"xyz").await;
    settle().await;
    server.disconnect(Duration::from_secs(5));
    client.expect(Answer::Goodbye(2)).await;
    let report = client.end().await;
    assert!(matches!(report.reason, EndReason::TaskFunction { .. }));
    assert_eq!(report.counts.accepted, 2);
    assert_eq!(report.interrupted.len(), 1);
    assert_eq!(report.interrupted[0].id, id(7));
    assert_eq!(report.interrupted[0].state, TaskState::Receiving);
}

#[tokio::test(start_paused = true)]
async fn t3_a_task_function_that_must_not_go_on_is_dropped_where_it_waits() {
    type End = fn(&ClientHandle);
    let ends: [(&str, End); 3] = [
        ("cancel", |client| client.cancel(id(1))),
        ("disconnect", |client| client.disconnect(Duration::MAX)),
        ("close", ClientHandle::close),
    ];
    for (name, end) in ends {
        let notes = Notes::default();
        let at_drop = notes.clone();
        let waits = reading(move |_, message| {
            let at_drop = at_drop.on_drop("dropped");
            Box::pin(async move {
                let _at_drop = at_drop;
                while message.chunk().await.is_some() {}
                Err("it saw a made-up end".into())
            })
        });
        let server = server(waits);
        let mut client = WireClient::connect(&server);
        client.send(&request(TESTED, 1, b"abc")[..7]).await;
        let handle = only_client(&server).await;
        assert!(notes.take().is_empty());
        end(&handle);
        settle().await;
        assert_eq!(notes.take(), ["dropped"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn t4_unknown_codes_are_answered_and_the_connection_goes_on() {
    let mut client = WireClient::connect(&server(first()));
    for (id, code) in [(1, 0), (2, 249), (3, 253), (4, 254), (5, 255)] {
        client.ask(code, id, &[9; 1000]).await;
        client
            .expect(Answer::Error(id, ErrorCode::UNKNOWN_TASK))
            .await;
    }
    client.ask(ECHO, 6, b"goes on").await;
    client.expect(ok(6, "goes on")).await;
}

#[tokio::test(start_paused = true)]
async fn t5_nothing_is_answered_before_the_requests_end() {
    for code in [ECHO, 99, 250, 252] {
        let mut client = WireClient::connect(&server(first()));
        let bytes = request(code, 1, b"message");
        client.send(&bytes[..bytes.len() - 1]).await;
        client.expect_silence(ms(1000)).await;
        client.send(&bytes[bytes.len() - 1..]).await;
        assert!(client.answer().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn t6_run_functions_end_in_any_order() {
    let sleeps = Registration::task(async |_, message: Bytes| {
        sleep(ms(u64::from(message[0]))).await;
        Ok(message)
    });
    let mut client = WireClient::connect(&server(sleeps));
    for (id, time) in [(1, 30), (2, 10), (3, 20)] {
        client.ask(TESTED, id, &[time]).await;
    }
    for (id, time) in [(2, 10), (3, 20), (1, 30)] {
        client.expect(ok(id, vec![time])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t6_no_run_function_is_answered_with_the_empty_message() {
    let none = reading(|_, _| Box::pin(async { Ok(Task::nothing().with_run_data(1_u8)) }));
    let mut client = WireClient::connect(&server(none));
    client.ask(TESTED, 1, b"read by nobody").await;
    client.expect(ok(1, "")).await;
}

#[tokio::test(start_paused = true)]
async fn t8_an_error_with_a_code_is_answered_and_one_without_ends_the_connection() {
    let fails = Registration::task(async |_, message: Bytes| match message.first() {
        Some(code) => Err::<(), _>(TaskError::code_only(ErrorCode(*code))),
        None => Err(TaskError::fatal("the disk is gone")),
    });
    let mut client = WireClient::connect(&server(fails));
    for code in [0, 249, 250, 255] {
        client.ask(TESTED, 1, &[code]).await;
        client.expect(Answer::Error(1, ErrorCode(code))).await;
    }
    client.ask(TESTED, 9, b"").await;
    let report = client.end().await;
    let expected = EndReason::RunFunction {
        id: id(9),
        code: TaskCode(TESTED),
        error: "the disk is gone".into(),
    };
    assert_eq!(report.reason, expected);
    assert_eq!(report.interrupted[0].id, id(9));
}

/// A client of which the header comes at once, and the message `late`.
async fn late_client(tested: Registration, late: Duration) -> WireClient {
    let server = builder(tested)
        .timeouts(timeouts(|limits| limits.task_function = ms(1000)))
        .build();
    let mut client = WireClient::connect(&server);
    let request = request(TESTED, 1, b"x");
    let (header, message) = request.split_at(5);
    client.send(header).await;
    client.expect_silence(late).await;
    client.send(message).await;
    client
}

#[tokio::test(start_paused = true)]
async fn l14_a_client_that_is_late_costs_a_task_function_no_time() {
    let mut client = late_client(first(), ms(3000)).await;
    client.expect(ok(1, "x")).await;
}

#[tokio::test(start_paused = true)]
async fn l14_a_late_client_lends_no_time_to_a_task_function_that_does_not_ask() {
    let never = reading(|_, _| Box::pin(std::future::pending()));
    let mut client = late_client(never, ms(1500)).await;
    // It was dropped long before the message came: nothing is left to wait for.
    let answer = tokio::time::timeout(ms(100), client.answer()).await;
    let late = Answer::Error(1, ErrorCode::DEADLINE);
    assert_eq!(answer.expect("dropped in time"), Some(late));
}

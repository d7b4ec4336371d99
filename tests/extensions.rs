//! Reserved codes and extensions (PROTOCOL E1–E7).

mod wire_client;

use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ByteOrder, ErrorCode, Features, Negotiated, TaskCode};
use tokio::time::{Instant, sleep};
use wire_client::*;

const KEEP_ALIVE: u8 = 250;
const NEGOTIATE: u8 = 252;
const BOTH: Features = Features::SUPPORTED;
const SECOND: Duration = Duration::from_secs(1);

fn builder(set: impl FnOnce(&mut Limits, &mut Timeouts)) -> ServerBuilder {
    let (mut limits, mut timeouts) = (Limits::default(), Timeouts::default());
    timeouts.processing_interval = ms(100);
    set(&mut limits, &mut timeouts);
    with_echo_and_sleep(Server::builder().limits(limits).timeouts(timeouts))
}

fn server() -> Server {
    builder(|_, _| ()).build()
}

#[tokio::test(start_paused = true)]
async fn e1_keep_alive_is_answered_whatever_its_message() {
    let mut client = WireClient::connect(&server());
    for length in [0, 1, 255, 100_000] {
        client.ask(KEEP_ALIVE, 7, &vec![1; length]).await;
        client.expect(ok(7, "")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn e1_keep_alive_takes_no_place() {
    let server = builder(|limits, _| {
        limits.in_flight_limit = 1;
        limits.task_limit = 1;
    })
    .build();
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(KEEP_ALIVE, 2, b"").await;
    client.ask(99, 3, b"").await;
    client.expect(ok(2, "")).await;
    client
        .expect(Answer::Error(3, ErrorCode::UNKNOWN_TASK))
        .await;
    client.expect(ok(1, "slept")).await;
}

#[tokio::test(start_paused = true)]
async fn e3_the_answer_tells_the_limits() {
    let long = Registration::task(async |_, message| Ok(message)).message_limit_bytes(9_000_000);
    let server = builder(|limits, timeouts| {
        limits.in_flight_limit = 77;
        timeouts.wait = ms(1001);
        timeouts.processing_interval = ms(15_000);
    })
    .register(TaskCode(3), "long", long)
    .build();
    let mut client = WireClient::connect(&server);
    let expected = Negotiated {
        version: 1,
        granted: Features::NONE,
        max_in_flight: 77,
        max_message_bytes: 9_000_000,
        idle_limit_s: 2,
        processing_interval_s: 15,
    };
    assert_eq!(client.negotiate(Features::NONE).await, expected);
}

#[tokio::test(start_paused = true)]
async fn e3_what_is_absent_or_does_not_fit_is_the_largest_number() {
    let server = builder(|limits, timeouts| {
        limits.in_flight_limit = usize::MAX;
        limits.message_limit_bytes = usize::MAX;
        timeouts.wait = Duration::from_secs(u64::MAX);
        timeouts.processing_interval = Duration::from_millis((u64::from(u32::MAX) * 1000) + 1);
    })
    .build();
    let mut client = WireClient::connect(&server);
    let answer = client.negotiate(Features::NONE).await;
    let limits = [
        answer.max_in_flight,
        answer.max_message_bytes,
        answer.idle_limit_s,
        answer.processing_interval_s,
    ];
    assert_eq!(limits, [u32::MAX; 4]);
}

#[tokio::test(start_paused = true)]
async fn e3_granted_is_what_was_asked_for_and_is_supported() {
    let mut client = WireClient::connect(&server());
    for (asked, granted) in [(0, 0), (1, 1), (2, 2), (3, 3), (u32::MAX, 3), (4, 0)] {
        let answer = client.negotiate(Features::from_bits(asked)).await;
        assert_eq!(answer.granted, Features::from_bits(granted));
    }
}

#[tokio::test(start_paused = true)]
async fn e3_versions_and_lengths() {
    let mut client = WireClient::connect(&server());
    let refused = [&[][..], &[1], &[1, 0, 0, 0], &[0, 0, 0, 0, 1]];
    for message in refused {
        client.ask(NEGOTIATE, 1, message).await;
        client.expect(Answer::Error(1, ErrorCode::MALFORMED)).await;
    }
    for message in [
        &[1, 0, 0, 0, 1][..],
        &[2, 0, 0, 0, 1],
        &[255, 0, 0, 0, 1, 9, 9, 9],
    ] {
        client.ask(NEGOTIATE, 1, message).await;
        let Some(Answer::Ok(1, body)) = client.answer().await else {
            panic!("{message:?} is refused");
        };
        assert_eq!(body.len(), Negotiated::LENGTH);
        let answer = Negotiated::decode(&body, ByteOrder::Big).unwrap();
        assert_eq!((answer.version, answer.granted), (1, Features::GOODBYE));
    }
}

#[tokio::test(start_paused = true)]
async fn e3_a_malformed_negotiate_changes_nothing() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::GOODBYE).await;
    client.ask(NEGOTIATE, 1, b"").await;
    client.expect(Answer::Error(1, ErrorCode::MALFORMED)).await;
    server.disconnect(SECOND);
    client.expect(Answer::Goodbye(2)).await;
}

#[tokio::test(start_paused = true)]
async fn e3_a_later_negotiate_replaces_what_was_granted() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.negotiate(BOTH).await;
    client.negotiate(Features::NONE).await;
    client.ask(SLEEP, 1, &[0; 300]).await;
    client.expect(ok(1, "slept")).await;
    server.disconnect(SECOND);
    assert_eq!(client.end().await.counts.accepted, 3);
}

#[tokio::test(start_paused = true)]
async fn e4_goodbye_counts_every_request_that_was_accepted() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::GOODBYE).await;
    client.ask(ECHO, 1, b"x").await;
    client.expect(ok(1, "x")).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    client.ask(251, 77, b"").await;
    client.ask(KEEP_ALIVE, 3, b"").await;
    client.ask(99, 4, b"").await;
    client.expect(ok(3, "")).await;
    client
        .expect(Answer::Error(4, ErrorCode::UNKNOWN_TASK))
        .await;
    client.send(&request(ECHO, 5, b"never whole")[..10]).await;
    settle().await;
    server.disconnect(SECOND);
    client.expect(Answer::Goodbye(6)).await;
    client.expect(ok(2, "slept")).await;
    let report = client.end().await;
    assert_eq!((report.counts.accepted, report.counts.cancels), (6, 1));
    assert!(report.interrupted.is_empty());
}

#[tokio::test(start_paused = true)]
async fn e4_goodbye_comes_once_and_only_where_it_is_granted() {
    for granted in [true, false] {
        let server = server();
        let mut client = WireClient::connect(&server);
        let asked = if granted { BOTH } else { Features::PROCESSING };
        client.negotiate(asked).await;
        server.disconnect(SECOND);
        server.disconnect(ms(500));
        if granted {
            client.expect(Answer::Goodbye(1)).await;
        }
        client.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn e4_goodbye_is_sent_by_every_end_that_can_still_write() {
    type End = fn(&mut WireClient, &Server);
    let ends: [(&str, End, bool); 5] = [
        ("disconnect", |_, server| server.disconnect(SECOND), true),
        ("idle", |_, _| (), true),
        (
            "duplicate id",
            |client, _| {
                let twice = [request(SLEEP, 1, &[0; 9]), request(ECHO, 1, b"")].concat();
                assert!(client.try_send(&twice));
            },
            true,
        ),
        (
            "unexpected byte",
            |client, _| {
                assert!(client.try_send(&[ECHO, 0]));
            },
            true,
        ),
        ("close", |_, server| server.clients()[0].close(), false),
    ];
    for (name, end, says_goodbye) in ends {
        let server = builder(|_, timeouts| timeouts.wait = ms(500)).build();
        let mut client = WireClient::connect(&server);
        client.negotiate(Features::GOODBYE).await;
        end(&mut client, &server);
        let answer = client.answer().await;
        assert_eq!(
            matches!(answer, Some(Answer::Goodbye(_))),
            says_goodbye,
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn e4_goodbye_goes_behind_a_response_that_has_begun() {
    let server = server();
    let (reader, writer) = tokio::io::duplex(100_000);
    let reader = std::sync::Mutex::new(Some(reader));
    let slow = Registration::task(move |_, _| {
        let reader = reader.lock().unwrap().take().expect("one request");
        async move { Ok(Response::reader(reader)) }
    });
    server
        .register(TaskCode(3), "slow", slow.begin_after_bytes(1))
        .unwrap();
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::GOODBYE).await;
    client.ask(3, 1, b"").await;
    let mut writer = writer;
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"some")
        .await
        .unwrap();
    settle().await;
    server.disconnect(SECOND * 10);
    sleep(SECOND).await;
    drop(writer);
    client.expect(ok(1, "some")).await;
    client.expect(Answer::Goodbye(2)).await;
}

#[tokio::test(start_paused = true)]
async fn e5_a_task_under_way_gives_a_sign_of_life_each_interval() {
    let mut client = WireClient::connect(&server());
    client.negotiate(Features::PROCESSING).await;
    let began = Instant::now();
    client.ask(SLEEP, 1, &[0; 350]).await;
    for at in [100, 200, 300] {
        client.expect(Answer::Processing(1)).await;
        assert_eq!(began.elapsed(), ms(at));
    }
    client.expect(ok(1, "slept")).await;
    client.expect_silence(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn e5_each_task_has_its_own_interval_from_its_acceptance() {
    let mut client = WireClient::connect(&server());
    client.negotiate(Features::PROCESSING).await;
    let began = Instant::now();
    client.ask(SLEEP, 1, &[0; 400]).await;
    sleep(ms(30)).await;
    // Its header comes long before its end.
    client.send(&request(SLEEP, 2, &[0; 200])[..20]).await;
    sleep(ms(30)).await;
    client.send(&request(SLEEP, 2, &[0; 200])[20..]).await;
    for (id, at) in [(1, 100), (2, 160), (1, 200)] {
        client.expect(Answer::Processing(id)).await;
        assert_eq!(began.elapsed(), ms(at));
    }
}

#[tokio::test(start_paused = true)]
async fn e5_what_is_overdue_when_it_is_granted_is_sent_at_once() {
    let mut client = WireClient::connect(&server());
    client.ask(SLEEP, 1, &[0; 400]).await;
    client.expect_silence(ms(250)).await;
    let began = Instant::now();
    client.negotiate(Features::PROCESSING).await;
    client.expect(Answer::Processing(1)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    client.expect(Answer::Processing(1)).await;
    assert_eq!(began.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn e5_tasks_that_drain_or_are_being_cancelled_still_give_signs_of_life() {
    let server = server();
    let slow = Registration::task(async |context: TaskContext, _| {
        context.cancelled().await;
        sleep(ms(150)).await;
        Ok("tidied")
    });
    let slow = slow.on_cancel(OnCancel::Cooperate { grace: SECOND });
    server.register(TaskCode(3), "slow", slow).unwrap();
    let mut client = WireClient::connect(&server);
    client.negotiate(Features::PROCESSING).await;
    client.ask(3, 1, b"").await;
    settle().await;
    server.disconnect(SECOND * 5);
    client.expect(Answer::Processing(1)).await;
    only_client(&server).await.cancel(id(1));
    client.expect(Answer::Processing(1)).await;
    client.expect(ok(1, "tidied")).await;
}

#[tokio::test(start_paused = true)]
async fn e5_at_most_one_sign_of_life_of_a_task_is_unsent() {
    let mut client = WireClient::connect_with(&server(), 40, ConnectionOptions::default());
    client.negotiate(Features::PROCESSING).await;
    // Fills the pipe: what follows is unsent.
    client.ask(ECHO, 9, &[7; 100]).await;
    client.ask(SLEEP, 1, &[0; 1000]).await;
    sleep(ms(2000)).await;
    client.expect(ok(9, vec![7; 100])).await;
    client.expect(Answer::Processing(1)).await;
    client.expect(ok(1, "slept")).await;
}

#[tokio::test(start_paused = true)]
async fn e5_no_sign_of_life_is_queued_while_too_much_is_unsent() {
    let server = builder(|limits, _| limits.unsent_limit_bytes = 50).build();
    let mut client = WireClient::connect_with(&server, 40, ConnectionOptions::default());
    client.negotiate(Features::PROCESSING).await;
    client.ask(SLEEP, 1, &[0; 1000]).await;
    client.ask(ECHO, 9, &[7; 120]).await;
    sleep(ms(550)).await;
    client.expect(ok(9, vec![7; 120])).await;
    // The one that is overdue comes once there is room again.
    let began = Instant::now();
    for after in [0, 100] {
        client.expect(Answer::Processing(1)).await;
        assert_eq!(began.elapsed(), ms(after));
    }
}

#[tokio::test(start_paused = true)]
async fn e7_reserved_codes_cannot_be_registered() {
    let server = server();
    for code in 250..=255 {
        let code = TaskCode(code);
        let mine = Registration::task(async |_, message| Ok(message));
        assert_eq!(
            server.register(code, "mine", mine).unwrap_err(),
            RegisterError::Reserved { code }
        );
        assert!(server.registration(code).is_none());
        let panics = std::panic::catch_unwind(|| {
            Server::builder().task(code, "mine", async |_, message| Ok(message))
        });
        assert!(panics.is_err());
    }
    assert_eq!(
        server.registered_task_codes(),
        [TaskCode(ECHO), TaskCode(SLEEP)]
    );
}

#[tokio::test(start_paused = true)]
async fn e2_a_cancel_acts_at_its_end_and_has_no_answer_of_its_own() {
    let mut client = WireClient::connect(&server());
    client.ask(SLEEP, 1, &[0; 1000]).await;
    let cancel = request(251, 1, &[7; 300]);
    client.send(&cancel[..cancel.len() - 1]).await;
    client.expect_silence(ms(500)).await;
    client.send(&[0]).await;
    client.expect(Answer::Error(1, ErrorCode::CANCELLED)).await;
    client.expect_silence(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn e2_a_cancels_message_has_the_limit_of_all_messages() {
    let server = builder(|limits, _| limits.message_limit_bytes = 100).build();
    let mut client = WireClient::connect(&server);
    client.ask(251, 1, &[7; 101]).await;
    let reason = client.end().await.reason;
    assert!(
        matches!(reason, EndReason::MessageTooLong { .. }),
        "{reason:?}"
    );
}

//! What a program sees of its clients and does to them; registrations.

mod wire_client;

use std::sync::Arc;
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode, encode_message};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use wire_client::*;

const ECHO: u8 = 1;
/// Sleeps for as many milliseconds as its message has bytes.
const SLEEP: u8 = 2;

fn server() -> Server {
    Server::builder()
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .register(TaskCode(SLEEP), "sleep", slow("slept"))
        .build()
}

fn slow(answer: &'static str) -> Registration {
    Registration::task(move |_, message: Bytes| async move {
        sleep(ms(message.len() as u64)).await;
        Ok(answer)
    })
}

fn answering(answer: &'static str) -> Registration {
    Registration::task(move |_, _| async move { Ok(answer) })
}

#[tokio::test(start_paused = true)]
async fn live_tasks_are_listed_by_id_and_their_codes_by_age() {
    let server = server();
    server.register(TaskCode(3), "", slow("")).unwrap();
    let mut client = WireClient::connect(&server);
    for (code, id) in [(SLEEP, 9), (3, 4), (SLEEP, 1), (3, 7)] {
        client.ask(code, id, &[0; 100]).await;
    }
    let handle = only_client(&server).await;
    assert_eq!(handle.tasks(), [1, 4, 7, 9].map(id));
    assert_eq!(handle.tasks_with_code(TaskCode(3)), [4, 7].map(id));
    assert_eq!(handle.tasks_with_code(TaskCode(9)), []);
    assert_eq!(handle.task_codes(), [SLEEP, 3, SLEEP, 3].map(TaskCode));
    assert_eq!(server.task_count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_live_task_has_metadata() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.send(&request(SLEEP, 1, &[0; 100])[..20]).await;
    let handle = only_client(&server).await;
    let began = handle.metadata(id(1)).unwrap().began;
    assert_eq!(handle.metadata(id(1)).unwrap().state, TaskState::Receiving);
    sleep(ms(50)).await;
    client.send(&request(SLEEP, 1, &[0; 100])[20..]).await;
    settle().await;
    let task = handle.metadata(id(1)).unwrap();
    assert_eq!((task.id, task.code), (id(1), TaskCode(SLEEP)));
    assert_eq!((task.state, task.began), (TaskState::Running, began));
    assert_eq!(handle.task_age(id(1)), Some(ms(52)));
    assert!(handle.metadata(id(2)).is_none());
    client.expect(ok(1, "slept")).await;
    assert!(handle.metadata(id(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn reserved_and_unknown_codes_are_not_listed() {
    let server = server();
    let mut client = WireClient::connect(&server);
    for code in [250, 252, 99] {
        client
            .send(&request(code, u32::from(code), b"abc")[..7])
            .await;
        let handle = only_client(&server).await;
        assert!(handle.tasks().is_empty());
        client
            .send(&request(code, u32::from(code), b"abc")[7..])
            .await;
        assert!(client.answer().await.is_some());
    }
    assert_eq!(server.task_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn clients_are_listed_oldest_first() {
    let server = server();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(WireClient::connect(&server));
        sleep(ms(10)).await;
    }
    let handles = server.clients();
    let times: Vec<_> = handles.iter().map(ClientHandle::connected_at).collect();
    assert!(times.is_sorted() && times[0] < times[2]);
    assert_eq!(server.client_count(), 3);
    clients.remove(1).finish().await;
    assert_eq!(server.clients(), [handles[0].clone(), handles[2].clone()]);
}

#[tokio::test(start_paused = true)]
async fn handles_are_equal_if_they_are_of_one_client() {
    let server = server();
    let _clients = [WireClient::connect(&server), WireClient::connect(&server)];
    sleep(ms(1)).await;
    let [first, second] = &server.clients()[..] else {
        panic!("two clients are connected");
    };
    assert_eq!(first, first);
    assert_ne!(first, second);
    assert_eq!(second, &server.clients()[1]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_knows_its_connection() {
    struct User(&'static str);
    let server = server();
    let options = ConnectionOptions::default().arguments(User("ada"));
    let _client = WireClient::connect_with(&server, 100, options);
    let handle = only_client(&server).await;
    assert_eq!(handle.to_string(), "client->server");
    assert_eq!(handle.local_addr().to_string(), "server");
    assert_eq!(handle.remote_addr().to_string(), "client");
    assert_eq!(handle.byte_order(), ByteOrder::Big);
    assert_eq!(handle.arguments::<User>().unwrap().0, "ada");
    assert!(handle.arguments::<u8>().is_none(), "of another type");
    assert_eq!(handle.server().clients(), [handle]);
}

#[tokio::test(start_paused = true)]
async fn tasks_and_task_functions_know_their_client() {
    let knows = reading(|request, _| {
        Box::pin(async move {
            let read = format!("{} {} {}", request.client(), request.code(), request.id());
            assert_eq!(request.metadata().unwrap().state, TaskState::Receiving);
            Ok(Task::run(async move |context| {
                let code = context.code().unwrap();
                assert_eq!(context.metadata().unwrap().state, TaskState::Running);
                Ok(format!(
                    "{read}, {} {code} {}",
                    context.client(),
                    context.id()
                ))
            }))
        })
    });
    let server = server();
    server.register(TaskCode(3), "knows", knows).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(3, 7, b"").await;
    client
        .expect(ok(7, "client->server 3 7, client->server 3 7"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn handles_and_contexts_outlive_their_client() {
    let server = server();
    let (sender, contexts) = std::sync::mpsc::channel();
    let tells = Registration::task(move |context: TaskContext, _| {
        sender.send(context).unwrap();
        async { Ok(()) }
    });
    server
        .register(TaskCode(3), "tells", tells.run_limit(ms(100)))
        .unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(3, 1, b"").await;
    client.expect(ok(1, "")).await;
    client.ask(SLEEP, 2, &[0; 100]).await;
    let handle = only_client(&server).await;
    let context = contexts.recv().unwrap();
    assert!(context.code().is_none() && context.metadata().is_none());
    assert!(context.is_cancelled() && context.deadline().is_none());
    context.cancelled().await;
    let report = client.finish().await;
    handle.cancel(id(2));
    handle.cancel_all();
    handle.disconnect(Duration::ZERO);
    handle.close();
    assert!(!handle.is_open());
    assert!(handle.tasks().is_empty() && handle.task_codes().is_empty());
    assert!(handle.metadata(id(2)).is_none() && handle.run_data::<u8>(id(2)).is_none());
    assert_eq!(handle.to_string(), "client->server");
    assert_eq!(report.counts.interrupted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_work_from_any_thread() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &vec![0; 60_000]).await;
    client.ask(SLEEP, 2, &vec![0; 60_000]).await;
    let runs = |handle: &ClientHandle, task| {
        let task = handle.metadata(id(task));
        task.is_some_and(|task| task.state == TaskState::Running)
    };
    let from_thread = server.clone();
    let thread = std::thread::spawn(move || {
        let handle = loop {
            match from_thread.clients().pop() {
                Some(handle) if runs(&handle, 1) && runs(&handle, 2) => break handle,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(handle.task_codes(), [SLEEP, SLEEP].map(TaskCode));
        handle.cancel(id(2));
        handle.disconnect(ms(100));
    });
    client.expect(Answer::Error(2, ErrorCode::CANCELLED)).await;
    thread.join().unwrap();
    assert_eq!(client.end().await.interrupted[0].id, id(1));
}

#[tokio::test(start_paused = true)]
async fn registrations_can_be_made_and_replaced_at_run_time() {
    let server = server();
    let mut client = WireClient::connect(&server);
    client.ask(3, 1, b"").await;
    client
        .expect(Answer::Error(1, ErrorCode::UNKNOWN_TASK))
        .await;
    assert!(
        server
            .register(TaskCode(3), "new", answering("new"))
            .unwrap()
            .is_none()
    );
    client.ask(3, 1, b"").await;
    client.expect(ok(1, "new")).await;
    let before = server
        .register(TaskCode(3), "newer", answering("newer"))
        .unwrap();
    assert_eq!(before.unwrap().name(), "new");
    client.ask(3, 1, b"").await;
    client.expect(ok(1, "newer")).await;
    let view = server.registration(TaskCode(3)).unwrap();
    assert_eq!(
        (view.name(), view.code(), view.in_flight()),
        ("newer", TaskCode(3), None)
    );
    assert_eq!(
        server.registered_task_codes(),
        [ECHO, SLEEP, 3].map(TaskCode)
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_the_registration_that_its_header_found() {
    let streamed = |answer: &'static str| {
        reading(move |_, message| {
            Box::pin(async move {
                while message.chunk().await.is_some() {}
                Ok(Task::run(async move |_| Ok(answer)))
            })
        })
    };
    for (old, new) in [
        (answering("old"), answering("new")),
        (streamed("old"), streamed("new")),
        (answering("old"), streamed("new")),
        (streamed("old"), answering("new")),
    ] {
        let server = server();
        server.register(TaskCode(3), "old", old).unwrap();
        let mut client = WireClient::connect(&server);
        let bytes = request(3, 1, b"abc");
        client.send(&bytes[..7]).await;
        settle().await;
        server.register(TaskCode(3), "new", new).unwrap();
        client.send(&bytes[7..]).await;
        client.expect(ok(1, "old")).await;
        client.ask(3, 1, b"abc").await;
        client.expect(ok(1, "new")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_waits_for_its_place_keeps_its_registration_too() {
    let mut limits = Limits::default();
    limits.in_flight_limit = 1;
    let server = Server::builder()
        .limits(limits)
        .register(TaskCode(SLEEP), "sleep", slow("slept"))
        .register(TaskCode(3), "old", answering("old"))
        .build();
    let mut client = WireClient::connect(&server);
    client.ask(SLEEP, 1, &[0; 100]).await;
    client.ask(3, 2, b"").await;
    settle().await;
    server
        .register(TaskCode(3), "new", answering("new"))
        .unwrap();
    client.expect(ok(1, "slept")).await;
    client.expect(ok(2, "old")).await;
}

#[tokio::test(start_paused = true)]
async fn a_place_of_a_replaced_registration_is_given_back_to_it() {
    let server = server();
    let limited = || slow("slept").max_in_flight(1);
    server.register(TaskCode(3), "old", limited()).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(3, 1, &[0; 100]).await;
    settle().await;
    let old = server.register(TaskCode(3), "new", limited()).unwrap();
    let (old, new) = (old.unwrap(), server.registration(TaskCode(3)).unwrap());
    client.ask(3, 2, &[0; 100]).await;
    settle().await;
    assert_eq!((old.in_flight(), new.in_flight()), (Some(1), Some(1)));
    client.expect(ok(1, "slept")).await;
    client.expect(ok(2, "slept")).await;
    assert_eq!((old.in_flight(), new.in_flight()), (Some(0), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_function_is_dropped_though_its_clients_are_still_known() {
    let server = server();
    let kept = Arc::new(());
    let function = {
        let kept = Arc::clone(&kept);
        Registration::task(move |_, message| {
            let _ = &kept;
            async { Ok(message) }
        })
    };
    server.register(TaskCode(3), "old", function).unwrap();
    let (mut ended, mut live) = (WireClient::connect(&server), WireClient::connect(&server));
    for client in [&mut ended, &mut live] {
        client.ask(3, 1, b"").await;
        client.expect(ok(1, "")).await;
    }
    let handles = server.clients();
    drop(ended);
    settle().await;
    assert_eq!(server.clients().len(), 1);
    let old = server.register(TaskCode(3), "new", answering("new"));
    drop(old.unwrap());
    live.ask(3, 1, b"").await;
    live.expect(ok(1, "new")).await;
    assert_eq!(Arc::strong_count(&kept), 1);
    assert_eq!(handles.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_registration_may_have_its_own_message_limit() {
    let server = server();
    let echo = |limit| Registration::task(async |_, m| Ok(m)).message_limit_bytes(limit);
    server.register(TaskCode(3), "short", echo(10)).unwrap();
    server.register(TaskCode(4), "long", echo(5 << 20)).unwrap();
    let mut client = WireClient::connect(&server);
    client.ask(3, 1, &[7; 10]).await;
    client.expect(ok(1, vec![7; 10])).await;
    let long = vec![7; 5 << 20];
    client.ask(4, 1, &long).await;
    client.expect(ok(1, long)).await;
    client.ask(3, 1, &[7; 11]).await;
    let reason = client.end().await.reason;
    assert!(
        matches!(
            reason,
            EndReason::MessageTooLong {
                limit_bytes: 10,
                ..
            }
        ),
        "{reason:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn n2_a_connection_has_its_byte_order_in_every_integer() {
    let server = Server::builder()
        .byte_order(ByteOrder::Little)
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .build();
    let mut client = WireClient::connect(&server);
    let mut bytes = BytesMut::from(&[ECHO, 7, 0, 0, 1][..]);
    encode_message(b"x", &mut bytes);
    client.send(&bytes).await;
    let handle = only_client(&server).await;
    assert_eq!(handle.byte_order(), ByteOrder::Little);
    let mut echo = [9; 8];
    client.stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(echo, [0, 7, 0, 0, 1, 1, b'x', 0]);
    // Negotiate for Goodbye.
    client.send(&[252, 1, 2, 3, 4, 5, 1, 1, 0, 0, 0, 0]).await;
    let mut negotiated = [9; 5 + 1 + 21 + 1];
    client.stream.read_exact(&mut negotiated).await.unwrap();
    assert_eq!(
        negotiated[..15],
        [0, 1, 2, 3, 4, 21, 1, 1, 0, 0, 0, 0, 4, 0, 0]
    );
    handle.disconnect(ms(100));
    let mut goodbye = [0; 5];
    client.stream.read_exact(&mut goodbye).await.unwrap();
    assert_eq!(goodbye, [2, 2, 0, 0, 0]);
    client.stream.shutdown().await.unwrap();
}

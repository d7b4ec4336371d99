//! The client against the real server, in both byte orders.

use asyncserver::client::{CallError, Client, ClientBuilder, Started, TooLongMessage};
use asyncserver::runtime::{Address, memory};
use asyncserver::server::{Limits, Server, Serving, TaskContext, TaskError};
use asyncserver::wire::{ByteOrder, ErrorCode, TaskCode};
use bytes::Bytes;
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::scripted::*;

const SLEEP: u8 = 2;
const FAIL: u8 = 3;
const PANIC: u8 = 5;
/// The message's length, in the connection's byte order.
const LENGTH: u8 = 6;

fn server(order: ByteOrder) -> Server {
    Server::builder()
        .byte_order(order)
        .limits({
            let mut limits = Limits::default();
            limits.message_limit_bytes = 8 << 20;
            limits
        })
        .task(TaskCode(ECHO), "echo", async |_, message| Ok(message))
        .task(TaskCode(SLEEP), "sleep", async |_, message: Bytes| {
            sleep(ms(message.len() as u64)).await;
            Ok("slept")
        })
        .task(TaskCode(FAIL), "fail", async |_, message: Bytes| {
            Err::<Bytes, _>(TaskError::code_only(ErrorCode(message[0])))
        })
        .task(
            TaskCode(PANIC),
            "panic",
            async |_, _| -> Result<Bytes, TaskError> { panic!("as the test wants it") },
        )
        .task(
            TaskCode(LENGTH),
            "length",
            async |task: TaskContext, message: Bytes| {
                let order = task.client().byte_order();
                Ok(order.encode_u32(message.len() as u32).to_vec())
            },
        )
        .build()
}

fn served(order: ByteOrder) -> (Serving, ClientBuilder) {
    let (listener, connector) = memory::listener("server", 1 << 16);
    let client = Client::builder(Address::named("server"))
        .connector(connector)
        .byte_order(order)
        .seed(1);
    (server(order).serve(listener), client)
}

const ORDERS: [ByteOrder; 2] = [ByteOrder::Big, ByteOrder::Little];

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_run_at_once_and_each_has_its_own_result() {
    for order in ORDERS {
        let (_serving, client) = served(order);
        let client = client.build();
        let calls: Vec<_> = (0..1000_u32)
            .map(|n| (n, tokio::spawn(client.submit(ECHO, n.to_string()))))
            .collect();
        for (n, call) in calls {
            assert_eq!(answered(async { call.await.unwrap() }).await, n.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_byte_order_is_the_connections() {
    for order in ORDERS {
        let (_serving, client) = served(order);
        let client = client.build();
        let length = answered(client.call(LENGTH, vec![0; 1000])).await;
        assert_eq!(length, order.encode_u32(1000).as_slice());
        client.keep_alive().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_responses_stream_both_ways() {
    for order in ORDERS {
        let (_serving, client) = served(order);
        let client = client.build();
        let bytes: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
        let pieces: Vec<_> = bytes.chunks(70_001).map(Bytes::copy_from_slice).collect();
        let request = client.request(ECHO);
        let request = request.message_stream(stream::iter(pieces.into_iter().map(Ok)));
        let mut echoed = Vec::new();
        request.stream().read_to_end(&mut echoed).await.unwrap();
        assert!(echoed == bytes);
        let reader = std::io::Cursor::new(bytes.clone());
        let echoed = answered(client.request(ECHO).message_reader(reader).call()).await;
        assert!(echoed == bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_come_as_what_they_are() {
    for order in ORDERS {
        let (_serving, client) = served(order);
        let client = client.build();
        let server = |code| CallError::Server { code };
        for (code, message, expected, started) in [
            (FAIL, vec![9], server(ErrorCode(9)), Started::Perhaps),
            (PANIC, vec![], server(ErrorCode::PANICKED), Started::Perhaps),
            (77, vec![], server(ErrorCode::UNKNOWN_TASK), Started::No),
            (
                ECHO,
                vec![0; (8 << 20) + 1],
                CallError::TooLong {
                    message: TooLongMessage::Request,
                    length_bytes: (8 << 20) + 1,
                    limit_bytes: 8 << 20,
                },
                Started::No,
            ),
        ] {
            assert_eq!(failed(client.call(code, message), started).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_cancelled_there() {
    for order in ORDERS {
        let (serving, client) = served(order);
        let client = client.build();
        let mut told = client.submit(SLEEP, vec![0; 60_000]);
        let mut dropped = client.submit(SLEEP, vec![0; 60_000]);
        for call in [&mut told, &mut dropped] {
            assert!(timeout(ms(100), call).await.is_err());
        }
        told.cancel();
        assert_is!(
            failed(told, Started::Perhaps).await,
            CallError::Cancelled { .. }
        );
        drop(dropped);
        sleep(ms(10)).await;
        let report = serving.shutdown(secs(5)).await;
        assert!(report.is_clean(), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_was_taken_and_the_rest_goes_to_the_next_server() {
    for order in ORDERS {
        let (first, first_connector) = memory::listener("first", 1 << 16);
        let (second, second_connector) = memory::listener("second", 1 << 16);
        let client = Client::builder(Address::named("first"))
            .address(Address::named("second"))
            .byte_order(order)
            .connector(move |address: Address| {
                let connector = match &*address.to_string() {
                    "first" => &first_connector,
                    _ => &second_connector,
                };
                std::future::ready(connector.connect("client"))
            })
            .seed(1)
            .build();
        let first = server(order).serve(first);
        let second = server(order).serve(second);
        let taken = tokio::spawn(client.submit(SLEEP, vec![0; 2_000]));
        sleep(ms(100)).await;
        let draining = first.shutdown(secs(10));
        let calls: Vec<_> = (0..100_u8)
            .map(|n| (n, tokio::spawn(client.submit(ECHO, vec![n]))))
            .collect();
        for (n, call) in calls {
            assert_eq!(answered(async { call.await.unwrap() }).await, vec![n]);
        }
        assert_eq!(answered(async { taken.await.unwrap() }).await, "slept");
        assert!(draining.await.is_clean());
        assert!(second.shutdown(secs(10)).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_while_idle_is_met_again() {
    let (listener, connector) = memory::listener("server", 1 << 16);
    let mut timeouts = asyncserver::server::Timeouts::default();
    timeouts.wait = secs(5);
    let server = Server::builder().timeouts(timeouts);
    let server = server.task(TaskCode(ECHO), "echo", async |_, message| Ok(message));
    let server = server.build();
    let _serving = server.serve(listener);
    let client = Client::builder(Address::named("server")).connector(connector);
    let client = client.seed(1).build();
    // Half of the server's idle limit: its connection is kept.
    for _ in 0..5 {
        answered(client.call(ECHO, "")).await;
        sleep(secs(60)).await;
    }
    assert_eq!(server.client_count(), 1);
    client.close(secs(1)).await;
}

//! How connections end, and what their reports say (PROTOCOL D1–D9, T11).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::server::*;
use asyncserver::wire::{TaskCode, TaskId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::time::{Instant, sleep, timeout};

use crate::wire_client::*;
use crate::world::*;

/// PROTOCOL T11: its place in the stream was below zero.
#[tokio::test(start_paused = true)]
async fn a_duplicate_id_in_a_header_of_two_reads_is_named_with_its_place() {
    let server = server().build();
    let mut client = WireClient::connect(&server);
    client.ask(MINUTE, 7, b"x").await;
    let duplicate = request(MINUTE, 7, b"y");
    client.send(&duplicate[..4]).await;
    sleep(ms(10)).await;
    client.send(&duplicate[4..]).await;
    let report = client.end().await;
    let (id, code) = (TaskId(7), TaskCode(MINUTE));
    let duplicate = ProtocolError::DuplicateTaskId {
        id,
        code,
        offset: 8,
    };
    assert_eq!(report.reason, EndReason::Protocol(duplicate));
}

/// PROTOCOL D3: what a transport keeps until it is flushed was lost at the end.
#[tokio::test(start_paused = true)]
async fn a_transport_that_buffers_passes_all_on_before_the_end() {
    let server = server().on_half_close(OnHalfClose::Finish).build();
    let (mut near, far) = tokio::io::duplex(16);
    let connection = tokio::spawn(async move {
        let options = ConnectionOptions::default();
        server.handle_connection(BufStream::new(far), options).await
    });
    near.write_all(&request(ECHO, 7, &[b'x'; 100]))
        .await
        .unwrap();
    near.shutdown().await.unwrap();
    sleep(ms(10)).await;
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 107);
    let report = connection.await.unwrap();
    assert_eq!(report.reason, EndReason::ClientClosed);
    assert_eq!(report.counts.ok, 1);
}

async fn serve(server: &Server, transport: Scripted) -> ConnectionReport {
    let options = ConnectionOptions::default();
    server.handle_connection(transport, options).await
}

/// PROTOCOL D9: what it took is answered, though more was refused at once.
#[tokio::test(start_paused = true)]
async fn what_was_taken_before_a_transport_error_counts_as_answered() {
    let mut input = request(ECHO, 7, b"");
    input.unsplit(request(ECHO, 8, b""));
    let transport = Scripted {
        takes: 6,
        further_writes: Reaction::Fails,
        ..Scripted::new(input)
    };
    let report = serve(&server().build(), transport).await;
    assert_eq!((report.counts.ok, report.counts.interrupted), (1, 1));
    assert_eq!(report.interrupted[0].id, TaskId(8));
    assert_eq!(report.interrupted[0].state, TaskState::Responding);
    assert!(matches!(report.reason, EndReason::Transport(_)));
}

/// PROTOCOL D5: the transport got what room it found for on the way out.
#[tokio::test(start_paused = true)]
async fn close_writes_nothing_more() {
    let server = server().build();
    let mut client = WireClient::connect_with(&server, 64, ConnectionOptions::default());
    for piece in request(ECHO, 7, &[b'x'; 200]).chunks(50) {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    sleep(ms(10)).await;
    server.clients()[0].close();
    client.stream.read_exact(&mut [0; 64]).await.unwrap();
    let mut more = Vec::new();
    client.stream.read_to_end(&mut more).await.unwrap();
    assert_eq!(more.len(), 0);
    let report = client.connection.await.unwrap();
    assert_eq!(report.reason, EndReason::Aborted);
    assert_eq!((report.bytes_written, report.counts.interrupted), (64, 1));
}

/// PROTOCOL D8: it waited for the end of linger.
#[tokio::test(start_paused = true)]
async fn a_half_close_that_fails_ends_lingering() {
    let server = server()
        .timeouts(timeouts(|timeouts| {
            timeouts.linger = Duration::from_secs(100)
        }))
        .build();
    let transport = Scripted {
        shutdown: Reaction::Fails,
        ..Scripted::new("")
    };
    let began = Instant::now();
    let ended = serve(&server, transport);
    let disconnect = async {
        sleep(ms(10)).await;
        server.disconnect(Duration::from_secs(1000));
    };
    let (report, ()) = tokio::join!(ended, disconnect);
    assert!(began.elapsed() < ms(1000), "{:?}", began.elapsed());
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
}

/// PROTOCOL L11: an end that this side cannot announce is waited for no longer.
#[tokio::test(start_paused = true)]
async fn a_half_close_that_pends_for_ever_ends_with_linger() {
    let server = server().build();
    let transport = Scripted {
        shutdown: Reaction::Pends,
        ..Scripted::new("")
    };
    let began = Instant::now();
    let disconnect = async {
        sleep(ms(10)).await;
        server.disconnect(Duration::from_secs(1000));
    };
    let (report, ()) = tokio::join!(serve(&server, transport), disconnect);
    assert!(began.elapsed() <= ms(2020), "{:?}", began.elapsed());
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert!(!report.deadline_reached);
}

/// PROTOCOL L3: what it took it does not pass on, which no bytes show.
#[test]
fn a_flush_that_pends_for_ever_is_a_write_timeout() {
    within_real_time(async {
        for end in [None, Some(Duration::from_secs(10_000))] {
            let server = server().build();
            let transport = Scripted {
                flush: Reaction::Pends,
                ..Scripted::new(request(ECHO, 7, b"x"))
            };
            let began = Instant::now();
            let disconnect = async {
                sleep(ms(10)).await;
                if let Some(after) = end {
                    server.disconnect(after);
                }
            };
            let served = timeout(Duration::from_secs(1000), serve(&server, transport));
            let (report, ()) = tokio::join!(served, disconnect);
            let report = report.expect("an end");
            assert_eq!(report.reason, EndReason::WriteTimeout);
            assert_eq!(report.counts.ok, 1);
            // At most six limits, and linger.
            assert!(began.elapsed() <= Duration::from_secs(33));
        }
    });
}

/// PROTOCOL D4, D9: nothing was left to be cut short.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_does_not_reach_a_deadline_of_now() {
    let server = server().build();
    let client = WireClient::connect(&server);
    sleep(ms(10)).await;
    server.disconnect(Duration::ZERO);
    let report = client.end().await;
    assert_eq!(report.reason, EndReason::GracefulDisconnect);
    assert!(!report.deadline_reached);
}

#[derive(Debug, Default)]
struct Reports(Mutex<Vec<ConnectionReport>>);

impl Observer for Reports {
    fn connection_closed(&self, _: &ClientHandle, report: &ConnectionReport) {
        self.0.lock().expect("no panic").push(report.clone());
    }
}

/// PROTOCOL D5, D9: nobody was told of its end.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_whose_future_is_dropped_is_told() {
    let reports = Arc::new(Reports::default());
    let server = server().observer(Arc::<Reports>::clone(&reports)).build();
    let mut client = WireClient::connect(&server);
    client.ask(MINUTE, 7, b"").await;
    client.expect_silence(ms(1)).await;
    client.connection.abort();
    drop((&mut client.connection).await);
    server.wait().await;
    let reports = reports.0.lock().expect("no panic");
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(report.reason, EndReason::Aborted);
    assert_eq!(report.interrupted[0].id.0, 7);
    assert_eq!(server.task_count(), 0);
}

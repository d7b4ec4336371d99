//! What a byte stream must do, whatever it is made of: the same expectations
//! of the simulated connection, of it around Tokio's duplex, and, where a
//! kernel lets them be told apart, of real TCP.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use asyncserver_sim::{
    End, Fault, FaultAtByte, FaultTransport, LinkFaults, LinkHandle, LinkPlan, LinkStream, Probe,
    Seed, SimTime, Trace, link,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}
type Pair = (Box<dyn Stream>, Box<dyn Stream>);

fn probe() -> Probe {
    Probe::new(SimTime::from_now(), Trace::off())
}

fn simulated(plan: LinkPlan) -> (LinkStream, LinkStream, LinkHandle) {
    link("link", plan, Seed(1), &probe())
}

/// The near end of a wrapped duplex, and the duplex's other end.
fn wrapped(plan: LinkPlan) -> (LinkStream, DuplexStream, LinkHandle) {
    let (ours, theirs) = duplex(64);
    let wrap = FaultTransport::wrap(ours, End::Client, "link", plan, Seed(1), &probe());
    let (stream, handle) = wrap.spawn();
    (stream, theirs, handle)
}

async fn tcp() -> Pair {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (Box::new(client), Box::new(server))
}

fn run<F: Future<Output = ()>>(paused: Paused, test: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(paused == Paused::Yes);
    runtime.build().unwrap().block_on(test);
}

#[derive(Clone, Copy, PartialEq)]
enum Paused {
    Yes,
    No,
}

/// Runs one expectation against every kind of stream.
fn of_all<F: Future<Output = ()>>(expectation: impl Fn(Pair) -> F) {
    run(Paused::No, async { expectation(tcp().await).await });
    run(Paused::Yes, async {
        let (near, far) = duplex(64);
        expectation((Box::new(near), Box::new(far))).await;
    });
    for plan in [LinkPlan::default(), delays(1), delays(2), delays(3)] {
        run(Paused::Yes, async {
            let (near, far, _) = simulated(plan.clone());
            expectation((Box::new(near), Box::new(far))).await;
        });
        run(Paused::Yes, async {
            let (near, far, _) = simulated(plan.clone());
            expectation((Box::new(far), Box::new(near))).await;
        });
        run(Paused::Yes, async {
            let (near, far, _) = wrapped(plan);
            expectation((Box::new(near), Box::new(far))).await;
        });
    }
}

fn delays(seed: u64) -> LinkPlan {
    let mut rng = Seed(seed).stream();
    LinkPlan {
        to_server: LinkFaults::random_delays(&mut rng),
        to_client: LinkFaults::random_delays(&mut rng),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|byte| u8::try_from(byte % 251).unwrap())
        .collect()
}

/// Polls once; tells whether the future waits.
fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(future.poll(&mut cx), Poll::Pending)
}

#[test]
fn bytes_arrive_whole_and_in_order_in_both_directions_at_once() {
    of_all(async |(near, far)| {
        let sent = pattern(100_000);
        let (mut near_read, mut near_write) = tokio::io::split(near);
        let (mut far_read, mut far_write) = tokio::io::split(far);
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let (a, b, c, d) = tokio::join!(
            async {
                near_write.write_all(&sent).await?;
                near_write.shutdown().await
            },
            async {
                far_write.write_all(&sent).await?;
                far_write.shutdown().await
            },
            far_read.read_to_end(&mut there),
            near_read.read_to_end(&mut back),
        );
        a.and(b).unwrap();
        c.and(d).unwrap();
        assert!(there == sent && back == sent);
    });
}

#[test]
fn after_a_half_close_the_other_direction_goes_on() {
    of_all(async |(mut near, mut far)| {
        near.write_all(b"request").await.unwrap();
        near.shutdown().await.unwrap();
        let mut request = Vec::new();
        far.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        far.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn the_end_of_the_stream_comes_again_and_again() {
    of_all(async |(mut near, mut far)| {
        near.shutdown().await.unwrap();
        for _ in 0..3 {
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        }
    });
}

#[test]
fn a_second_shutdown_succeeds() {
    of_all(async |(mut near, _far)| {
        near.shutdown().await.unwrap();
        near.shutdown().await.unwrap();
    });
}

#[test]
fn writing_after_a_shutdown_fails_with_broken_pipe() {
    of_all(async |(mut near, _far)| {
        near.shutdown().await.unwrap();
        // A wrapped end is told at once, too: it has a pipe of its own.
        let error = near.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_was_written_before_a_close_still_arrives() {
    of_all(async |(mut near, mut far)| {
        near.write_all(b"last words").await.unwrap();
        drop(near);
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
    });
}

#[test]
fn a_writer_waits_while_nobody_reads_and_goes_on_when_somebody_does() {
    of_all(async |(mut near, mut far)| {
        let sent = pattern(8 << 20);
        let mut written = 0;
        while let Ok(n) = timeout(ms(500), near.write(&sent[written..])).await {
            written += n.unwrap();
        }
        assert!(written < sent.len(), "nothing holds the writer back");
        let mut heard = vec![0; written];
        let (read, wrote) = tokio::join!(far.read_exact(&mut heard), near.write(&sent[written..]));
        read.unwrap();
        assert!(wrote.unwrap() > 0);
        assert!(heard == sent[..written]);
    });
}

#[test]
fn a_reader_that_waits_is_woken_by_bytes_and_by_the_end() {
    of_all(async |(mut near, mut far)| {
        let reading = tokio::spawn(async move {
            let byte = far.read_u8().await.unwrap();
            (byte, far.read(&mut [0; 1]).await.unwrap())
        });
        sleep(ms(20)).await;
        near.write_all(b"x").await.unwrap();
        sleep(ms(20)).await;
        drop(near);
        assert_eq!(reading.await.unwrap(), (b'x', 0));
    });
}

#[test]
fn an_empty_write_takes_nothing_and_does_not_fail() {
    of_all(async |(mut near, _far)| {
        assert_eq!(near.write(b"").await.unwrap(), 0);
    });
}

#[test]
fn writing_to_one_who_has_gone_fails_before_long() {
    of_all(async |(mut near, far)| {
        drop(far);
        let failing = async {
            loop {
                if let Err(error) = near.write_all(b"x").await {
                    return error.kind();
                }
                sleep(ms(1)).await;
            }
        };
        let kind = timeout(Duration::from_secs(30), failing).await.unwrap();
        assert!(matches!(
            kind,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
    });
}

/// Duplex knows no reset: it is left out.
fn of_those_with_resets<F: Future<Output = ()>>(expectation: impl Fn(Pair) -> F) {
    run(Paused::No, async { expectation(tcp().await).await });
    for plan in [LinkPlan::default(), delays(1), delays(2), delays(3)] {
        run(Paused::Yes, async {
            let (near, far, _) = simulated(plan);
            expectation((Box::new(near), Box::new(far))).await;
        });
    }
}

#[test]
fn closing_with_bytes_unread_resets_whoever_waits_at_the_other_end() {
    of_those_with_resets(async |(mut near, far)| {
        near.write_all(b"never read").await.unwrap();
        sleep(ms(500)).await;
        drop(far);
        let error = timeout(Duration::from_secs(5), near.read(&mut [0; 1])).await;
        assert_eq!(
            error.unwrap().unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    });
}

#[test]
fn a_writer_that_waits_fails_when_its_reader_closes() {
    of_those_with_resets(async |(mut near, far)| {
        let writing = tokio::spawn(async move {
            loop {
                if let Err(error) = near.write_all(&[0; 4096]).await {
                    return error.kind();
                }
            }
        });
        sleep(ms(200)).await;
        drop(far);
        let kind = timeout(Duration::from_secs(5), writing)
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(
            kind,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
    });
}

// What only the simulated connection can do, alone and around another stream.

fn with(change: impl Fn(&mut LinkFaults)) -> LinkPlan {
    let mut plan = LinkPlan::default();
    change(&mut plan.to_server);
    plan
}

#[tokio::test(start_paused = true)]
async fn writes_and_reads_go_down_to_single_bytes() {
    let plan = with(|faults| {
        faults.write_at_most_bytes = Some(1);
        faults.read_at_most_bytes = Some(1);
    });
    let (mut client, mut server, _) = simulated(plan);
    assert_eq!(client.write(b"abc").await.unwrap(), 1);
    assert_eq!(client.write(b"bc").await.unwrap(), 1);
    let mut room = [0; 8];
    assert_eq!(server.read(&mut room).await.unwrap(), 1);
    assert_eq!(server.read(&mut room).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn latency_is_what_it_is_said_to_be() {
    let start = Instant::now();
    let (mut client, mut server, _) = simulated(with(|faults| faults.latency_ms = 35));
    client.write_all(b"x").await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    server.read_u8().await.unwrap();
    assert_eq!(start.elapsed(), ms(35));
}

#[tokio::test(start_paused = true)]
async fn bandwidth_holds_for_writer_and_reader() {
    let plan = with(|faults| {
        faults.bytes_per_second = Some(1000);
        faults.buffer_bytes = 100;
    });
    let (mut client, mut server, _) = simulated(plan);
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        server.read_exact(&mut [0; 1000]).await.unwrap();
        Instant::now()
    });
    client.write_all(&[0; 1000]).await.unwrap();
    assert!(start.elapsed() >= ms(800), "{:?}", start.elapsed());
    assert!((1000..1050).contains(&(reading.await.unwrap() - start).as_millis()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_the_writer_back() {
    let plan = with(|faults| {
        faults.read_bytes_per_second = Some(1000);
        faults.read_at_most_bytes = Some(10);
        faults.buffer_bytes = 100;
    });
    let (mut client, mut server, _) = simulated(plan);
    let start = Instant::now();
    tokio::spawn(async move { server.read_exact(&mut [0; 500]).await.map(drop) });
    client.write_all(&[0; 500]).await.unwrap();
    assert!(start.elapsed() >= ms(300), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stall_stops_one_direction_alone() {
    let (mut client, mut server, handle) = simulated(LinkPlan::default());
    let start = Instant::now();
    handle.strike(End::Client, Fault::Stall { ms: 700 });
    client.write_all(b"x").await.unwrap();
    server.write_all(b"y").await.unwrap();
    client.read_u8().await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    server.read_u8().await.unwrap();
    assert_eq!(start.elapsed(), ms(700));
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_reads_and_writes_that_wait_at_both_ends_at_once() {
    let mut plan = LinkPlan::default();
    plan.to_server.buffer_bytes = 4;
    plan.to_client.buffer_bytes = 4;
    let (client, server, handle) = simulated(plan);
    let start = Instant::now();
    let mut ends = Vec::new();
    for stream in [client, server] {
        let (mut read, mut write) = tokio::io::split(stream);
        // Both ends fill what lies before the other; one reads, of neither it is all.
        let writing = tokio::spawn(async move { write.write_all(&[0; 100]).await });
        let reading = tokio::spawn(async move {
            sleep(ms(20)).await;
            read.read_exact(&mut [0; 1000]).await.map(drop)
        });
        ends.push((reading, writing));
    }
    sleep(ms(10)).await;
    handle.strike(End::Client, Fault::Stall { ms: 1000 });
    handle.strike(End::Server, Fault::Stall { ms: 1000 });
    sleep(ms(40)).await;
    handle.strike(End::Client, Fault::Reset);
    for (reading, writing) in ends {
        let read = reading.await.unwrap().unwrap_err().kind();
        let wrote = writing.await.unwrap().unwrap_err().kind();
        // Whoever looks first is given the error.
        assert!(matches!(
            (read, wrote),
            (ErrorKind::ConnectionReset, ErrorKind::BrokenPipe)
                | (ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset)
        ));
        assert_eq!(start.elapsed(), ms(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_strikes_at_its_byte_wherever_that_is() {
    for byte in 0..20 {
        let fault = Fault::Reset;
        let plan = with(|faults| {
            faults.at_bytes = vec![FaultAtByte { byte, fault }];
            faults.latency_ms = 5;
        });
        let (mut client, mut server, _) = simulated(plan);
        let reading = tokio::spawn(async move {
            let mut heard = Vec::new();
            let end = server.read_to_end(&mut heard).await;
            (end.unwrap_err().kind(), heard.len())
        });
        let error = client.write_all(&[7; 40]).await;
        let error = match error {
            Ok(()) => client.read_u8().await.map(drop).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let (end, heard) = timeout(ms(100), reading).await.unwrap().unwrap();
        assert_eq!(end, ErrorKind::ConnectionReset);
        assert!(heard as u64 <= byte);
    }
}

#[tokio::test(start_paused = true)]
async fn half_close_from_outside_ends_the_writer_and_the_stream() {
    let (mut client, mut server, handle) = simulated(LinkPlan::default());
    client.write_all(b"ab").await.unwrap();
    handle.strike(End::Client, Fault::HalfClose);
    let error = client.write_all(b"cd").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"ab");
}

#[tokio::test(start_paused = true)]
async fn truncation_swallows_without_a_word() {
    for wraps in [false, true] {
        let plan = with(|faults| {
            let fault = Fault::Truncate;
            faults.at_bytes = vec![FaultAtByte { byte: 3, fault }];
        });
        let mut heard = Vec::new();
        if wraps {
            let (mut client, mut server, _handle) = wrapped(plan);
            client.write_all(b"abcdef").await.unwrap();
            server.read_to_end(&mut heard).await.unwrap();
        } else {
            let (mut client, mut server, _handle) = simulated(plan);
            client.write_all(b"abcdef").await.unwrap();
            server.read_to_end(&mut heard).await.unwrap();
        }
        assert_eq!(heard, b"abc");
    }
}

#[tokio::test(start_paused = true)]
async fn corruption_changes_one_byte_and_no_other() {
    let fault = Fault::Corrupt { xor: 0x20 };
    let plan = with(|faults| faults.at_bytes = vec![FaultAtByte { byte: 2, fault }]);
    let (mut client, mut server, _handle) = wrapped(plan);
    client.write_all(b"abcdef").await.unwrap();
    let mut heard = [0; 6];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"abCdef");
}

#[tokio::test(start_paused = true)]
async fn silent_death_lets_reads_wait_and_writes_fill_the_buffer() {
    let (mut client, mut server, handle) = simulated(with(|faults| faults.buffer_bytes = 10));
    handle.strike(End::Client, Fault::SilentDeath);
    handle.strike(End::Server, Fault::SilentDeath);
    assert_eq!(client.write(&[0; 100]).await.unwrap(), 10);
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, client.write(b"x")).await.is_err());
    assert!(timeout(hour, server.read(&mut [0; 1])).await.is_err());
    drop(client);
    assert!(timeout(hour, server.read(&mut [0; 1])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_died_silently_is_reset_once_all_is_calm() {
    let (client, mut server, handle) = simulated(LinkPlan::default());
    handle.strike(End::Client, Fault::SilentDeath);
    drop(client);
    let mut read = pin!(server.read_u8());
    assert!(timeout(ms(9), read.as_mut()).await.is_err());
    handle.calm();
    assert_eq!(read.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn flush_and_shutdown_fail_once_when_told_to() {
    let (mut client, _server, handle) = simulated(LinkPlan::default());
    handle.strike(End::Client, Fault::FlushFails);
    assert_eq!(
        client.flush().await.unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    client.flush().await.unwrap();
    handle.strike(End::Client, Fault::ShutdownFails);
    assert_eq!(
        client.shutdown().await.unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    client.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn spurious_wake_ups_come_and_lose_nothing() {
    let plan = with(|faults| {
        faults.spurious_wake_permille = 900;
        faults.latency_ms = 3;
    });
    let (mut client, mut server, handle) = simulated(plan);
    let reading = tokio::spawn(async move { server.read_exact(&mut [0; 200]).await.map(drop) });
    for _ in 0..200 {
        client.write_all(b"x").await.unwrap();
        handle.strike(End::Client, Fault::SpuriousWake);
        tokio::task::yield_now().await;
    }
    timeout(Duration::from_secs(1), reading)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_struck_at_run_time_is_slow_from_then_on() {
    let (mut client, mut server, handle) = simulated(LinkPlan::default());
    handle.strike(
        End::Client,
        Fault::SlowReader {
            bytes_per_second: 100,
        },
    );
    client.write_all(&[0; 200]).await.unwrap();
    let start = Instant::now();
    server.read_exact(&mut [0; 100]).await.unwrap();
    server.read_exact(&mut [0; 100]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_connection_whose_ends_are_gone() {
    let (mut client, mut server, handle) = simulated(LinkPlan::default());
    client.write_all(b"unread").await.unwrap();
    assert!(waits(pin!(client.read_u8())));
    assert!(!waits(pin!(server.read_u8())));
    assert_eq!(handle.usage().open_ends, 2);
    drop((client, server));
    let usage = handle.usage();
    assert_eq!(
        (usage.open_ends, usage.buffered_bytes, usage.wakers),
        (0, 0, 0)
    );
}

#[test]
fn a_fault_at_a_byte_wakes_the_end_that_waits() {
    for fault in [Fault::HalfClose, Fault::Truncate] {
        run(Paused::Yes, async {
            let mut plan = LinkPlan::default();
            plan.to_server.at_bytes = vec![FaultAtByte { byte: 0, fault }];
            let (mut client, mut server, _handle) = simulated(plan);
            let read = tokio::spawn(async move { server.read(&mut [0; 9]).await });
            tokio::task::yield_now().await;
            drop(client.write(b"a").await);
            let read = timeout(Duration::from_secs(1), read).await;
            assert_eq!(read.expect("it is woken").unwrap().unwrap(), 0, "{fault:?}");
        });
    }
}

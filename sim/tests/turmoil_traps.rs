//! What turmoil 0.7.2 does that would deceive a simulation, each trap with the
//! adapter's remedy. Where a trap's half fails with a newer turmoil, the trap is
//! gone, and the remedy may go, too.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use asyncserver::client::{Client, Connector};
use asyncserver::runtime::{Clock, Executor, Listener};
use asyncserver::server::Server;
use asyncserver::wire::TaskCode;
use asyncserver_sim::{
    Interleaving, LinkFaults, LinkPlan, LinkStream, Network, Probe, Seed, SeededExecutor, SimClock,
    SimTime, Trace, TurmoilNetwork,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

const ANYWHERE: (&str, u16) = ("0.0.0.0", 9000);
const SERVER: (&str, u16) = ("server", 9000);
const MOMENT: Duration = Duration::from_millis(500);

fn plain() -> turmoil::Sim<'static> {
    builder().build()
}

fn builder() -> turmoil::Builder {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(1)
        .epoch(SystemTime::UNIX_EPOCH)
        .simulation_duration(Duration::from_secs(60));
    builder
}

fn adapter() -> TurmoilNetwork {
    let probe = Probe::new(SimTime::of_turmoil(), Trace::off());
    TurmoilNetwork::new(Seed(1), probe, Box::new(|_, _| LinkPlan::default()))
}

/// A server that accepts by `TcpListener`, and does `serve` with each stream.
fn plain_server<F, Fut>(sim: &mut turmoil::Sim<'static>, serve: F)
where
    F: Fn(TcpStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    sim.host("server", move || {
        let serve = serve.clone();
        async move {
            let listener = TcpListener::bind(ANYWHERE).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(serve(stream));
            }
        }
    });
}

/// The same by the adapter.
fn adapted_server<F, Fut>(sim: &mut turmoil::Sim<'static>, network: &TurmoilNetwork, serve: F)
where
    F: Fn(LinkStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let network = network.clone();
    sim.host("server", move || {
        let (serve, network) = (serve.clone(), network.clone());
        async move {
            let mut listener = network.listen("server").await?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(serve(stream));
            }
        }
    });
}

async fn connect(network: &TurmoilNetwork) -> io::Result<LinkStream> {
    let connector = network.connector("client");
    connector.connect(Network::address("server")).await
}

type Heard = Arc<Mutex<Vec<u8>>>;

fn collect(heard: &Heard) -> impl Fn(Box<dyn ReadAny>) -> BoxFuture + Clone + Send + 'static {
    let heard = Arc::clone(heard);
    move |mut stream: Box<dyn ReadAny>| {
        let heard = Arc::clone(&heard);
        Box::pin(async move {
            while let Ok(byte) = stream.read_u8().await {
                heard.lock().unwrap().push(byte);
            }
        })
    }
}

type BoxFuture = asyncserver::runtime::BoxFuture<'static, ()>;

trait ReadAny: tokio::io::AsyncRead + Send + Unpin {}
impl<T: tokio::io::AsyncRead + Send + Unpin> ReadAny for T {}

#[test]
fn trap_a_panic_of_a_spawned_task_is_swallowed() {
    let mut sim = plain();
    sim.client("client", async {
        tokio::spawn(async { panic!("planted") });
        sleep(MOMENT).await;
        Ok(())
    });
    assert!(sim.run().is_ok());
}

#[test]
fn remedy_the_executor_tells_of_panics() {
    let probe = Probe::new(SimTime::of_turmoil(), Trace::off());
    let executor = SeededExecutor::new("client", Seed(1), Interleaving::default(), &probe);
    let mut sim = plain();
    let in_host = executor.clone();
    sim.client("client", async move {
        in_host.spawn(Box::pin(async { panic!("planted") }));
        sleep(MOMENT).await;
        Ok(())
    });
    sim.run().unwrap();
    assert_eq!(executor.panics()[0].message, "planted");
}

#[test]
fn trap_what_a_partition_swallowed_never_arrives() {
    let heard = Heard::default();
    let mut sim = plain();
    let collect = collect(&heard);
    plain_server(&mut sim, move |stream| collect(Box::new(stream)));
    sim.client("client", async {
        let mut stream = TcpStream::connect(SERVER).await?;
        stream.write_all(b"a").await?;
        sleep(MOMENT).await;
        turmoil::partition("client", "server");
        stream.write_all(b"b").await?;
        sleep(MOMENT).await;
        turmoil::repair("client", "server");
        // Taken without an error, and never delivered: there is a gap before it.
        stream.write_all(b"c").await?;
        sleep(Duration::from_secs(10)).await;
        Ok(())
    });
    sim.run().unwrap();
    assert_eq!(*heard.lock().unwrap(), b"a");
}

#[test]
fn remedy_a_cut_heals_and_everything_arrives() {
    let heard = Heard::default();
    let (mut sim, network) = (plain(), adapter());
    let collect = collect(&heard);
    adapted_server(&mut sim, &network, move |stream| collect(Box::new(stream)));
    let seen = Arc::clone(&heard);
    sim.client("client", async move {
        let mut stream = connect(&network).await?;
        stream.write_all(b"a").await?;
        sleep(MOMENT).await;
        network.network().cut("client", "server");
        stream.write_all(b"b").await?;
        sleep(MOMENT).await;
        assert_eq!(*seen.lock().unwrap(), b"a");
        network.network().heal("client", "server");
        stream.write_all(b"c").await?;
        sleep(MOMENT).await;
        Ok(())
    });
    sim.run().unwrap();
    assert_eq!(*heard.lock().unwrap(), b"abc");
}

#[test]
fn trap_a_connect_that_is_given_up_keeps_its_port() {
    let mut sim = plain();
    plain_server(&mut sim, |_| async {});
    sim.client("client", async {
        turmoil::hold("client", "server");
        for _ in 0..5 {
            let attempt = timeout(MOMENT, TcpStream::connect(SERVER)).await;
            assert!(attempt.is_err());
        }
        turmoil::release("client", "server");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(turmoil::established_tcp_stream_count(), 5);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn remedy_a_connect_that_is_given_up_leaves_nothing() {
    let (mut sim, network) = (plain(), adapter());
    adapted_server(&mut sim, &network, |_| async {});
    sim.client("client", async move {
        // Before it has come through, and while it is on its way.
        network.network().cut("server", "client");
        for _ in 0..5 {
            assert!(timeout(MOMENT, connect(&network)).await.is_err());
        }
        network.network().heal("server", "client");
        let at_once = Duration::from_nanos(1);
        for _ in 0..5 {
            assert!(timeout(at_once, connect(&network)).await.is_err());
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(turmoil::established_tcp_stream_count(), 0);
        assert_eq!(network.network().usage().links, Vec::<String>::new());
        Ok(())
    });
    sim.run().unwrap();
}

/// A server that listens and never accepts.
fn deaf(sim: &mut turmoil::Sim<'static>, network: Option<&TurmoilNetwork>) {
    let network = network.cloned();
    sim.host("server", move || {
        let network = network.clone();
        async move {
            let _held: Box<dyn std::any::Any> = match network {
                Some(network) => Box::new(network.listen("server").await?),
                None => Box::new(TcpListener::bind(ANYWHERE).await?),
            };
            std::future::pending().await
        }
    });
}

#[test]
fn trap_a_full_backlog_panics() {
    let mut sim = builder().tcp_capacity(2).build();
    deaf(&mut sim, None);
    sim.client("client", async {
        for _ in 0..3 {
            tokio::spawn(TcpStream::connect(SERVER));
        }
        sleep(MOMENT).await;
        Ok(())
    });
    let run = catch_unwind(AssertUnwindSafe(|| sim.run()));
    assert!(run.is_err());
}

#[test]
fn remedy_a_full_backlog_makes_connects_wait() {
    let (mut sim, network) = (plain(), adapter());
    deaf(&mut sim, Some(&network));
    sim.client("client", async move {
        for _ in 0..200 {
            let network = network.clone();
            tokio::spawn(async move { connect(&network).await.map(drop) });
        }
        sleep(MOMENT).await;
        assert!(timeout(MOMENT, connect(&network)).await.is_err());
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn trap_a_second_shutdown_fails() {
    let mut sim = plain();
    plain_server(&mut sim, |_| async { sleep(MOMENT).await });
    sim.client("client", async {
        let mut stream = TcpStream::connect(SERVER).await?;
        stream.shutdown().await?;
        let again = stream.shutdown().await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::NotConnected);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn remedy_a_second_shutdown_changes_nothing() {
    let (mut sim, network) = (plain(), adapter());
    adapted_server(&mut sim, &network, |_| async { sleep(MOMENT).await });
    sim.client("client", async move {
        let mut stream = connect(&network).await?;
        stream.shutdown().await?;
        stream.shutdown().await?;
        Ok(())
    });
    sim.run().unwrap();
}

/// Fills what lies before the reader, which reads nothing and then closes.
async fn write_until_it_ends(stream: &mut (impl tokio::io::AsyncWrite + Unpin)) -> io::Error {
    loop {
        if let Err(error) = stream.write_all(&[0; 1024]).await {
            return error;
        }
    }
}

#[test]
fn trap_a_blocked_writer_does_not_hear_of_a_reset() {
    let mut sim = plain();
    plain_server(&mut sim, |stream| async move {
        sleep(MOMENT).await;
        drop(stream);
    });
    sim.client("client", async {
        let mut stream = TcpStream::connect(SERVER).await?;
        let write = write_until_it_ends(&mut stream);
        assert!(timeout(Duration::from_secs(20), write).await.is_err());
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn remedy_a_blocked_writer_fails_when_the_connection_is_reset() {
    let (mut sim, network) = (plain(), adapter());
    adapted_server(&mut sim, &network, |stream| async move {
        sleep(MOMENT).await;
        drop(stream);
    });
    sim.client("client", async move {
        let mut stream = connect(&network).await?;
        let write = write_until_it_ends(&mut stream);
        let error = timeout(Duration::from_secs(20), write).await?;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_reset_that_strikes_a_connection_over_turmoil_is_told_at_both_ends() {
    let (mut sim, network) = (plain(), adapter());
    let at_server = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&at_server);
    adapted_server(&mut sim, &network, move |mut stream| {
        let heard = Arc::clone(&heard);
        async move {
            let error = stream.read_u8().await.unwrap_err();
            *heard.lock().unwrap() = Some(error.kind());
        }
    });
    sim.client("client", async move {
        let mut stream = connect(&network).await?;
        sleep(MOMENT).await;
        let (end, reset) = (asyncserver_sim::End::Client, asyncserver_sim::Fault::Reset);
        network.network().strike("client", "server", end, reset);
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        sleep(MOMENT).await;
        Ok(())
    });
    sim.run().unwrap();
    let heard = *at_server.lock().unwrap();
    assert_eq!(heard, Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn trap_connects_are_refused_in_a_partition_and_succeed_in_half_of_one() {
    let mut sim = plain();
    plain_server(&mut sim, |_| async { sleep(MOMENT).await });
    sim.client("client", async {
        turmoil::partition("client", "server");
        let refused = TcpStream::connect(SERVER).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        turmoil::repair("client", "server");
        turmoil::partition_oneway("server", "client");
        assert!(timeout(MOMENT, TcpStream::connect(SERVER)).await?.is_ok());
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn remedy_connects_wait_until_a_cut_of_either_direction_is_healed() {
    for (from, to) in [("client", "server"), ("server", "client")] {
        let (mut sim, network) = (plain(), adapter());
        adapted_server(&mut sim, &network, |_| async { sleep(MOMENT).await });
        sim.client("client", async move {
            network.network().cut(from, to);
            let mut attempt = std::pin::pin!(connect(&network));
            assert!(timeout(MOMENT, attempt.as_mut()).await.is_err());
            network.network().heal(from, to);
            attempt.await?;
            Ok(())
        });
        sim.run().unwrap();
    }
}

#[test]
fn trap_the_epoch_is_the_time_of_the_run() {
    let before = SystemTime::now();
    let mut sim = turmoil::Builder::new().build();
    sim.client("client", async move {
        let epoch = SystemTime::UNIX_EPOCH + turmoil::since_epoch().unwrap();
        assert!(epoch >= before);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn remedy_the_wall_clock_starts_in_2020() {
    let mut sim = turmoil::Builder::new().build();
    sim.client("client", async move {
        let wall = SimClock::new(SimTime::of_turmoil()).wall();
        let since = wall.duration_since(SystemTime::UNIX_EPOCH)?;
        assert_eq!(since.as_secs(), 1_577_836_800);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn trap_a_crash_looks_like_an_orderly_end() {
    let mut sim = plain();
    plain_server(&mut sim, |stream| async move {
        let _held = stream;
        std::future::pending().await
    });
    let heard = Rc::new(RefCell::new(None));
    let in_client = Rc::clone(&heard);
    sim.client("client", async move {
        let mut stream = TcpStream::connect(SERVER).await?;
        let end = stream.read(&mut [0; 8]).await;
        *in_client.borrow_mut() = Some(end.map_err(|error| error.kind()));
        Ok(())
    });
    while sim.elapsed() < MOMENT {
        sim.step().unwrap();
    }
    sim.crash("server");
    sim.run().unwrap();
    assert_eq!(*heard.borrow(), Some(Ok(0)));
}

#[test]
fn remedy_a_host_without_power_says_nothing_until_it_is_back() {
    let (mut sim, network) = (plain(), adapter());
    adapted_server(&mut sim, &network, |stream| async move {
        let _held = stream;
        std::future::pending().await
    });
    let heard = Rc::new(RefCell::new(None));
    let (in_client, of_client) = (Rc::clone(&heard), network.clone());
    sim.client("client", async move {
        let mut stream = connect(&of_client).await?;
        let end = stream.read(&mut [0; 8]).await;
        *in_client.borrow_mut() = Some(end.map_err(|error| error.kind()));
        assert!(connect(&of_client).await.is_ok());
        Ok(())
    });
    let run_to = |sim: &mut turmoil::Sim<'_>, ms| {
        while sim.elapsed() < Duration::from_millis(ms) {
            sim.step().unwrap();
        }
    };
    run_to(&mut sim, 500);
    network.network().power_off("server");
    sim.crash("server");
    run_to(&mut sim, 20_000);
    assert_eq!(*heard.borrow(), None);
    sim.bounce("server");
    network.network().power_on("server");
    sim.run().unwrap();
    assert_eq!(*heard.borrow(), Some(Err(io::ErrorKind::ConnectionReset)));
}

/// The order in which five tasks do three things each.
fn order(seed: u64, spawn: impl Fn(u64) -> Spawn + 'static) -> Vec<usize> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let in_host = Arc::clone(&log);
    let mut sim = builder().rng_seed(seed).enable_random_order().build();
    sim.client("client", async move {
        let spawn = spawn(seed);
        for task in 0..5 {
            let log = Arc::clone(&in_host);
            spawn(Box::pin(async move {
                for _ in 0..3 {
                    log.lock().unwrap().push(task);
                    tokio::task::yield_now().await;
                }
            }));
        }
        sleep(MOMENT).await;
        Ok(())
    });
    sim.run().unwrap();
    let order = log.lock().unwrap().clone();
    assert_eq!(order.len(), 15);
    order
}

type Spawn = Box<dyn Fn(BoxFuture)>;

#[test]
fn trap_tasks_of_a_host_have_one_order_whatever_the_seed() {
    let spawn = |_| -> Spawn { Box::new(|task| drop(tokio::spawn(task))) };
    let orders: BTreeSet<_> = (0..50).map(|seed| order(seed, spawn)).collect();
    assert_eq!(orders.len(), 1);
}

#[test]
fn remedy_the_executor_gives_tasks_an_order_for_each_seed() {
    let spawn = |seed| -> Spawn {
        let probe = Probe::new(SimTime::of_turmoil(), Trace::off());
        let executor = SeededExecutor::new("client", Seed(seed), Interleaving::default(), &probe);
        Box::new(move |task| executor.spawn(task))
    };
    let orders: BTreeSet<_> = (0..50).map(|seed| order(seed, spawn)).collect();
    assert!(orders.len() >= 45, "{}", orders.len());
    assert_eq!(order(7, spawn), order(7, spawn));
}

#[test]
fn server_and_client_work_over_turmoil_with_delays_at_every_byte() {
    for seed in 0..5 {
        let probe = Probe::new(SimTime::of_turmoil(), Trace::off());
        let delays = |_: &_, rng: &mut asyncserver_sim::Rng| LinkPlan {
            to_server: LinkFaults::random_delays(rng),
            to_client: LinkFaults::random_delays(rng),
        };
        let network = TurmoilNetwork::new(Seed(seed), probe, Box::new(delays));
        let mut sim = builder().tick_duration(Duration::from_millis(5)).build();
        let of_server = network.clone();
        sim.host("server", move || {
            let network = of_server.clone();
            async move {
                let server = Server::builder()
                    .task(TaskCode(1), "echo", async |_, message| Ok(message))
                    .build();
                let _serving = server.serve(network.listen("server").await?);
                std::future::pending().await
            }
        });
        sim.client("client", async move {
            let client = Client::builder(Network::address("server"))
                .connector(network.connector("client"))
                .seed(1)
                .build();
            let calls: Vec<_> = (0..20_u8)
                .map(|n| client.submit(1, vec![n; usize::from(n) * 30]))
                .collect();
            for (n, call) in (0..20_u8).zip(calls) {
                assert_eq!(call.await?, vec![n; usize::from(n) * 30]);
            }
            Ok(())
        });
        sim.run().unwrap();
    }
}

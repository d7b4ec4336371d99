//! What one echoed request costs the server, in CPU time, beside a raw loop
//! that rewrites the bytes in place and keeps no tasks: the limit of what any
//! server on this transport can reach.
//!
//! `cargo bench --bench echo` takes about a minute, `-- --quick` a quarter of it.
//! Each server is a process of its own; the rounds of all are interleaved, so
//! that a drift of the machine touches all alike. Only the ratios carry over to
//! other machines.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use asyncserver::runtime::tcp::TcpListener;
use asyncserver::server::{Limits, Server};
use asyncserver::wire::{TaskCode, WholeMessage, encode_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONTENDERS: [&str; 3] = ["raw", "asyncserver", "yielding"];
/// Connections, and requests in flight on each.
const SHAPES: [(usize, usize); 3] = [(1, 64), (1, 1024), (64, 16)];
const SIZES: [usize; 2] = [16, 1024];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        return serve(&arguments[at + 1]);
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, time) = if is_quick {
        (2, Duration::from_millis(250))
    } else {
        (5, Duration::from_millis(600))
    };
    println!("server CPU, µs a request: median (least to most), ratio to raw; thousand requests/s");
    for size in SIZES {
        for shape in SHAPES {
            compare(shape, size, rounds, time);
        }
    }
    println!("bytes of process memory an idle connection, after one echo each:");
    let connections = if is_quick { 1000 } else { 5000 };
    for contender in &CONTENDERS[..2] {
        println!("  {contender:12} {}", idle_bytes(contender, connections));
    }
}

/// A server in a process of its own.
struct ServerProcess {
    process: Child,
    address: String,
}

impl ServerProcess {
    fn start(contender: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program's path"))
            .args(["--serve", contender])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("its address");
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }

    /// The CPU time of all its threads, by the scheduler's own count.
    fn cpu(&self) -> Duration {
        let threads = format!("/proc/{}/task", self.process.id());
        let threads = std::fs::read_dir(threads).expect("the process lives");
        let nanos = threads.map(|thread| {
            let path = thread.expect("a thread").path().join("schedstat");
            let line = std::fs::read_to_string(path).unwrap_or_default();
            let first = line.split_whitespace().next();
            first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }

    fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/statm", self.process.id());
        let pages = std::fs::read_to_string(path).expect("the process lives");
        let pages = pages.split_whitespace().nth(1).map(str::parse::<usize>);
        pages.expect("a number").expect("a number") * 4096
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

// ── servers ──────────────────────────────────────────────────────────────

fn serve(contender: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        println!("{}", listener.local_addr().expect("its address"));
        match contender {
            "raw" => serve_raw(listener).await,
            "yielding" => serve_tasks(listener, true).await,
            _ => serve_tasks(listener, false).await,
        }
    });
}

async fn serve_tasks(listener: tokio::net::TcpListener, yields: bool) {
    let mut limits = Limits::default();
    limits.connection_limit = 30_000;
    let builder = Server::builder().limits(limits);
    let builder = if yields {
        builder.task(TaskCode(1), "echo", async |_, message| {
            tokio::task::yield_now().await;
            Ok(message)
        })
    } else {
        builder.task(TaskCode(1), "echo", async |_, message| Ok(message))
    };
    let _serving = builder.build().serve(TcpListener::from(listener));
    std::future::pending::<()>().await;
}

async fn serve_raw(listener: tokio::net::TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(echo_raw(stream));
    }
}

/// A request becomes its own response by its first byte alone.
async fn echo_raw(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("an option");
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    // An idle connection waits without a buffer in its hands, as a server's does.
    while let Ok(read @ 1..) = stream.read(&mut buffer[kept..]).await {
        let end = kept + read;
        let whole = rewrite(&mut buffer[..end], 0);
        if stream.write_all(&buffer[..whole]).await.is_err() {
            return;
        }
        buffer.copy_within(whole..end, 0);
        kept = end - whole;
    }
}

/// Sets the code of each whole frame; returns where the last whole one ends.
fn rewrite(frames: &mut [u8], code: u8) -> usize {
    let mut at = 0;
    while frames.len() - at > 5 {
        let Some(message) = WholeMessage::find(frames, at + 5) else {
            break;
        };
        frames[at] = code;
        at = message.encoded.end;
    }
    at
}

// ── load ─────────────────────────────────────────────────────────────────

fn compare((connections, in_flight): (usize, usize), size: usize, rounds: usize, time: Duration) {
    let servers = CONTENDERS.map(ServerProcess::start);
    let mut costs = [const { Vec::new() }; CONTENDERS.len()];
    let mut rates = [const { Vec::new() }; CONTENDERS.len()];
    for round in 0..=rounds {
        for (place, server) in servers.iter().enumerate() {
            let before = server.cpu();
            let began = Instant::now();
            let requests = load(&server.address, connections, in_flight, size, time);
            let cost = (server.cpu() - before).as_secs_f64() * 1e6 / requests as f64;
            // The first round warms up.
            if round > 0 {
                costs[place].push(cost);
                rates[place].push(requests as f64 / began.elapsed().as_secs_f64() / 1e3);
            }
        }
    }
    println!("{connections}×{in_flight}, {size} B");
    let raw = median(&mut costs[0]);
    for (place, contender) in CONTENDERS.iter().enumerate() {
        let cost = median(&mut costs[place]);
        let (least, most) = (costs[place][0], costs[place][costs[place].len() - 1]);
        let rate = median(&mut rates[place]);
        let ratio = cost / raw;
        println!("  {contender:12} {cost:6.3} ({least:.3} to {most:.3}) {ratio:5.2} {rate:8.0}");
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Keeps requests in flight for a while; returns how many were answered.
fn load(address: &str, connections: usize, in_flight: usize, size: usize, time: Duration) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let end = Instant::now() + time;
        let clients = (0..connections).map(|_| client(address.to_owned(), in_flight, size, end));
        let clients: Vec<_> = clients.map(tokio::spawn).collect();
        let mut requests = 0;
        for client in clients {
            requests += client.await.expect("a client");
        }
        requests
    })
}

async fn client(address: String, in_flight: usize, size: usize, end: Instant) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.set_nodelay(true).expect("an option");
    let mut message = bytes::BytesMut::new();
    encode_message(&vec![7; size], &mut message);
    let mut first = Vec::new();
    for id in 0..in_flight as u32 {
        first.push(1);
        first.extend(id.to_be_bytes());
        first.extend(&message);
    }
    let frame = first.len() / in_flight;
    stream.write_all(&first).await.expect("it is taken");
    let mut buffer = vec![0; 256 << 10];
    let (mut kept, mut answered) = (0, 0);
    while Instant::now() < end {
        let read = stream.read(&mut buffer[kept..]).await.expect("answers");
        assert!(read > 0, "the server closed the connection");
        // An answer becomes the next request by its first byte: its id is free again.
        let whole = rewrite(&mut buffer[..kept + read], 1);
        answered += whole / frame;
        stream
            .write_all(&buffer[..whole])
            .await
            .expect("it is taken");
        buffer.copy_within(whole..kept + read, 0);
        kept += read - whole;
    }
    answered
}

fn idle_bytes(contender: &str, connections: usize) -> usize {
    let server = ServerProcess::start(contender);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut streams = vec![echoed(&server.address).await];
        let before = server.resident_bytes();
        for _ in 0..connections {
            streams.push(echoed(&server.address).await);
        }
        server.resident_bytes().saturating_sub(before) / connections
    })
}

async fn echoed(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    let request = [1, 0, 0, 0, 1, 1, 7, 0];
    stream.write_all(&request).await.expect("it is taken");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.expect("an answer");
    stream
}

//! Serves the demo tasks of docs/protocol.md, so that any client can be tested
//! against this library.

mod tasks;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use asyncserver::runtime::tcp::TcpListener;
use asyncserver::server::{DrainReport, Limits, OnHalfClose, Server, Serving, Timeouts};
use asyncserver::wire::ByteOrder;
use clap::{Parser, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serves the demo tasks until SIGTERM or SIGINT, then shuts down gracefully;
/// at the second signal at once. The first line on standard output is
/// `listening on HOST:PORT`, the last one the drain report as JSON. Exit status
/// 0: everything was answered; 3: something was interrupted.
#[derive(Parser)]
struct Arguments {
    /// Where to accept connections; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The order of bytes in integers
    #[arg(long, default_value = "big")]
    byte_order: Order,
    /// How long a graceful end may take
    #[arg(long, value_name = "TIME", default_value = "10s")]
    grace: humantime::Duration,
    /// L1: the longest time with nothing to do
    #[arg(long, value_name = "TIME", default_value = "30m")]
    wait: humantime::Duration,
    /// L2: how long a request may stop coming
    #[arg(long, value_name = "TIME", default_value = "5s")]
    read: humantime::Duration,
    /// L3: how long responses may not be taken
    #[arg(long, value_name = "TIME", default_value = "5s")]
    write: humantime::Duration,
    /// L4: the longest message, in bytes
    #[arg(long, value_name = "N", default_value_t = 4_194_304)]
    max_message_bytes: usize,
    /// L5: tasks of one connection
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_in_flight: usize,
    /// L6: tasks of the server
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    max_tasks: usize,
    /// L7: unsent bytes of one connection
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_unsent_bytes: usize,
    /// L7: unsent bytes of the server
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    max_server_unsent_bytes: usize,
    /// L8: connections
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// L9: the time of a handshake
    #[arg(long, value_name = "TIME", default_value = "10s")]
    handshake: humantime::Duration,
    /// L11: the wait for a client's end of stream at the end
    #[arg(long, value_name = "TIME", default_value = "2s")]
    linger: humantime::Duration,
    /// L14: how long a task function may neither read nor return
    #[arg(long, value_name = "TIME", default_value = "5s")]
    task_function: humantime::Duration,
    /// L15: how long a body's next bytes may take
    #[arg(long, value_name = "TIME", default_value = "30s")]
    body: humantime::Duration,
    /// L16: held message bytes of one connection
    #[arg(long, value_name = "N", default_value_t = 16 << 20)]
    max_held_bytes: usize,
    /// L16: held message bytes of the server
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    max_server_held_bytes: usize,
    /// E5: between two signs of life of a task
    #[arg(long, value_name = "TIME", default_value = "15s")]
    processing: humantime::Duration,
    /// D7: a client that half-closes gets its answers
    #[arg(long)]
    half_close: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Big,
    Little,
}

impl Arguments {
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.message_limit_bytes = self.max_message_bytes;
        limits.in_flight_limit = self.max_in_flight;
        limits.task_limit = self.max_tasks;
        limits.unsent_limit_bytes = self.max_unsent_bytes;
        limits.server_unsent_limit_bytes = self.max_server_unsent_bytes;
        limits.connection_limit = self.max_connections;
        limits.held_limit_bytes = self.max_held_bytes;
        limits.server_held_limit_bytes = self.max_server_held_bytes;
        limits
    }

    fn timeouts(&self) -> Timeouts {
        let mut timeouts = Timeouts::default();
        timeouts.wait = self.wait.into();
        timeouts.read = self.read.into();
        timeouts.write = self.write.into();
        timeouts.handshake = self.handshake.into();
        timeouts.grace = self.grace.into();
        timeouts.linger = self.linger.into();
        timeouts.task_function = self.task_function.into();
        timeouts.body = self.body.into();
        timeouts.processing_interval = self.processing.into();
        timeouts
    }

    fn server(&self) -> Server {
        let builder = Server::builder()
            .limits(self.limits())
            .timeouts(self.timeouts())
            .byte_order(match self.byte_order {
                Order::Big => ByteOrder::Big,
                Order::Little => ByteOrder::Little,
            })
            .on_half_close(if self.half_close {
                OnHalfClose::Finish
            } else {
                OnHalfClose::ClientIsGone
            });
        tasks::register(builder).build()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed("starting threads", &error),
    };
    let status = runtime.block_on(run(&arguments));
    // Threads that block do not hold the process up.
    runtime.shutdown_background();
    status
}

fn failed(what: &str, error: &std::io::Error) -> ExitCode {
    eprintln!("demo_server: {what}: {error}");
    ExitCode::FAILURE
}

async fn run(arguments: &Arguments) -> ExitCode {
    let (terminate, interrupt) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (mut terminate, mut interrupt) = match (terminate, interrupt) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return failed("waiting for signals", &error),
    };
    let listener = match TcpListener::bind(&arguments.listen).await {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("listening on {}", arguments.listen), &error),
    };
    let serving = arguments.server().serve(listener);
    if let Some(address) = serving.local_address() {
        say(&format!("listening on {address}"));
    }
    next_of(&mut terminate, &mut interrupt).await;
    let report = shut_down(
        &serving,
        arguments.grace.into(),
        &mut terminate,
        &mut interrupt,
    )
    .await;
    say(&summary(&report));
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    }
}

async fn next_of(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn shut_down(
    serving: &Serving,
    grace: Duration,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> DrainReport {
    let graceful = serving.shutdown(grace);
    tokio::pin!(graceful);
    tokio::select! {
        biased;
        report = &mut graceful => return report,
        () = next_of(terminate, interrupt) => {}
    }
    // The second signal: the first shutdown's report has everything.
    drop(serving.shutdown(Duration::ZERO));
    graceful.await
}

/// Somebody who does not read what is printed shall not end the server.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn summary(report: &DrainReport) -> String {
    let counts = report.counts();
    let interrupted: Vec<_> = report
        .connections
        .iter()
        .flat_map(|closed| {
            closed.report.interrupted.iter().map(|task| {
                json!({
                    "client": closed.endpoints.to_string(),
                    "id": task.id.0,
                    "code": task.code.0,
                    "state": format!("{:?}", task.state),
                })
            })
        })
        .collect();
    let connections: Vec<_> = report
        .connections
        .iter()
        .map(|closed| {
            json!({
                "client": closed.endpoints.to_string(),
                "reason": closed.report.reason.to_string(),
                "deadline_reached": closed.report.deadline_reached,
            })
        })
        .collect();
    let stuck: Vec<_> = report.stuck.iter().map(ToString::to_string).collect();
    json!({
        "accepted": counts.accepted,
        "ok": counts.ok,
        "errors": counts.errors,
        "cancelled": counts.cancelled,
        "interrupted": counts.interrupted,
        "cancels": counts.cancels,
        "interrupted_tasks": interrupted,
        "connections": connections,
        "stuck": stuck,
    })
    .to_string()
}

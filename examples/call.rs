//! A curl for this protocol: calls a task on a server, once or many times.
//!
//! ```console
//! $ cargo run --example call -- 127.0.0.1:9000 1 --text hello
//! hello
//! ```

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use asyncserver::client::{CallError, Client, ClientTimeouts, Negotiation};
use asyncserver::runtime::Address;
use asyncserver::wire::{ByteOrder, TaskId};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt, stream};
use serde::Serialize;

/// Bytes of a body that `--json` shows.
const HEX_BYTES: usize = 4096;

/// Calls a task on a server.
#[derive(Parser)]
struct Arguments {
    /// The server's HOST:PORT.
    server: String,
    /// The task's code, 0 to 255.
    code: u8,
    /// The message, as text.
    #[arg(long, group = "message")]
    text: Option<String>,
    /// The message, as hexadecimal digits.
    #[arg(long, group = "message", value_parser = parse_hex)]
    hex: Option<Bytes>,
    /// The message, from a file.
    #[arg(long, group = "message")]
    file: Option<PathBuf>,
    /// The task id; with --repeat, of the first call, the others count on from it.
    #[arg(long)]
    id: Option<u32>,
    /// How many calls to make.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// How many of them at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Ask for each call to be cancelled after this time.
    #[arg(long, value_parser = humantime::parse_duration)]
    cancel_after: Option<Duration>,
    /// Time without any sign of a response after which a call is given up.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m")]
    timeout: Duration,
    /// Time for one attempt to connect.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    connect_timeout: Duration,
    /// How often a call that was not started is tried again.
    #[arg(long, default_value_t = 10)]
    retries: u32,
    /// Do not ask for extensions: speak the base protocol.
    #[arg(long)]
    no_negotiate: bool,
    /// The byte order of the server.
    #[arg(long, value_enum, default_value_t = Order::Big)]
    byte_order: Order,
    /// Print one JSON object a call.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Big,
    Little,
}

/// What became of a call, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("call: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes all calls and prints what becomes of them, in their order; whether all were ok.
async fn run(arguments: &Arguments) -> Result<bool, String> {
    let message = match (&arguments.text, &arguments.hex, &arguments.file) {
        (Some(text), ..) => text.clone().into(),
        (_, Some(hex), _) => hex.clone(),
        (.., Some(file)) => match std::fs::read(file) {
            Ok(message) => message.into(),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        },
        _ => Bytes::new(),
    };
    let client = client(arguments);
    let mut calls = stream::iter(0..arguments.repeat)
        .map(|number| call(&client, arguments, message.clone(), number))
        .buffered(arguments.in_flight as usize);
    let mut all_ok = true;
    while let Some((id, result, elapsed)) = calls.next().await {
        all_ok &= result.is_ok();
        let printed = if arguments.json {
            print_json(&report(id, &result, elapsed))
        } else {
            print_for_people(arguments, id, &result)
        };
        printed.map_err(|error| format!("standard output: {error}"))?;
    }
    drop(calls);
    // Lets what is still to be said to the server, a cancel perhaps, be said.
    client.close(Duration::from_secs(1)).await;
    Ok(all_ok)
}

fn client(arguments: &Arguments) -> Client {
    let mut timeouts = ClientTimeouts::default();
    timeouts.response = arguments.timeout;
    timeouts.connect = arguments.connect_timeout;
    Client::builder(Address::named(&arguments.server))
        .byte_order(match arguments.byte_order {
            Order::Big => ByteOrder::Big,
            Order::Little => ByteOrder::Little,
        })
        .negotiation(if arguments.no_negotiate {
            Negotiation::Skip
        } else {
            Negotiation::Ask
        })
        .retries(arguments.retries)
        .timeouts(timeouts)
        .build()
}

/// Makes one call, and returns its id, where known, its result, and how long it took.
async fn call(
    client: &Client,
    arguments: &Arguments,
    message: Bytes,
    number: u32,
) -> (Option<TaskId>, Result<Bytes, CallError>, Duration) {
    let begun = Instant::now();
    let id = arguments.id.map(|first| TaskId(first.wrapping_add(number)));
    let mut request = client.request(arguments.code).message(message);
    if let Some(id) = id {
        request = request.id(id);
    }
    let mut pending = request.submit();
    let mut ended = None;
    if let Some(after) = arguments.cancel_after {
        match tokio::time::timeout(after, &mut pending).await {
            Ok(result) => ended = Some(result),
            Err(_) => pending.cancel(),
        }
    }
    let result = match ended {
        Some(result) => result,
        None => (&mut pending).await,
    };
    (pending.id().or(id), result, begun.elapsed())
}

fn report(id: Option<TaskId>, result: &Result<Bytes, CallError>, elapsed: Duration) -> Report {
    let body = result.as_ref().ok();
    Report {
        id: id.map(|id| id.0),
        outcome: match result {
            Ok(_) => "ok",
            Err(error) => outcome(error),
        },
        error_code: match result {
            Err(CallError::Server { code }) => Some(code.0),
            _ => None,
        },
        length: body.map(Bytes::len),
        hex: body.map(|body| to_hex(&body[..body.len().min(HEX_BYTES)])),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        reason: result.as_ref().err().map(ToString::to_string),
    }
}

/// The word for what became of a call.
fn outcome(error: &CallError) -> &'static str {
    match error {
        CallError::Server { .. } => "error",
        CallError::Cancelled { .. } => "cancelled",
        CallError::NotStarted { .. } => "not_started",
        CallError::Interrupted { .. } => "interrupted",
        CallError::TimedOut { .. } => "timed_out",
        CallError::Protocol { .. } => "protocol_error",
        CallError::NotTaken { .. } => "not_taken",
        CallError::TooLong { .. } => "too_long",
        CallError::Closed { .. } => "closed",
        _ => "error",
    }
}

fn print_json(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")
}

/// Prints a body as it is, so that it can be piped; a line ends it only where
/// it would run into something else.
fn print_for_people(
    arguments: &Arguments,
    id: Option<TaskId>,
    result: &Result<Bytes, CallError>,
) -> std::io::Result<()> {
    match result {
        Ok(body) => {
            let mut out = std::io::stdout().lock();
            out.write_all(body)?;
            let shares = arguments.repeat > 1 || out.is_terminal();
            if shares && !body.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            out.flush()
        }
        Err(error) => {
            let task = id.map_or_else(|| "the task".to_owned(), |id| format!("task {id}"));
            eprintln!("call: {task}: {error}");
            Ok(())
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(digits: &str) -> Result<Bytes, String> {
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !digits.len().is_multiple_of(2) || !are_digits {
        return Err("an even number of hexadecimal digits is needed".to_owned());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16))
        .collect::<Result<Vec<u8>, _>>()
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

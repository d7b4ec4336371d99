//! Takes the SHA-256 of files, as `sha256sum` does, through a server: every file
//! is streamed to it as a task, many at once.

#[allow(dead_code, reason = "of the demo tasks only the digest is used here")]
#[path = "../demo_server/tasks.rs"]
mod tasks;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use asyncserver::client::{CallError, Client};
use asyncserver::runtime::Address;
use asyncserver::runtime::tcp::TcpListener;
use asyncserver::server::{Limits, Server};
use asyncserver::wire::{ByteOrder, TaskCode};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::File;
use tokio::sync::mpsc;

const DIGEST: TaskCode = TaskCode(10);

/// Prints what `sha256sum FILE...` prints, in the order of the arguments. Exit
/// status 1 when a file could not be read; the others are still done.
#[derive(Parser)]
struct Arguments {
    /// A server that is running already; without it one is started in this process
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// The order of bytes in integers
    #[arg(long, default_value = "big")]
    byte_order: Order,
    /// Files at a time, each over a connection of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Big,
    Little,
}

#[derive(Debug, thiserror::Error)]
enum DigestError {
    #[error("{}", words(.0))]
    Unreadable(#[from] std::io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the server's answer has {0} bytes where 32 are expected")]
    NotADigest(usize),
}

/// The error as the system's own tools word it.
fn words(error: &std::io::Error) -> String {
    let words = error.to_string();
    match words.split_once(" (os error") {
        Some((plain, _)) => plain.to_owned(),
        None => words,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("digest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many files failed.
async fn run(arguments: Arguments) -> std::io::Result<usize> {
    let order = match arguments.byte_order {
        Order::Big => ByteOrder::Big,
        Order::Little => ByteOrder::Little,
    };
    let address = match &arguments.connect {
        Some(address) => Address::named(address),
        None => embedded_server(order).await?,
    };
    let progress = progress_bar(&arguments.files);
    let files: Arc<[PathBuf]> = arguments.files.into();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (sender, results) = mpsc::channel(64);
    for _ in 0..usize::from(arguments.jobs).min(files.len()) {
        let client = Client::builder(address.clone()).byte_order(order).build();
        let worker = Worker {
            client,
            files: Arc::clone(&files),
            next: Arc::clone(&next),
            progress: progress.clone(),
        };
        tokio::spawn(worker.run(sender.clone()));
    }
    drop(sender);
    let failed = print_in_order(&files, results, &progress).await;
    progress.finish_and_clear();
    failed
}

/// A server on a free loopback port, for files of any length.
async fn embedded_server(order: ByteOrder) -> std::io::Result<Address> {
    let mut limits = Limits::default();
    limits.message_limit_bytes = usize::MAX;
    let builder = Server::builder().limits(limits).byte_order(order);
    let serving = tasks::register(builder)
        .build()
        .serve(TcpListener::bind("127.0.0.1:0").await?);
    let address = serving.local_address().cloned();
    address.ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
}

fn progress_bar(files: &[PathBuf]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes = files.iter().filter_map(|file| file.metadata().ok());
    let template =
        "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(sizes.map(|file| file.len()).sum())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// One connection, which takes one file after another.
struct Worker {
    client: Client,
    files: Arc<[PathBuf]>,
    next: Arc<std::sync::atomic::AtomicUsize>,
    progress: ProgressBar,
}

impl Worker {
    async fn run(self, results: mpsc::Sender<(usize, Result<Bytes, DigestError>)>) {
        loop {
            let place = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(path) = self.files.get(place) else {
                return;
            };
            let digest = self.digest(path).await;
            if results.send((place, digest)).await.is_err() {
                return;
            }
        }
    }

    async fn digest(&self, path: &Path) -> Result<Bytes, DigestError> {
        let mut file = File::open(path).await?;
        if file.metadata().await?.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory).into());
        }
        file.set_max_buf_size(READ_AT_ONCE);
        let message = self.progress.wrap_async_read(file);
        let digest = self
            .client
            .request(DIGEST)
            .message_reader(message)
            .call()
            .await?;
        match digest.len() {
            32 => Ok(digest),
            other => Err(DigestError::NotADigest(other)),
        }
    }
}

/// How much of a file is read at once, in bytes.
const READ_AT_ONCE: usize = 256 << 10;

/// Prints each result once those before it have been; returns how many failed.
async fn print_in_order(
    files: &[PathBuf],
    mut results: mpsc::Receiver<(usize, Result<Bytes, DigestError>)>,
    progress: &ProgressBar,
) -> std::io::Result<usize> {
    let (mut early, mut next, mut failed) = (BTreeMap::new(), 0, 0);
    while let Some((place, result)) = results.recv().await {
        early.insert(place, result);
        while let Some(result) = early.remove(&next) {
            match result {
                Ok(digest) => {
                    let line = line(&files[next], &digest);
                    progress.suspend(|| std::io::stdout().write_all(&line))?;
                }
                Err(error) => {
                    failed += 1;
                    let path = files[next].display();
                    progress.suspend(|| eprintln!("digest: {path}: {error}"));
                }
            }
            next += 1;
        }
    }
    Ok(failed)
}

/// A line as `sha256sum` writes it: names with a line break, a carriage return
/// or a backslash are escaped, and marked by a backslash in front.
fn line(path: &Path, digest: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut name = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\\' => name.extend(b"\\\\"),
            b'\n' => name.extend(b"\\n"),
            b'\r' => name.extend(b"\\r"),
            other => name.push(other),
        }
    }
    let mark = if name == path.as_os_str().as_bytes() {
        ""
    } else {
        "\\"
    };
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut line = format!("{mark}{hex}  ").into_bytes();
    line.extend(name);
    line.push(b'\n');
    line
}

//! What connections cost that do nothing, in memory.

use std::time::Duration;

use asyncserver::wire::{ByteOrder, TaskId, encode_message, encode_request_header};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Setup, Workload};
use crate::handler::Handler;
use crate::measure::{process_bytes, raise_open_file_limit};
use crate::report::{Results, Table, share};
use crate::server::{Build, ServerProcess, ServerSettings};

pub(super) struct Idle {
    pub(super) connections: usize,
}

/// Open files that are no connections, with a margin.
const OTHER_FILES: u64 = 200;
/// The library's default for connections, within which nothing is changed.
const DEFAULT_CONNECTIONS: usize = 10_000;

impl Workload for Idle {
    fn name(&self) -> String {
        format!("idle/{}", self.connections)
    }

    fn run(&self, setup: &Setup) -> Results {
        let files = raise_open_file_limit().saturating_sub(OTHER_FILES);
        let connections = self.connections.min(files as usize);
        let mut settings = ServerSettings::new(setup.burn);
        if connections >= DEFAULT_CONNECTIONS {
            settings.connection_limit = Some(connections + 1);
        }
        let title = format!("{connections} idle connections, bytes of process memory each");
        let mut table = Table::new(title, ["", "fresh", "after one echo"]);
        for contender in ["raw", "auto", "local", "spawn"] {
            if setup.includes(contender) {
                let server = ServerProcess::start(contender, Build::Plain, settings);
                let [fresh, used] = measure(&server, connections);
                table.row([contender.to_owned(), share(fresh), share(used)]);
            }
        }
        if connections < self.connections {
            table.note(format!(
                "The open file limit allows {connections} of {}.",
                self.connections
            ));
        }
        if !settings.note().is_empty() {
            table.note(settings.note());
        }
        table.into()
    }
}

fn measure(server: &ServerProcess, connections: usize) -> [f64; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut first = connect(server).await;
        echo(&mut first).await;
        let before = settled(server).await;
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(connect(server).await);
        }
        let fresh = settled(server).await;
        for stream in &mut streams {
            echo(stream).await;
        }
        let used = settled(server).await;
        [fresh, used].map(|bytes| bytes.saturating_sub(before) as f64 / connections as f64)
    })
}

async fn connect(server: &ServerProcess) -> TcpStream {
    let stream = TcpStream::connect(server.address()).await;
    stream.expect("it accepts")
}

async fn echo(stream: &mut TcpStream) {
    let mut request = BytesMut::new();
    let code = Handler::Ready.code();
    encode_request_header(code, TaskId(1), ByteOrder::Big, &mut request);
    encode_message(&[7; 16], &mut request);
    stream.write_all(&request).await.expect("it is taken");
    let mut answer = vec![0; request.len()];
    stream.read_exact(&mut answer).await.expect("an answer");
}

/// The server's memory, once it no longer changes: it may still be accepting.
async fn settled(server: &ServerProcess) -> u64 {
    let mut bytes = process_bytes(server.id());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = std::mem::replace(&mut bytes, process_bytes(server.id()));
        if before == bytes {
            return bytes;
        }
    }
}

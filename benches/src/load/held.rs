//! What lies beside a load: connections that do nothing, tasks that wait.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use asyncserver::wire::{ByteOrder, TaskId, encode_message, encode_request_header};
use bytes::BytesMut;

use crate::handler::Handler;
use crate::server::ServerProcess;

/// Connections that are kept open until this is dropped.
pub(crate) struct Held {
    _streams: Vec<TcpStream>,
}

/// Opens connections that send nothing.
pub(crate) fn connections(server: &ServerProcess, connections: usize) -> Held {
    let streams = (0..connections).map(|_| connect(server));
    Held {
        _streams: streams.collect(),
    }
}

/// Starts tasks that wait, so many on each connection; returns once all live.
pub(crate) fn tasks(server: &ServerProcess, tasks: usize, each: usize) -> Held {
    let mut streams = Vec::new();
    let mut left = tasks;
    while left > 0 {
        let here = left.min(each);
        left -= here;
        let mut requests = BytesMut::new();
        for id in 0..here as u32 {
            encode_request_header(
                Handler::Wait.code(),
                TaskId(id),
                ByteOrder::Big,
                &mut requests,
            );
            encode_message(&[7; 16], &mut requests);
        }
        let mut stream = connect(server);
        stream.write_all(&requests).expect("it is taken");
        streams.push(stream);
    }
    while server.ask("tasks") != tasks.to_string() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Held { _streams: streams }
}

fn connect(server: &ServerProcess) -> TcpStream {
    TcpStream::connect(server.address()).expect("it accepts")
}

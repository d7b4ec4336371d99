//! What bodies and messages of 1 GiB cost the server: less than 2 MiB above its
//! resting size (PROTOCOL L7, N8, L12). The server is a process of its own, and
//! the kernel does the counting.

#![cfg(target_os = "linux")]

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const GIB: usize = 1 << 30;
const ALLOWED_KIB: u64 = 2 << 10;

/// A demo server in a process of its own.
struct DemoServer {
    process: Child,
    address: String,
}

impl DemoServer {
    fn start() -> Self {
        let mut process = Command::new(programs::example("demo_server"))
            .args([
                "--max-message-bytes",
                "2000000000",
                "--write",
                "60s",
                "--read",
                "60s",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo server is built with the tests");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its first line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("its address");
        Self {
            address: address.to_owned(),
            process,
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("it accepts")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the field");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    }

    /// Peak minus resting size, in KiB, of what `work` makes the server do.
    fn cost_kib(&self, work: impl FnOnce()) -> u64 {
        let clear = format!("/proc/{}/clear_refs", self.process.id());
        std::fs::write(clear, "5").expect("the peak can be reset");
        let resting = self.status_kib("VmRSS:");
        work();
        self.status_kib("VmHWM:").saturating_sub(resting)
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Task 4: a body of `length` bytes, taken as fast as it comes.
fn take_body(stream: &mut TcpStream, length: usize) {
    let mut request = vec![4, 0, 0, 0, 1, 4];
    request.extend(u32::try_from(length).expect("it fits").to_be_bytes());
    request.push(0);
    stream.write_all(&request).expect("the request is taken");
    let mut left = 5 + length + length.div_ceil(255) + 1;
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let most = left.min(buffer.len());
        let read = stream
            .read(&mut buffer[..most])
            .expect("the response goes on");
        assert!(read > 0, "{left} bytes are missing");
        left -= read;
    }
}

/// Task 10: a message of `length` bytes, read by a streaming task function.
fn send_message(stream: &mut TcpStream, length: usize) {
    stream
        .write_all(&[10, 0, 0, 0, 2])
        .expect("the header is taken");
    let mut block = vec![7; 256];
    block[0] = 255;
    let chunk = block.repeat(1024);
    let mut left = length;
    while left >= 255 * 1024 {
        stream.write_all(&chunk).expect("the message is taken");
        left -= 255 * 1024;
    }
    stream.write_all(&[0]).expect("its end is taken");
    let mut answer = [0; 5 + 1 + 32 + 1];
    stream.read_exact(&mut answer).expect("the digest");
    assert_eq!(answer[..6], [0, 0, 0, 0, 2, 32]);
}

#[test]
fn bodies_and_messages_of_1_gib_cost_the_server_less_than_2_mib() {
    let server = DemoServer::start();
    let mut stream = server.connect();
    take_body(&mut stream, 8 << 20);
    send_message(&mut stream, 8 << 20);
    let body = server.cost_kib(|| take_body(&mut stream, GIB));
    let message = server.cost_kib(|| send_message(&mut stream, GIB));
    println!("a body of 1 GiB cost {body} KiB, a message {message} KiB");
    assert!(body < ALLOWED_KIB, "the body cost {body} KiB");
    assert!(message < ALLOWED_KIB, "the message cost {message} KiB");
}

//! A client of our wire that is nothing but its connection: one call at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::calls::Caller;
use super::request::{HEADER_BYTES, request};
use crate::handler::Handler;

#[derive(Clone)]
pub(crate) struct Bare(Arc<Mutex<TcpStream>>);

impl Caller for Bare {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("an option");
        Self(Arc::new(Mutex::new(stream)))
    }

    async fn call(&self, handler: Handler, message: Bytes) -> Bytes {
        let frame = request(handler, 1, message.len());
        let mut stream = self.0.lock().await;
        let written = stream.write_all(&frame).await;
        written.expect("the server is there");
        let mut answer = vec![0; frame.len()];
        let got = stream.read_exact(&mut answer).await;
        got.expect("the server is there");
        assert_eq!(answer[0], 0, "the answer is an error");
        assert_eq!(answer[HEADER_BYTES..], frame[HEADER_BYTES..], "an echo");
        message
    }

    /// Waits for the server to close it, too.
    async fn close(self) {
        let mut stream = self.0.lock().await;
        stream.shutdown().await.expect("the server is there");
        let got = stream.read(&mut [0; 16]).await;
        assert_eq!(got.expect("the server is there"), 0, "nothing was asked");
    }
}

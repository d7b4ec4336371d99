//! The limit: a loop that turns each request into its response by rewriting
//! the code byte, and sends back what it read. It keeps no tasks, checks
//! nothing, and answers at once whatever is asked.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::asyncserver::BaseClient;
use super::{Contender, Served, Silent};
use crate::load::{Round, Shape, calls};
use crate::measure::Probe;
use crate::server::ServerSettings;

pub(super) struct Raw;

impl Contender for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn serve(&self, listener: TcpListener, _: &ServerSettings) -> Box<dyn Served> {
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(async move { echo(stream).await });
            }
        });
        Box::new(Silent)
    }

    fn call(&self, shape: Shape, probe: Probe<'_>) -> Round {
        calls::load::<BaseClient>(shape, probe)
    }
}

thread_local! {
    /// Of each worker, not each connection: an idle connection holds none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = Frames::default();
    let mut unsent = Vec::new();
    while poll_fn(|cx| poll_echo(&mut stream, &mut frames, &mut unsent, cx)).await? > 0 {
        if !unsent.is_empty() {
            stream.write_all(&unsent).await?;
            unsent.clear();
        }
    }
    Ok(())
}

/// One read and one write, in the worker's buffer; `unsent` gets what the
/// write did not take. Ready with the bytes read.
fn poll_echo(
    stream: &mut TcpStream,
    frames: &mut Frames,
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        let bytes = read.filled_mut();
        frames.answer(bytes);
        let written = match Pin::new(stream).poll_write(cx, bytes) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        unsent.extend_from_slice(&bytes[written..]);
        Poll::Ready(Ok(bytes.len()))
    })
}

/// Where in its requests a connection is.
#[derive(Default)]
struct Frames {
    /// Bytes up to the next one that says something: the header's rest, or a block's.
    skip: usize,
    next: Next,
}

#[derive(Default)]
enum Next {
    #[default]
    Code,
    Length,
}

impl Frames {
    /// Sets the code of each request to `OK`; requests may be cut anywhere.
    fn answer(&mut self, bytes: &mut [u8]) {
        let mut at = self.skip;
        while let Some(byte) = bytes.get_mut(at) {
            match self.next {
                Next::Code => {
                    *byte = 0;
                    self.next = Next::Length;
                    at += 5;
                }
                Next::Length => {
                    if *byte == 0 {
                        self.next = Next::Code;
                    }
                    at += 1 + usize::from(*byte);
                }
            }
        }
        self.skip = at - bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn requests_become_responses_wherever_they_are_cut() {
        let requests = [1, 0, 0, 0, 1, 2, 8, 8, 1, 8, 0, 9, 0, 0, 0, 2, 0];
        let mut responses = requests;
        responses[0] = 0;
        responses[11] = 0;
        for cut in 0..=requests.len() {
            let mut bytes = requests;
            let mut frames = Frames::default();
            let (head, rest) = bytes.split_at_mut(cut);
            frames.answer(head);
            frames.answer(rest);
            assert_eq!(bytes, responses, "cut at {cut}");
        }
    }
}

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
use crate::load::{ClientLoads, With};
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

    fn client(&self) -> &'static dyn ClientLoads {
        &With::<BaseClient>::NEW
    }
}

thread_local! {
    /// Of each worker, not each connection: an idle connection holds none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::default();
    while poll_fn(|cx| connection.poll_echo(&mut stream, cx)).await? > 0 {
        if !connection.unsent.is_empty() {
            stream.write_all(&connection.unsent).await?;
            connection.unsent.clear();
        }
    }
    Ok(())
}

#[derive(Default)]
struct Connection {
    frames: Frames,
    /// The beginning of a request whose end has not come: a client may take an
    /// answer to what it has not sent amiss.
    kept: Vec<u8>,
    /// What a write did not take.
    unsent: Vec<u8>,
}

impl Connection {
    /// One read and one write, in the worker's buffer. Ready with the bytes read.
    fn poll_echo(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let kept = self.kept.len();
            let mut read = ReadBuf::new(&mut buffer[kept..]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            let read = read.filled().len();
            buffer[..kept].copy_from_slice(&self.kept);
            let is_full = kept + read == buffer.len();
            let bytes = &mut buffer[..kept + read];
            let whole = self.frames.answer(bytes, is_full);
            self.kept.clear();
            self.kept.extend_from_slice(&bytes[whole..]);
            if whole > 0 {
                let written = match Pin::new(stream).poll_write(cx, &bytes[..whole]) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                };
                self.unsent.extend_from_slice(&bytes[written..whole]);
            }
            Poll::Ready(Ok(read))
        })
    }
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
    /// Returns how many bytes can be sent: the rest is the beginning of a
    /// request, and is to come again with what follows it. One that is longer
    /// than a full buffer is sent on in parts.
    fn answer(&mut self, bytes: &mut [u8], is_full: bool) -> usize {
        let (mut at, mut begun) = (self.skip, None);
        while let Some(byte) = bytes.get_mut(at) {
            match self.next {
                Next::Code => {
                    begun = Some(at);
                    *byte = 0;
                    self.next = Next::Length;
                    at += 5;
                }
                Next::Length => {
                    if *byte == 0 {
                        begun = None;
                        self.next = Next::Code;
                    }
                    at += 1 + usize::from(*byte);
                }
            }
        }
        if let Some(begun) = begun
            && (begun > 0 || !is_full)
        {
            *self = Self::default();
            return begun;
        }
        self.skip = at - bytes.len();
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    const REQUESTS: [u8; 17] = [1, 0, 0, 0, 1, 2, 8, 8, 1, 8, 0, 9, 0, 0, 0, 2, 0];

    fn responses() -> [u8; 17] {
        let mut responses = REQUESTS;
        responses[0] = 0;
        responses[11] = 0;
        responses
    }

    #[test]
    fn requests_become_responses_wherever_they_are_cut() {
        for cut in 0..=REQUESTS.len() {
            let mut bytes = REQUESTS;
            let mut frames = Frames::default();
            let whole = frames.answer(&mut bytes[..cut], false);
            assert!(
                [0, 11, 17].contains(&whole),
                "{whole} bytes of {cut} are whole"
            );
            assert_eq!(frames.answer(&mut bytes[whole..], false), 17 - whole);
            assert_eq!(bytes, responses(), "cut at {cut}");
        }
    }

    #[test]
    fn a_request_longer_than_the_buffer_is_sent_on_in_parts() {
        let mut bytes = REQUESTS;
        let mut frames = Frames::default();
        assert_eq!(frames.answer(&mut bytes[..7], true), 7);
        assert_eq!(frames.answer(&mut bytes[7..], false), 10);
        assert_eq!(bytes, responses());
    }
}

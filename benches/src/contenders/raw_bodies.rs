//! The limit of long messages: a loop that reads one and drops it, or writes
//! the same 256 KiB again and again. And the floor: the same loop, but messages and
//! bodies are copied out of blocks and into them, as a server must for an application.

use std::io;

use asyncserver::wire::{BlockEncoder, TaskCode};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Contender, Served, Silent};
use crate::handler::{COUNT, COUNT_WHOLE, PRODUCE, PRODUCE_WHOLE};
use crate::long_message::{Collected, LongMessage, Skimmed, pieces, whole_body};
use crate::server::ServerSettings;

pub(super) const LIMIT: RawBodies = RawBodies {
    name: "raw-bodies",
    bodies: Bodies::Encoded,
};
pub(super) const FLOOR: RawBodies = RawBodies {
    name: "floor-bodies",
    bodies: Bodies::Copied,
};

pub(super) struct RawBodies {
    name: &'static str,
    bodies: Bodies,
}

/// What is read and written as a message, and as a body.
#[derive(Clone, Copy)]
enum Bodies {
    /// Blocks: nobody looks into those that come, and those that go were there before.
    Encoded,
    /// What the application's function would get, copied out of blocks, and what it
    /// would give, copied into them.
    Copied,
}

/// As much is put together for one write: what asyncserver does.
const WRITE_BYTES: usize = 256 << 10;

/// As much of a body is copied at once.
const PART_BYTES: usize = 64 << 10;

/// As much as asyncserver reads at once.
const READ_BYTES: usize = 64 << 10;

impl Contender for RawBodies {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serve(&self, listener: TcpListener, _: &ServerSettings) -> Box<dyn Served> {
        let bodies = self.bodies;
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // It ends with an error, for that is how a client leaves.
                tokio::spawn(async move { drop(serve(stream, bodies).await) });
            }
        });
        Box::new(Silent)
    }
}

/// One request after the other: the client sends the next when it has the answer.
async fn serve(mut stream: TcpStream, bodies: Bodies) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut memory = Vec::new();
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header).await?;
        let code = TaskCode(header[0]);
        header[0] = 0;
        match code {
            COUNT | COUNT_WHOLE => {
                let length = match bodies {
                    Bodies::Encoded => {
                        let mut message = Skimmed::default();
                        read(&mut stream, &mut buffer, |bytes| message.take(bytes)).await?
                    }
                    Bodies::Copied => {
                        let most = if code == COUNT {
                            PART_BYTES
                        } else {
                            usize::MAX
                        };
                        let mut message = Collected::new(memory, most);
                        let length =
                            read(&mut stream, &mut buffer, |bytes| message.take(bytes)).await?;
                        memory = message.into_memory();
                        length
                    }
                } as u64;
                let mut response = [0; 15];
                response[..5].copy_from_slice(&header);
                response[5] = 8;
                response[6..14].copy_from_slice(&length.to_be_bytes());
                stream.write_all(&response).await?;
            }
            PRODUCE | PRODUCE_WHOLE => {
                let mut message = [0; 10];
                stream.read_exact(&mut message).await?;
                let [_, length @ .., _] = message;
                let length = u64::from_be_bytes(length) as usize;
                stream.write_all(&header).await?;
                match bodies {
                    Bodies::Encoded => {
                        for write in LongMessage::new(length).writes() {
                            stream.write_all(write).await?;
                        }
                    }
                    Bodies::Copied if code == PRODUCE => copy(&mut stream, pieces(length)).await?,
                    Bodies::Copied => copy(&mut stream, [whole_body(length)]).await?,
                }
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

async fn copy(stream: &mut TcpStream, pieces: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
    let mut encoder = BlockEncoder::new();
    let mut blocks = BytesMut::new();
    for piece in pieces {
        for part in piece.chunks(PART_BYTES) {
            encoder.push(part, &mut blocks);
            if blocks.len() >= WRITE_BYTES {
                stream.write_all(&blocks).await?;
                blocks.clear();
            }
        }
    }
    encoder.finish(&mut blocks);
    stream.write_all(&blocks).await
}

/// Reads until the message has ended; returns its length.
async fn read(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> Option<usize>,
) -> io::Result<usize> {
    loop {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(length) = take(&buffer[..read]) {
            return Ok(length);
        }
    }
}

//! The limit of long messages: a loop that reads one and drops it, or writes
//! the same 256 KiB again and again.

use std::io;

use asyncserver::wire::TaskCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Contender, Served, Silent};
use crate::handler::{COUNT, PRODUCE};
use crate::long_message::{LongMessage, Skimmed};
use crate::server::ServerSettings;

pub(super) struct RawBodies;

/// As much as asyncserver reads at once.
const READ_BYTES: usize = 64 << 10;

impl Contender for RawBodies {
    fn name(&self) -> &'static str {
        "raw-bodies"
    }

    fn serve(&self, listener: TcpListener, _: &ServerSettings) -> Box<dyn Served> {
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // It ends with an error, for that is how a client leaves.
                tokio::spawn(async move { drop(serve(stream).await) });
            }
        });
        Box::new(Silent)
    }
}

/// One request after the other: the client sends the next when it has the answer.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header).await?;
        let code = TaskCode(header[0]);
        header[0] = 0;
        match code {
            COUNT => {
                let length = discard(&mut stream, &mut buffer).await? as u64;
                let mut response = [0; 15];
                response[..5].copy_from_slice(&header);
                response[5] = 8;
                response[6..14].copy_from_slice(&length.to_be_bytes());
                stream.write_all(&response).await?;
            }
            PRODUCE => {
                let mut message = [0; 10];
                stream.read_exact(&mut message).await?;
                let [_, length @ .., _] = message;
                stream.write_all(&header).await?;
                let body = LongMessage::new(u64::from_be_bytes(length) as usize);
                for write in body.writes() {
                    stream.write_all(write).await?;
                }
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

async fn discard(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut message = Skimmed::default();
    loop {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(length) = message.take(&buffer[..read]) {
            return Ok(length);
        }
    }
}

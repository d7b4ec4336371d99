//! What the client received: responses (section 4), by a parser of the
//! oracle's own.

use asyncserver::wire::ByteOrder;

use super::facts::Moment;
use super::sent::Stream;

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) reply: Reply,
    /// When its first byte came.
    pub(crate) first: Moment,
    /// When its last byte came.
    pub(crate) last: Moment,
    /// The request that it belongs to, by index; never one for `Goodbye`.
    pub(crate) request: Option<usize>,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Ok {
        id: u32,
        body: Vec<u8>,
        /// Whether all blocks but the last have 255 bytes (N4).
        blocks: Filled,
    },
    Error {
        id: u32,
        code: u8,
    },
    Goodbye(u32),
    Processing(u32),
}

/// How an encoder filled its blocks (N4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Full,
    Short,
}

impl Reply {
    /// The id of a terminal response (section 4).
    pub(crate) const fn terminal_id(&self) -> Option<u32> {
        match self {
            Self::Ok { id, .. } | Self::Error { id, .. } => Some(*id),
            Self::Goodbye(_) | Self::Processing(_) => None,
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Ok { id, body, .. } => format!("OK {id} ({} bytes)", body.len()),
            Self::Error { id, code } => format!("Error {id} code {code}"),
            Self::Goodbye(accepted) => format!("Goodbye after {accepted} requests"),
            Self::Processing(id) => format!("Processing {id}"),
        }
    }
}

/// What stands behind the last whole response.
#[derive(Clone, Debug)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// A response that was not whole.
    Cut {
        /// Its id, and how much of its body came, if it is an `OK` whose header came.
        ok: Option<(u32, usize)>,
        first: Moment,
        last: Moment,
        /// The request that it belongs to, by index.
        request: Option<usize>,
    },
    /// A byte that is no response code (N8).
    Unknown { code: u8, offset: usize, at: Moment },
}

/// Parses the server's stream.
pub(crate) fn parse(stream: &Stream, order: ByteOrder) -> (Vec<Received>, Tail) {
    let (mut responses, mut at) = (Vec::new(), 0);
    while let Some(&code) = stream.bytes.get(at) {
        let first = stream.moment_of(at);
        if code > 3 {
            let offset = at;
            let at = first;
            return (responses, Tail::Unknown { code, offset, at });
        }
        match parse_one(&stream.bytes[at..], order) {
            Ok((reply, length)) => {
                at += length;
                responses.push(Received {
                    reply,
                    first,
                    last: stream.moment_of(at - 1),
                    request: None,
                });
            }
            Err(ok) => {
                let last = stream.moment_of(stream.bytes.len() - 1);
                let request = None;
                let tail = Tail::Cut {
                    ok,
                    first,
                    last,
                    request,
                };
                return (responses, tail);
            }
        }
    }
    (responses, Tail::Clean)
}

/// The response at the start of `bytes` and its length, or what came of its body.
fn parse_one(bytes: &[u8], order: ByteOrder) -> Result<(Reply, usize), Option<(u32, usize)>> {
    let Some(&[code, ref number @ ..]) = bytes.first_chunk::<5>() else {
        return Err(None);
    };
    let id = order.decode_u32(*number);
    match (code, bytes.get(5)) {
        (2, _) => Ok((Reply::Goodbye(id), 5)),
        (3, _) => Ok((Reply::Processing(id), 5)),
        (1, Some(&code)) => Ok((Reply::Error { id, code }, 6)),
        (1, None) => Err(None),
        _ => parse_body(bytes, id),
    }
}

fn parse_body(bytes: &[u8], id: u32) -> Result<(Reply, usize), Option<(u32, usize)>> {
    let (mut body, mut at) = (Vec::new(), 5);
    let (mut blocks, mut previous) = (Filled::Full, 255);
    while let Some(&length) = bytes.get(at) {
        if length == 0 {
            return Ok((Reply::Ok { id, body, blocks }, at + 1));
        }
        if previous != 255 {
            blocks = Filled::Short;
        }
        previous = length;
        let end = at + 1 + usize::from(length);
        body.extend_from_slice(&bytes[at + 1..end.min(bytes.len())]);
        at = end;
    }
    Err(Some((id, body.len())))
}

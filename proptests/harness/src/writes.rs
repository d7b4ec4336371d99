//! What a client writes for a step of a scenario.

use std::time::Duration;

use asyncserver::wire::ByteOrder;
use oracle::{Op, Then};

/// What a client is to write next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing for so long.
    Pause(Duration),
    /// The end of its stream.
    End,
    /// Nothing more: the connection is reset.
    Reset,
}

/// What `op` writes, in order; nothing if it is no operation that sends.
#[must_use]
pub fn writes(op: &Op, order: ByteOrder) -> Vec<Write> {
    match op {
        Op::Send { request, pieces } => {
            let encoded = request.encode(order);
            let (mut writes, mut rest) = (Vec::new(), &encoded[..]);
            for piece in pieces {
                let (now, later) = rest.split_at(piece.bytes.min(rest.len()));
                writes.push(Write::Bytes(now.to_vec()));
                writes.push(Write::Pause(Duration::from_millis(piece.then_ms)));
                rest = later;
            }
            writes.push(Write::Bytes(rest.to_vec()));
            writes
        }
        Op::SendTogether { requests } => {
            let encoded = requests.iter().flat_map(|request| request.encode(order));
            vec![Write::Bytes(encoded.collect())]
        }
        Op::Cut {
            request,
            bytes,
            then,
        } => {
            let mut encoded = request.encode(order);
            encoded.truncate(*bytes);
            let end = match then {
                Then::EndOfStream => Some(Write::End),
                Then::Reset => Some(Write::Reset),
                Then::Silence => None,
            };
            [Write::Bytes(encoded)].into_iter().chain(end).collect()
        }
        Op::Garbage { bytes } => vec![Write::Bytes(bytes.0.clone())],
        Op::HalfClose => vec![Write::End],
        _ => Vec::new(),
    }
}

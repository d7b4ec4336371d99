//! Requests as data, and the bytes that they stand for (sections 2 and 3).
//! Written anew here, so that no bug is shared with the code under test.

use asyncserver::wire::{ByteOrder, TaskCode};
use serde::{Deserialize, Serialize};

use crate::{Hex, pattern};

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The task id that the client chooses; of a Cancel, the task to cancel.
    pub id: u32,
    /// What it asks for.
    pub ask: Ask,
    /// How its message is cut into blocks (N4).
    #[serde(default)]
    pub blocks: Blocks,
}

/// What a request asks for: the demo tasks of section 11, and the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// 1, with a message of so many bytes.
    Echo(usize),
    /// 2.
    Sleep {
        /// How long.
        ms: u32,
        /// Bytes behind it.
        rest: usize,
    },
    /// 3, with this error code.
    Fail(u8),
    /// 4, so many bytes.
    Produce(u32),
    /// 5.
    Panic,
    /// 6, with a message of so many bytes.
    Nothing(usize),
    /// 7.
    Reject(usize),
    /// 8.
    Break,
    /// 9, after so many bytes.
    Tear(u32),
    /// 10, of so many bytes.
    Digest(usize),
    /// 11, of so many bytes.
    First(usize),
    /// 12, after so many milliseconds.
    Tidy(u32),
    /// 13.
    Tasks,
    /// 14, for so many milliseconds.
    Block(u32),
    /// 15, as `Sleep`.
    Limited(u32),
    /// A scripted task of this code.
    Scripted {
        /// 20, 21 or 22: see [`scripted_tasks`](crate::scripted_tasks).
        code: u8,
        /// Message bytes.
        bytes: usize,
    },
    /// A code that nobody registered, with a message of so many bytes.
    Unknown {
        /// The code; 253 to 255 are such, too (E6).
        code: u8,
        /// Message bytes.
        bytes: usize,
    },
    /// E1, with a message of so many bytes.
    KeepAlive(usize),
    /// E2, with a message of so many bytes.
    Cancel(usize),
    /// E3.
    Negotiate {
        /// 0 is malformed, above 1 is answered as 1.
        version: u8,
        /// The features asked for.
        features: u32,
        /// The message's length: 5 is right, less is malformed, more is ignored.
        bytes: usize,
    },
    /// Any code with any message.
    Raw {
        /// The code.
        code: u8,
        /// The message.
        message: Hex,
    },
}

/// How a message is cut into blocks (N4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// Filled to 255 bytes, the last one aside.
    #[default]
    Full,
    /// Blocks of these sizes in turn, again and again; 0 counts as 1.
    Sizes(Vec<u8>),
}

impl Request {
    /// A request whose blocks are full.
    #[must_use]
    pub const fn new(id: u32, ask: Ask) -> Self {
        Self {
            id,
            ask,
            blocks: Blocks::Full,
        }
    }

    /// The task code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match &self.ask {
            Ask::Echo(_) => 1,
            Ask::Sleep { .. } => 2,
            Ask::Fail(_) => 3,
            Ask::Produce(_) => 4,
            Ask::Panic => 5,
            Ask::Nothing(_) => 6,
            Ask::Reject(_) => 7,
            Ask::Break => 8,
            Ask::Tear(_) => 9,
            Ask::Digest(_) => 10,
            Ask::First(_) => 11,
            Ask::Tidy(_) => 12,
            Ask::Tasks => 13,
            Ask::Block(_) => 14,
            Ask::Limited(_) => 15,
            Ask::KeepAlive(_) => TaskCode::KEEP_ALIVE.0,
            Ask::Cancel(_) => TaskCode::CANCEL.0,
            Ask::Negotiate { .. } => TaskCode::NEGOTIATE.0,
            Ask::Scripted { code, .. } | Ask::Unknown { code, .. } | Ask::Raw { code, .. } => *code,
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self, order: ByteOrder) -> Vec<u8> {
        let number = |number: u32| order.encode_u32(number).to_vec();
        match &self.ask {
            Ask::Echo(bytes)
            | Ask::Nothing(bytes)
            | Ask::Reject(bytes)
            | Ask::Digest(bytes)
            | Ask::First(bytes)
            | Ask::Scripted { bytes, .. }
            | Ask::Unknown { bytes, .. }
            | Ask::KeepAlive(bytes)
            | Ask::Cancel(bytes) => pattern(*bytes),
            Ask::Sleep { ms, rest } => [number(*ms), pattern(*rest)].concat(),
            Ask::Fail(code) => vec![*code],
            Ask::Panic | Ask::Break | Ask::Tasks => Vec::new(),
            Ask::Produce(n) | Ask::Tear(n) => number(*n),
            Ask::Tidy(ms) | Ask::Block(ms) | Ask::Limited(ms) => number(*ms),
            Ask::Negotiate {
                version,
                features,
                bytes,
            } => {
                let mut message = [vec![*version], number(*features)].concat();
                message.resize(*bytes, 0);
                message
            }
            Ask::Raw { message, .. } => message.0.clone(),
        }
    }

    /// The whole request as it stands on the wire (N3, section 3).
    #[must_use]
    pub fn encode(&self, order: ByteOrder) -> Vec<u8> {
        let mut bytes = vec![self.code()];
        bytes.extend(order.encode_u32(self.id));
        bytes.extend(self.blocks.encode(&self.message(order)));
        bytes
    }
}

impl Blocks {
    /// The message in blocks, and the zero byte that ends it.
    #[must_use]
    pub fn encode(&self, message: &[u8]) -> Vec<u8> {
        let sizes: &[u8] = match self {
            Self::Sizes(sizes) if !sizes.is_empty() => sizes,
            _ => &[255],
        };
        let (mut encoded, mut rest) = (Vec::new(), message);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (block, behind) = rest.split_at(usize::from(*size).max(1).min(rest.len()));
            encoded.push(block.len() as u8);
            encoded.extend(block);
            rest = behind;
        }
        encoded.push(0);
        encoded
    }
}

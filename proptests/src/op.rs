//! Everything that can happen to a connection, as data.

use serde::{Deserialize, Serialize};

use crate::history::{BodyEnd, RunEnd};
use crate::{Ask, Config, Hex, Request};

/// A server's settings, and what happens to one connection of it, or to several.
///
/// It is kept as JSON: see [`Scenario::from_json`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The settings.
    #[serde(default)]
    pub config: Config,
    /// What happens, by time; steps of the same time happen in their order.
    pub steps: Vec<Step>,
    /// More connections of the same server. Steps of one time come by turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
}

/// One more connection of a scenario's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// When it comes, in virtual milliseconds from the start of the first one.
    #[serde(default)]
    pub at_ms: u64,
    /// What happens to it, by the times of the first one.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The scenario as text for people.
    ///
    /// # Panics
    /// Never: a scenario has nothing that JSON has not.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("every scenario is JSON")
    }
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in virtual milliseconds from the start of the scenario's first connection.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub op: Op,
}

/// What can happen to a connection, from the client, the network, the server's
/// program or its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The client sends a request, at once or in pieces.
    Send {
        /// Which.
        request: Request,
        /// In which pieces; what they leave over is the last piece.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pieces: Vec<Piece>,
    },
    /// The client sends several requests in one write.
    SendTogether {
        /// Which.
        requests: Vec<Request>,
    },
    /// The client sends the start of a request and breaks off.
    Cut {
        /// Which request.
        request: Request,
        /// How many of its bytes are sent.
        bytes: usize,
        /// What follows.
        then: Then,
    },
    /// The client sends bytes that need not be a request.
    Garbage {
        /// Which.
        bytes: Hex,
    },
    /// The client ends its stream and goes on reading.
    HalfClose,
    /// The client goes away: it ends its stream and reads no more.
    Leave,
    /// The connection is reset.
    Reset,
    /// The client stops reading.
    StopReading,
    /// The client reads so many bytes at a time.
    ReadSlowly {
        /// How many.
        bytes: usize,
        /// How often, in milliseconds.
        every_ms: u64,
    },
    /// The client reads all that comes.
    ReadAll,
    /// The server's transport takes no more bytes.
    StallWriting,
    /// The server's transport gives no more bytes, though the client sends.
    StallReading,
    /// Both directions of the server's transport move again.
    Unstall,
    /// The server's transport fails: at its next read or write, or once it has
    /// taken so many more bytes.
    TransportError {
        /// How many.
        #[serde(default, skip_serializing_if = "is_zero")]
        after_bytes: usize,
    },
    /// The server's program looks at the list of tasks.
    List,
    /// The server's program cancels a task.
    Cancel {
        /// Its id.
        id: u32,
    },
    /// The server's program cancels all tasks of the client.
    CancelAll,
    /// D1, of this client.
    Disconnect {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
    /// D6, of all present clients.
    ServerDisconnect {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
    /// D6: the connection's context ends.
    EndContext,
    /// D5.
    Close,
    /// D5: the connection's own future is dropped.
    DropConnection,
    /// D6.
    Shutdown {
        /// The duration, in milliseconds.
        after_ms: u64,
    },
    /// The scripted task with this id ends now, or as soon as it starts.
    Complete {
        /// Its id.
        id: u32,
        /// How it ends.
        how: RunEnd,
    },
    /// The body of a scripted task that [stalls](BodyEnd::Stalls) goes on.
    CompleteBody {
        /// The task's id.
        id: u32,
        /// How it ends.
        how: BodyEnd,
    },
    /// Nothing but time passes.
    Pass,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(bytes: &usize) -> bool {
    *bytes == 0
}

/// A piece of a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// How many bytes.
    pub bytes: usize,
    /// The pause behind it, in milliseconds.
    pub then_ms: u64,
}

/// What follows a request that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The end of the stream.
    EndOfStream,
    /// A reset.
    Reset,
    /// Nothing: the connection stays as it is.
    Silence,
}

impl Op {
    /// The name of its kind, as in JSON; what a swarm picks from.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::SendTogether { .. } => "send_together",
            Self::Cut { .. } => "cut",
            Self::Garbage { .. } => "garbage",
            Self::HalfClose => "half_close",
            Self::Leave => "leave",
            Self::Reset => "reset",
            Self::StopReading => "stop_reading",
            Self::ReadSlowly { .. } => "read_slowly",
            Self::ReadAll => "read_all",
            Self::StallWriting => "stall_writing",
            Self::StallReading => "stall_reading",
            Self::Unstall => "unstall",
            Self::TransportError { .. } => "transport_error",
            Self::List => "list",
            Self::Cancel { .. } => "cancel",
            Self::CancelAll => "cancel_all",
            Self::Disconnect { .. } => "disconnect",
            Self::ServerDisconnect { .. } => "server_disconnect",
            Self::EndContext => "end_context",
            Self::Close => "close",
            Self::DropConnection => "drop_connection",
            Self::Shutdown { .. } => "shutdown",
            Self::Complete { .. } => "complete",
            Self::CompleteBody { .. } => "complete_body",
            Self::Pass => "pass",
        }
    }
}

/// Aims cancels and ends at ids that had been sent before: `aimed` is given each of
/// theirs with all that were sent until then, and gives the one to take.
pub fn aim<'a>(ops: impl IntoIterator<Item = &'a mut Op>, aimed: impl Fn(u32, &[u32]) -> u32) {
    let mut sent = Vec::new();
    for op in ops {
        let requests = match op {
            Op::Send { request, .. } => std::slice::from_mut(request),
            Op::SendTogether { requests } => requests,
            Op::Cancel { id } | Op::Complete { id, .. } | Op::CompleteBody { id, .. } => {
                *id = aimed(*id, &sent);
                continue;
            }
            _ => continue,
        };
        for request in requests {
            if matches!(request.ask, Ask::Cancel(_)) {
                request.id = aimed(request.id, &sent);
            } else {
                sent.push(request.id);
            }
        }
    }
}

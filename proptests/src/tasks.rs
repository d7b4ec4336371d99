//! What the tasks of a server do: those of PROTOCOL section 11, and scripted
//! ones, which do what a scenario tells them and report it.

use asyncserver::wire::{ByteOrder, ErrorCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A registered task, as far as the oracle must know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its code.
    pub code: u8,
    /// What it does with its message.
    pub does: Does,
    /// T10.
    #[serde(default)]
    pub on_cancel: OnCancel,
    /// Where its run function runs (T13).
    #[serde(default)]
    pub runs: Runs,
    /// T12, in milliseconds.
    #[serde(default)]
    pub run_limit_ms: Option<u64>,
    /// L4, where it is not the server's, in bytes.
    #[serde(default)]
    pub message_limit_bytes: Option<usize>,
    /// T7: how much of a body is produced before its response begins.
    #[serde(default = "begin_after")]
    pub begin_after_bytes: usize,
    /// A registration's own limit of tasks in flight (N9).
    #[serde(default)]
    pub max_in_flight: Option<usize>,
    /// How the task function of a scripted task takes its message.
    #[serde(default)]
    pub reads: Reads,
    /// The task that its run function cancels first of all, by its id: the
    /// server's program acts inside a turn of the connection.
    #[serde(default)]
    pub cancels: Option<u32>,
}

const fn begin_after() -> usize {
    64 << 10
}

impl TaskSpec {
    /// A task with the server's defaults.
    #[must_use]
    pub const fn new(code: u8, does: Does) -> Self {
        Self {
            code,
            does,
            on_cancel: OnCancel::Drop,
            runs: Runs::Async,
            run_limit_ms: None,
            message_limit_bytes: None,
            begin_after_bytes: begin_after(),
            max_in_flight: None,
            reads: Reads::Whole,
            cancels: None,
        }
    }

    /// The time that a function has after a cancel before it may be dropped (T10, T13).
    #[must_use]
    pub const fn grace_ms(&self) -> u64 {
        match (self.on_cancel, self.runs) {
            (OnCancel::Cooperate { grace_ms }, _) => grace_ms,
            (OnCancel::Drop, Runs::Blocking) => 1000,
            (OnCancel::Drop, _) => 0,
        }
    }
}

/// What a cancel does to a task in Running (T10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCancel {
    /// Its future is dropped.
    #[default]
    Drop,
    /// It is told, and has this long to end by itself.
    Cooperate {
        /// The grace, in milliseconds.
        grace_ms: u64,
    },
}

/// Where a run function runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// As a future, where the server thinks best.
    #[default]
    Async,
    /// As a future in the connection's own task.
    Local,
    /// As a future of its own on the executor, from its first poll on.
    Spawn,
    /// On a thread of its own, where nothing can drop it.
    Blocking,
}

impl Runs {
    /// Whether it can be dropped where it waits (T10, T13).
    #[must_use]
    pub const fn is_future(self) -> bool {
        !matches!(self, Self::Blocking)
    }
}

/// How the task function of a scripted task takes its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// It is given the whole message.
    #[default]
    Whole,
    /// It returns its run function at once, and leaves the message (T2).
    Nothing,
    /// It asks for one byte, and panics (T9).
    Panics,
    /// It asks for one byte, and then neither for more nor returns (L14).
    Dawdles,
}

/// What a task does (section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Returns its message.
    Echo,
    /// Waits, and returns the rest.
    Sleep,
    /// Fails with the code in its message.
    Fail,
    /// Returns a body of so many bytes, streamed.
    Produce,
    /// Panics.
    Panic,
    /// Has no run function.
    Nothing,
    /// Its task function fails.
    Reject,
    /// Its run function fails without a code.
    Break,
    /// Its body fails after so many bytes, without a code.
    Tear,
    /// Returns the SHA-256 of its message.
    Digest,
    /// Reads one byte and returns it.
    First,
    /// As `Sleep`, but answers `done`, and `tidied` when told to cancel.
    Tidy,
    /// Returns the ids of the client's live tasks.
    Tasks,
    /// Sleeps on a blocking thread, deaf to cancels, then answers `done`.
    Block,
    /// Does what the scenario says ([`Op::Complete`](crate::Op::Complete)) and
    /// reports it ([`RunEnd`](crate::RunEnd)).
    Scripted,
}

/// The codes of section 11, and scripted tasks under more: 20 (Drop), 21
/// (Cooperate, 300 ms), 22 (blocking, a grace of 300 ms), and 23, 24 and 25,
/// whose task functions [leave](Reads::Nothing) their message, [panic](Reads::Panics)
/// and [dawdle](Reads::Dawdles); 26 begins its response with the first byte, and
/// two of it may be in flight; 27 is blocking under Drop.
#[must_use]
pub fn scripted_tasks() -> Vec<TaskSpec> {
    let cooperate = OnCancel::Cooperate { grace_ms: 300 };
    let mut tasks = demo_tasks();
    tasks.push(TaskSpec::new(20, Does::Scripted));
    tasks.push(TaskSpec {
        on_cancel: cooperate,
        ..TaskSpec::new(21, Does::Scripted)
    });
    tasks.push(TaskSpec {
        on_cancel: cooperate,
        runs: Runs::Blocking,
        ..TaskSpec::new(22, Does::Scripted)
    });
    for (code, reads) in [
        (23, Reads::Nothing),
        (24, Reads::Panics),
        (25, Reads::Dawdles),
    ] {
        tasks.push(TaskSpec {
            reads,
            ..TaskSpec::new(code, Does::Scripted)
        });
    }
    tasks.push(TaskSpec {
        runs: Runs::Blocking,
        ..TaskSpec::new(27, Does::Scripted)
    });
    tasks.push(TaskSpec {
        begin_after_bytes: 1,
        max_in_flight: Some(2),
        ..TaskSpec::new(26, Does::Scripted)
    });
    tasks
}

/// The table of section 11.
#[must_use]
pub fn demo_tasks() -> Vec<TaskSpec> {
    use Does::*;
    let order = [
        Echo, Sleep, Fail, Produce, Panic, Nothing, Reject, Break, Tear, Digest, First, Tidy,
        Tasks, Block, Sleep,
    ];
    let mut tasks: Vec<_> = (1..)
        .zip(order)
        .map(|(code, does)| TaskSpec::new(code, does))
        .collect();
    tasks[11].on_cancel = OnCancel::Cooperate { grace_ms: 1000 };
    tasks[13].on_cancel = OnCancel::Cooperate { grace_ms: 500 };
    tasks[13].runs = Runs::Blocking;
    tasks[14].run_limit_ms = Some(200);
    tasks
}

/// How a task ends if nobody cancels it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Natural {
    /// `OK` with this body.
    Ok(Vec<u8>),
    /// `OK` with a [`pattern`] of so many bytes, which may be too many to build.
    Pattern(usize),
    /// `Error` with this code.
    Error(u8),
    /// A connection error; of the response this many bytes may have come.
    ConnectionError {
        /// How long the body was when it failed; 0 where there was none.
        body_bytes: usize,
    },
    /// `OK` with the ids of the live tasks.
    LiveIds,
    /// What the run function reports.
    AsReported,
}

/// How a task of section 11 ends if nobody cancels it, and how long after its
/// start, in milliseconds.
#[must_use]
pub fn natural(does: Does, message: &[u8], order: ByteOrder) -> (Natural, u64) {
    let number = message
        .first_chunk::<4>()
        .map(|bytes| order.decode_u32(*bytes));
    let with_number = |then: &dyn Fn(u32) -> (Natural, u64)| {
        // "A message shorter than its layout is answered `Error 1`."
        number.map_or((Natural::Error(1), 0), then)
    };
    match does {
        Does::Echo => (Natural::Ok(message.to_vec()), 0),
        Does::Sleep => with_number(&|ms| (Natural::Ok(message[4..].to_vec()), ms.into())),
        Does::Fail => (Natural::Error(message.first().copied().unwrap_or(1)), 0),
        Does::Produce => with_number(&|n| (Natural::Pattern(n as usize), 0)),
        Does::Panic => (Natural::Error(ErrorCode::PANICKED.0), 0),
        Does::Nothing => (Natural::Ok(Vec::new()), 0),
        Does::Reject | Does::Break => (Natural::ConnectionError { body_bytes: 0 }, 0),
        Does::Tear => with_number(&|n| {
            let body_bytes = n as usize;
            (Natural::ConnectionError { body_bytes }, 0)
        }),
        Does::Digest => (Natural::Ok(Sha256::digest(message).to_vec()), 0),
        Does::First => (Natural::Ok(message.iter().take(1).copied().collect()), 0),
        Does::Tidy | Does::Block => {
            with_number(&|ms| (Natural::Ok(b"done".to_vec()), u64::from(ms)))
        }
        Does::Tasks => (Natural::LiveIds, 0),
        Does::Scripted => (Natural::AsReported, 0),
    }
}

/// The body that the demo tasks and scripted ones produce: byte i is i mod 251.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(pattern_byte).collect()
}

/// Whether this is the [`pattern`] of that length.
#[must_use]
pub fn is_pattern(body: &[u8], length: usize) -> bool {
    let mut expected = (0..length).map(pattern_byte);
    body.len() == length && body.iter().all(|byte| expected.next() == Some(*byte))
}

const fn pattern_byte(index: usize) -> u8 {
    (index % 251) as u8
}

/// Where futures run: where the server likes, more often than not, or all in one
/// other place, or each code in another one.
pub const PLACES: [[Runs; 3]; 6] = [
    [Runs::Async; 3],
    [Runs::Async; 3],
    [Runs::Local; 3],
    [Runs::Spawn; 3],
    [Runs::Local, Runs::Spawn, Runs::Async],
    [Runs::Spawn, Runs::Async, Runs::Local],
];

/// Has the futures among the tasks run in these places, by their codes.
pub fn place(tasks: &mut [TaskSpec], places: [Runs; 3]) {
    for task in tasks.iter_mut().filter(|task| task.runs.is_future()) {
        task.runs = places[usize::from(task.code) % places.len()];
    }
}

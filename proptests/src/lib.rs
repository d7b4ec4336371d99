//! One oracle for everything that tests asyncserver: property tests, the
//! simulator, loom, and programs in other languages that write its JSON.
//!
//! It judges what was *seen* of a connection, its [`History`], against the *set*
//! of outcomes that PROTOCOL allows. Of the library it uses the plain types of
//! `wire` and nothing else; it parses both directions of the byte stream itself.
//!
//! ```text
//! Scenario (Op, Config) ── a harness ──► History ── Oracle ──► a Violation, or none
//!   from `strategy`,       runs it and     │
//!   JSON, or a plan        records         └────── Reach ────► which states were reached
//! ```
//!
//! | module | what |
//! |---|---|
//! | `op`, `request`, `config`, `tasks` | a [`Scenario`] as data: what happens, the settings, what tasks do |
//! | [`strategy`] | scenarios by chance |
//! | `history`, `report` | what was seen, as data |
//! | `server` | what was seen of several connections of one server, and its judge |
//! | `oracle` | the judge: one file per group of rules |
//! | `reach` | the list of interesting states, and a counter |
//! | [`timeline`] | a history as text |
//! | `handmade` | histories written by hand, for tests |
//! | [`model`] | plain models of the protocol, for the suites `models_*` |
//!
//! # How a harness records
//!
//! A harness runs a [`Scenario`] against a server and keeps a [`Recorder`], which
//! the client, the tasks, the observer and the callers of handles share.
//!
//! **The order of the calls of [`Recorder::record`] is what the oracle goes by**:
//! of two events the one that was recorded first is taken to have happened
//! first. So what *causes* something is recorded before it is done, and what
//! was *seen* is recorded after it was seen:
//!
//! | event | recorded |
//! |---|---|
//! | [`Sent`](What::Sent) | before the bytes are given to the transport. What the transport did not take in the end (the write failed, or was given up) is taken back with one [`Unsent`](What::Unsent) |
//! | [`ClientEnded`](What::ClientEnded), [`ClientReset`](What::ClientReset) | before; a client that goes away is both ended and, where the transport tells the server so, reset. A transport error that is injected at the server is a `ClientReset`, too |
//! | [`Received`](What::Received), [`ServerEnded`](What::ServerEnded), [`ServerReset`](What::ServerReset) | when the client's read has returned them |
//! | [`Stalled`](What::Stalled), [`Flowing`](What::Flowing) | before a direction becomes slow in any way (the client stops reading or reads slowly, the transport is held up), and when it is as fast as it can be again. The client then reads what waits before anything else is done |
//! | [`Called`](What::Called), [`Returned`](What::Returned) | around each call of a handle. Dropping the connection's future is a [`Close`](Call::Close). A shutdown is `Called` when it is called, `Returned` when its future is ready |
//! | [`FunctionStarted`](What::FunctionStarted), [`RunStarted`](What::RunStarted) | first thing in the test's own task function or run function |
//! | [`FunctionEnded`](What::FunctionEnded), [`RunEnded`](What::RunEnded) | last thing in it; by a guard that it holds where it is dropped ([`Dropped`](RunEnd::Dropped)) or panics. A function that was never polled has no events |
//! | [`BodyEnded`](What::BodyEnded), [`BodyDropped`](What::BodyDropped) | a body that [stalls](BodyEnd::Stalls) and goes on; every body's drop |
//! | [`Observed`](What::Observed) | in the observer's method |
//! | [`Closed`](What::Closed) | when the connection's report is there: the last event of the connection itself |
//! | [`Left`](What::Left) | at the very end, from the server's own counts |
//!
//! Times are those of one monotonic clock: of paused tokio time, of the
//! simulator. How far they may be off is [`Tolerance`]. A scripted task returns
//! bodies of [`pattern`], so that [`RunEnd`] says all about them; of demo tasks
//! the oracle knows from section 11 what they do, and their functions need not
//! be recorded. If every function and every observer event is recorded, say so
//! in [`Views`]: then their absence is judged, too.
//!
//! At the end the harness lets everything settle: it lets the client read all,
//! has scripted tasks complete, ends the client's stream, disconnects what is
//! left with some duration, waits for the report and for functions that may run
//! on (their graces and a second), records [`Left`](What::Left), and calls
//! [`Oracle::finish`]. While a scenario runs, [`Oracle::judge`] may be called as
//! often as one likes.
//!
//! Several connections of one server have a history each, of one clock, and the
//! order of all their events: a [`ServerHistory`]. A call for all clients is
//! recorded in each of them. Each is judged by itself, and all together by what
//! they share: the places of L6, L8, L16 and N9.
//!
//! A client of another language records bytes alone: [`Oracle::judge`] then
//! demands what can be demanded of bytes and their times.
//!
//! # What it does not judge
//! What cannot be seen from outside, or not without knowing the server's own
//! buffers: N1 and N5 as such (every rule depends on them); section 10, for
//! clients are judged by their own tests; L7, L12 and L13 but through what they
//! let happen; L8 and L9 beyond their reasons; the order of what is queued
//! inside one turn (L13); T2's discarding as such; logs.

mod config;
mod handmade;
mod hex;
mod history;
pub mod model;
mod op;
mod oracle;
mod reach;
mod report;
mod request;
mod server;
pub mod strategy;
mod tasks;
pub mod timeline;

pub use config::{Config, Limits, Neighbours, OnHalfClose, Order, Timeouts, Tolerance};
pub use handmade::Handmade;
pub use hex::Hex;
pub use history::{
    BodyEnd, Call, CancelCause, Direction, Ending, Event, FunctionEnd, History, Observed, Recorder,
    Residue, Returned, RunEnd, View, Views, What,
};
pub use op::{Neighbour, Op, Piece, Scenario, Step, Then, aim};
pub use oracle::{Oracle, Rule, Violation};
pub use reach::{Reach, Reached, reached, reached_together};
pub use report::{Interrupted, Reason, Report, State};
pub use request::{Ask, Blocks, Request};
pub use server::ServerHistory;
pub use tasks::{
    Does, Natural, OnCancel, PLACES, Reads, Runs, TaskSpec, demo_tasks, is_pattern, natural,
    pattern, place, scripted_tasks,
};

//! The plainest possible models of PROTOCOL, and the suites that run them
//! beside the library.
//!
//! A model shares no code with what it judges: a few vectors, no tables, no
//! cleverness. Each decision cites its rule. Where PROTOCOL leaves a choice
//! open, the model takes the library's, and says so with the word *choice*.

pub mod calls;
pub mod codec;
pub mod connection;
pub mod disconnect;
pub mod ledger;
pub mod outbox;
pub mod pace;
pub mod suite;
pub mod time;

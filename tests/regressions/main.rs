//! Bugs that were found, each by a test that fails without its fix.

#[path = "../wire_client/mod.rs"]
mod wire_client;

mod bodies;
mod ends;
mod execution;
mod limits;
mod observers;
mod panics;
mod processing;
mod shutdown;
mod untold;
mod world;

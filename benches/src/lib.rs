//! asyncserver measured beside its peers: what a request costs, how long it
//! takes, what it allocates, and how that grows.
//!
//! The program starts each server as a process of its own (it runs itself with
//! `--serve`), puts load on it over loopback TCP, and goes through all
//! contenders round by round, so that a drift of the machine touches all alike.
//!
//! - `contenders`: the servers, each with its client, behind one trait
//! - `load`: what is done to them
//! - `measure`: CPU, memory, allocations, system calls, latency
//! - `workloads`: which load, in what shape, for whom
//! - `report`: tables and plots

mod arguments;
mod contenders;
mod handler;
mod load;
mod long_message;
mod measure;
mod report;
mod server;
mod workloads;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use measure::AllocationCount;

/// The program, with the system's allocator as it is.
pub fn run() -> ExitCode {
    start(AllocationCount::Unknown)
}

/// The program, in an allocator that counts; only rounds that are not timed run in it.
pub fn run_counting(allocations: fn() -> u64) -> ExitCode {
    start(AllocationCount::Counted(allocations))
}

fn start(allocations: AllocationCount) -> ExitCode {
    let arguments = Arguments::parse();
    measure::raise_open_file_limit();
    match &arguments.server.serve {
        Some(contender) => server::serve(contender, &arguments.server.settings, allocations),
        None => workloads::run(&arguments),
    }
}

//! What is measured, and how.

mod cpu;
mod latency;
mod memory;
mod probe;
mod system_calls;

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use cpu::{own_cpu, process_cpu};
pub(crate) use latency::Latency;
pub(crate) use memory::process_bytes;
pub(crate) use probe::{Begun, Cost, Probe};

/// What a process knows of its allocations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AllocationCount {
    /// Its allocator does not count.
    Unknown,
    /// How many there were since it started.
    Counted(fn() -> u64),
}

impl AllocationCount {
    pub(crate) fn now(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Counted(count) => count(),
        }
    }
}

/// As many open files as this process may have; returns how many that are.
pub(crate) fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// How many connections a process may have, beside a few other files.
pub(crate) fn most_connections() -> usize {
    const OTHER_FILES: u64 = 200;
    raise_open_file_limit().saturating_sub(OTHER_FILES) as usize
}

/// The program that counts allocations, which lies beside the one that runs.
pub(crate) fn counting_program(own: &Path) -> PathBuf {
    static BUILD: std::sync::Once = std::sync::Once::new();
    // Cargo builds only what it was asked to run; the rest is a matter of seconds.
    BUILD.call_once(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "benches",
            "--bin",
            "counting",
        ]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "the counting server is built");
    });
    own.with_file_name("counting")
}

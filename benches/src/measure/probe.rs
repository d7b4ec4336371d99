//! What a stretch of load costs a server and its client.

use std::time::{Duration, Instant};

use super::own_cpu;
use super::system_calls::SystemCalls;
use crate::server::{Build, ServerProcess};

/// Reads a server's counters where a load begins and ends.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    server: &'a ServerProcess,
}

/// The counters at the beginning.
pub(crate) struct Begun<'a> {
    server: &'a ServerProcess,
    cpu: Duration,
    own_cpu: Duration,
    allocations: u64,
    system_calls: Option<SystemCalls>,
    at: Instant,
}

/// What was used in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
    /// Only of a server that counts, as the next.
    pub(crate) allocations: Option<u64>,
    pub(crate) system_calls: Option<u64>,
}

impl<'a> Probe<'a> {
    pub(crate) const fn new(server: &'a ServerProcess) -> Self {
        Self { server }
    }

    pub(crate) const fn server(&self) -> &'a ServerProcess {
        self.server
    }

    pub(crate) fn begin(self) -> Begun<'a> {
        let server = self.server;
        let (allocations, system_calls) = match server.build() {
            Build::Plain => (0, None),
            Build::Counting => (server.allocations(), SystemCalls::start(server.id())),
        };
        Begun {
            server,
            allocations,
            system_calls,
            cpu: server.cpu(),
            own_cpu: own_cpu(),
            at: Instant::now(),
        }
    }
}

impl Begun<'_> {
    pub(crate) fn end(self) -> Cost {
        let elapsed = self.at.elapsed();
        let client_cpu = own_cpu().saturating_sub(self.own_cpu);
        let server_cpu = self.server.cpu().saturating_sub(self.cpu);
        let system_calls = self.system_calls.and_then(SystemCalls::end);
        let allocations = match self.server.build() {
            Build::Plain => None,
            Build::Counting => Some(self.server.allocations() - self.allocations),
        };
        Cost {
            elapsed,
            server_cpu,
            client_cpu,
            allocations,
            system_calls,
        }
    }
}

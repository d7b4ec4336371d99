//! What connections cost that do nothing, in memory.

use super::interleave::{Entry, Load};
use super::{Setup, Workload};
use crate::measure::most_connections;
use crate::report::{Results, Table, share};
use crate::server::{Build, ServerProcess, ServerSettings};

pub(super) struct Idle {
    pub(super) connections: usize,
}

const CONTENDERS: [Entry; 6] = [
    Entry::wire("raw"),
    Entry::wire("auto"),
    Entry::wire("local"),
    Entry::wire("spawn"),
    Entry::calls("tarpc"),
    Entry::calls("tonic"),
];

/// More of them would tell nothing new, and their clients take memory, too.
const MOST_OF_PEERS: usize = 5_000;
/// The library's default for connections, within which nothing is changed.
const DEFAULT_CONNECTIONS: usize = 10_000;

impl Workload for Idle {
    fn name(&self) -> String {
        format!("idle/{}", self.connections)
    }

    fn run(&self, setup: &Setup) -> Results {
        let connections = self.connections.min(most_connections());
        let mut settings = ServerSettings::new(setup.burn);
        if connections >= DEFAULT_CONNECTIONS {
            settings.connection_limit = Some(connections + 1);
        }
        let title = format!("{connections} idle connections, bytes of process memory each");
        let mut table = Table::new(title, ["", "fresh", "after one echo"]);
        for entry in CONTENDERS {
            let is_peer = entry.load == Load::Calls;
            if setup.includes(entry.contender) && !(is_peer && connections > MOST_OF_PEERS) {
                let server = ServerProcess::start(entry.contender, Build::Plain, settings);
                let [fresh, used] = entry.client().idle_bytes(&server, connections);
                table.row([entry.label(), share(fresh), share(used)]);
            }
        }
        if connections < self.connections {
            table.note(format!(
                "The open file limit allows {connections} of {}.",
                self.connections
            ));
        }
        if !settings.note().is_empty() {
            table.note(settings.note());
        }
        table.into()
    }
}

//! What a call that waits costs, in memory.

use super::interleave::Entry;
use super::{Setup, Workload};
use crate::report::{Results, Table, share};
use crate::server::{Build, ServerProcess, ServerSettings};

pub(super) struct Waiting;

const CONNECTIONS: usize = 10;
const EACH: usize = 1_000;

impl Workload for Waiting {
    fn name(&self) -> String {
        "waiting".into()
    }

    fn run(&self, setup: &Setup) -> Results {
        let title = format!("{CONNECTIONS}×{EACH} calls that wait, 16 B");
        let mut table = Table::new(title, ["", "bytes of process memory each"]);
        for contender in ["auto", "local", "spawn", "floor-spawn", "tarpc", "tonic"] {
            if setup.includes(contender) {
                let settings = ServerSettings::new(setup.burn);
                let server = ServerProcess::start(contender, Build::Plain, settings);
                let client = Entry::calls(contender).client();
                let bytes = client.waiting_bytes(&server, CONNECTIONS, EACH);
                table.row([contender.to_owned(), share(bytes)]);
            }
        }
        table.into()
    }
}

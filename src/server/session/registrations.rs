//! What the headers of a connection's tasks have found.
//!
//! Tasks find their registration in the connection's table, by their code. A count of
//! references for each of them would be shared by all cores.

use std::sync::Arc;

use super::{Session, State};
use crate::proto::TaskKey;
use crate::server::registration::Registered;
use crate::server::registry::Table;
use crate::server::run::drop_quietly;

impl State {
    /// What the task's header has found.
    pub(crate) fn registered(&self, key: TaskKey) -> Option<&Arc<Registered>> {
        let ledger = self.connection.ledger();
        let (_, code) = ledger.identity(key)?;
        ledger.task(key)?.registered(&self.table, code)
    }
}

impl Session {
    /// There are other registrations than before. What the headers of live tasks have
    /// found stays theirs.
    pub(crate) fn change_table(&self, table: &Table) {
        let before = self.drive(|state| {
            let before = std::mem::replace(&mut state.table, Arc::clone(table));
            for (code, record) in state.connection.tasks_mut() {
                record.keep_registered(&before, table, code);
            }
            before
        });
        // Whoever has it last drops the application's functions.
        drop_quietly(before);
    }
}

//! Who gets a place: what the registry and the server's limits say to each
//! header (PROTOCOL T4, L6, L16, N9).

use std::borrow::Cow;
use std::sync::Arc;

use super::registration::{Function, Registered};
use super::registry::Table;
use super::session::{Session, TaskRecord};
use super::shared::ServerShared;
use crate::proto::{Admission, Delivery, Found, TaskKey};
use crate::wire::TaskCode;

/// One connection's view of what is registered.
pub(crate) struct Desk {
    server: Arc<ServerShared>,
    table: Table,
    version: u64,
    /// Whether registrations have changed since the connection began: a header
    /// that was held may have found another one than the table shows now.
    has_changed: bool,
    /// Places of L6 that the connection's own ended tasks have left.
    pub(crate) spare_places: usize,
    /// Message bytes that the connection holds more, or fewer, than the server's
    /// L16 counts: that is brought up to date once a batch.
    pub(crate) uncounted_held_bytes: isize,
}

impl Desk {
    pub(crate) fn new(session: &Session) -> Self {
        let server = Arc::clone(&session.client().server);
        let (table, version) = server.registry.table();
        session.change_table(&table);
        Self {
            server,
            table,
            version,
            has_changed: false,
            spare_places: 0,
            uncounted_held_bytes: 0,
        }
    }

    /// Looks for registrations made since the last turn.
    #[inline]
    pub(crate) fn refresh(&mut self, session: &Session) {
        if self.server.registry.version() != self.version {
            (self.table, self.version) = self.server.registry.table();
            self.has_changed = true;
            session.change_table(&self.table);
        }
    }

    /// What the headers of a batch have found.
    pub(crate) fn registrations(&self) -> Registrations {
        Registrations {
            table: Arc::clone(&self.table),
            has_changed: self.has_changed,
        }
    }
}

/// A look at a [`Desk`]'s registrations.
pub(crate) struct Registrations {
    table: Table,
    has_changed: bool,
}

impl Registrations {
    /// The registration that the task's header found; not counted again where the
    /// table holds it already.
    #[inline]
    pub(crate) fn find(
        &self,
        session: &Session,
        key: TaskKey,
        code: TaskCode,
    ) -> Option<Cow<'_, Arc<Registered>>> {
        if self.has_changed {
            let registered = session.drive(|state| state.registered(key).cloned());
            return registered.map(Cow::Owned);
        }
        let registered = self.table.get(usize::from(code.0))?.as_ref();
        registered.map(Cow::Borrowed)
    }
}

impl Admission<TaskRecord> for Desk {
    fn find(&mut self, code: TaskCode) -> Option<Found> {
        let registered = self.table.get(usize::from(code.0))?.as_ref()?;
        let registration = &registered.registration;
        let limit = registration.message_limit_bytes;
        Some(Found {
            policy: registered.policy,
            run_limit: registration.run_limit,
            message_limit_bytes: limit.unwrap_or(self.server.settings.limits.message_limit_bytes),
            delivery: match registration.function {
                Function::Async(_) | Function::Blocking(_) => Delivery::Whole,
                Function::Streamed(_) => Delivery::Streamed,
            },
        })
    }

    #[inline]
    fn take_places(&mut self, code: TaskCode, task: &TaskRecord) -> Result<(), &'static str> {
        let places = &self.server.places;
        let Some(registered) = task.registered(&self.table, code) else {
            return Err("N9");
        };
        if places.held_bytes.is_full_with(self.uncounted_held_bytes) {
            return Err("L16");
        }
        if !registered.enter() {
            return Err("N9");
        }
        if self.spare_places > 0 {
            self.spare_places -= 1;
        } else if !places.tasks.take() {
            registered.leave();
            return Err("L6");
        }
        Ok(())
    }

    fn largest_message(&self) -> usize {
        let server = self.server.settings.limits.message_limit_bytes;
        let own = |task: &Arc<Registered>| task.registration.message_limit_bytes.unwrap_or(server);
        let largest = self.table.iter().flatten().map(own).max();
        largest.unwrap_or(server)
    }
}

//! What is registered under which task code, and who is connected.
//!
//! Its locks are held for a few instructions, and never together with a session's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::drain::ClosedConnection;
use super::registration::{RegisterError, Registered, Registration};
use super::session::Session;
use crate::proto::ConnectionReport;
use crate::runtime::Endpoints;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wire::{RESERVED, TaskCode};

/// All registrations at one time, by code.
pub(crate) type Table = Arc<[Option<Arc<Registered>>]>;

/// The name of a client, in the order of their coming.
pub(crate) type ClientId = u64;

/// What the server knows by name.
#[derive(Debug)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    /// Counts changes of the table, so that a connection looks for one without a lock.
    version: AtomicU64,
    clients: Mutex<BTreeMap<ClientId, Session>>,
    next_client: AtomicU64,
    drains: Mutex<Drains>,
}

/// What shutdowns that are under way want to know.
#[derive(Debug, Default)]
struct Drains {
    under_way: usize,
    /// When the shortest of them all ends (PROTOCOL D2, D6).
    end: Option<Instant>,
    closed: Vec<ClosedConnection>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::new((0..RESERVED).map(|_| None).collect()),
            version: AtomicU64::new(0),
            clients: Mutex::new(BTreeMap::new()),
            next_client: AtomicU64::new(0),
            drains: Mutex::new(Drains::default()),
        }
    }

    pub(crate) fn register(
        &self,
        code: TaskCode,
        name: &str,
        registration: Registration,
    ) -> Result<Option<Arc<Registered>>, RegisterError> {
        if code.is_reserved() {
            return Err(RegisterError::Reserved { code });
        }
        let registered = Arc::new(Registered::new(code, name, registration));
        let mut table = self.table.lock();
        let mut changed: Vec<_> = table.to_vec();
        let previous = changed[usize::from(code.0)].replace(registered);
        *table = changed.into();
        self.version.fetch_add(1, Ordering::Release);
        Ok(previous)
    }

    pub(crate) fn table(&self) -> (Table, u64) {
        let table = self.table.lock();
        (Arc::clone(&table), self.version.load(Ordering::Acquire))
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn find(&self, code: TaskCode) -> Option<Arc<Registered>> {
        self.table.lock().get(usize::from(code.0))?.clone()
    }

    pub(crate) fn codes(&self) -> Vec<TaskCode> {
        let table = self.table.lock();
        table.iter().flatten().map(|task| task.code).collect()
    }

    pub(crate) fn next_client_id(&self) -> ClientId {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add_client(&self, id: ClientId, session: Session) {
        self.clients.lock().insert(id, session);
    }

    pub(crate) fn remove_client(&self, id: ClientId) {
        let removed = self.clients.lock().remove(&id);
        drop(removed);
    }

    /// Every client, oldest first.
    pub(crate) fn clients(&self) -> Vec<Session> {
        self.clients.lock().values().cloned().collect()
    }

    pub(crate) fn client_count(&self) -> usize {
        self.clients.lock().len()
    }

    /// From now on the reports of connections that end are kept.
    pub(crate) fn begin_drain(&self) {
        self.drains.lock().under_way += 1;
    }

    /// All shutdowns end then at the latest.
    pub(crate) fn bring_shutdown_forward(&self, end: Instant) {
        let mut drains = self.drains.lock();
        drains.end = drains.end.into_iter().chain([end]).min();
    }

    /// When the shortest of all shutdowns ends.
    pub(crate) fn shutdown_end(&self) -> Option<Instant> {
        self.drains.lock().end
    }

    pub(crate) fn note_closed(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        let mut drains = self.drains.lock();
        if drains.under_way > 0 {
            drains.closed.push(ClosedConnection {
                endpoints: endpoints.clone(),
                report: report.clone(),
            });
        }
    }

    pub(crate) fn closed(&self) -> Vec<ClosedConnection> {
        self.drains.lock().closed.clone()
    }

    /// With the last shutdown the reports go.
    pub(crate) fn end_drain(&self) {
        let mut drains = self.drains.lock();
        drains.under_way -= 1;
        if drains.under_way == 0 {
            drains.closed = Vec::new();
        }
    }

    /// Wakes every connection: the server's L7 is no longer reached.
    pub(crate) fn wake_all(&self) {
        for session in self.clients() {
            session.wake_driver();
        }
    }
}

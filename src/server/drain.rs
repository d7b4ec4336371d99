//! What a shutdown came to (PROTOCOL D4, D6, D9).

use super::Server;
use crate::proto::{ConnectionReport, RequestCounts};
use crate::runtime::Endpoints;

/// A connection that ended during a shutdown.
///
/// ```
/// use asyncserver::server::DrainReport;
/// fn show(report: &DrainReport) {
///     for closed in &report.connections {
///         println!("{}: {}", closed.endpoints, closed.report.reason);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClosedConnection {
    /// Whose it was.
    pub endpoints: Endpoints,
    /// How it ended.
    pub report: ConnectionReport,
}

/// What a shutdown came to.
///
/// ```
/// use asyncserver::server::DrainReport;
/// fn exit_status(report: &DrainReport) -> u8 {
///     if report.is_clean() { 0 } else { 3 }
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Every connection that ended since the shutdown began.
    pub connections: Vec<ClosedConnection>,
    /// Connections that had not ended when the time was over: a task's code
    /// blocks their thread (PROTOCOL D4).
    pub stuck: Vec<Endpoints>,
}

impl DrainReport {
    /// The counts of all connections together.
    #[must_use]
    pub fn counts(&self) -> RequestCounts {
        let mut sum = RequestCounts::default();
        for RequestCounts {
            accepted,
            ok,
            errors,
            cancelled,
            interrupted,
            cancels,
        } in self.connections.iter().map(|closed| closed.report.counts)
        {
            sum.accepted += accepted;
            sum.ok += ok;
            sum.errors += errors;
            sum.cancelled += cancelled;
            sum.interrupted += interrupted;
            sum.cancels += cancels;
        }
        sum
    }

    /// Whether every accepted request was answered, and no connection is stuck.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stuck.is_empty() && self.counts().interrupted == 0
    }
}

/// While one lives, the server keeps the reports of connections that end.
pub(super) struct Drain(Server);

impl Drain {
    pub(super) fn begin(server: &Server) -> Self {
        server.0.registry.begin_drain();
        Self(server.clone())
    }

    pub(super) fn closed(&self) -> Vec<ClosedConnection> {
        self.0.0.registry.closed()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.0.registry.end_drain();
    }
}

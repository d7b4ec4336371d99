//! What all connections of a server share.

use std::sync::Arc;

use tokio::sync::Notify;

use super::observe::Observer;
use super::places::ServerPlaces;
use super::registry::Registry;
use crate::proto::{ErrorAnswers, Limits, OnHalfClose, Timeouts};
use crate::runtime::{Clock, Executor};
use crate::wire::ByteOrder;

#[derive(Debug)]
pub(crate) struct ServerShared {
    pub(crate) registry: Registry,
    pub(crate) places: ServerPlaces,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) on_half_close: OnHalfClose,
    pub(crate) byte_order: ByteOrder,
    pub(crate) error_answers: ErrorAnswers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Woken when a connection has ended.
    pub(crate) client_left: Notify,
}

impl ServerShared {
    /// The longest message that any registration takes, in bytes (E3).
    pub(crate) fn largest_message(&self) -> usize {
        let (table, _) = self.registry.table();
        let own = |task: &Arc<super::registration::Registered>| {
            let limit = task.registration.message_limit_bytes;
            limit.unwrap_or(self.limits.message_limit_bytes)
        };
        let largest = table.iter().flatten().map(own).max();
        largest.unwrap_or(self.limits.message_limit_bytes)
    }
}

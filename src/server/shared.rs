//! What all connections of a server share.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::observe::Observer;
use super::places::ServerPlaces;
use super::registry::Registry;
use crate::proto::Settings;
use crate::runtime::{Clock, Executor};

#[derive(Debug)]
pub(crate) struct ServerShared {
    pub(crate) registry: Registry,
    pub(crate) places: ServerPlaces,
    /// Of each connection, unless its own handshake chose another order of bytes.
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Woken when a client has left the list, when a connection has ended, and
    /// when a shutdown ends earlier.
    pub(crate) client_left: Notify,
    /// Cancelled by a shutdown: no connection is accepted any more (D6).
    pub(crate) stop: CancellationToken,
}

impl ServerShared {
    /// Waits until this is so, looking whenever a connection has ended. Cancel safe.
    pub(crate) async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let mut left = std::pin::pin!(self.client_left.notified());
            // Registered before it looks: no leaving is missed.
            left.as_mut().enable();
            if is_so(self) {
                return;
            }
            left.await;
        }
    }
}

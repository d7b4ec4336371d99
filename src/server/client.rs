//! Who a session's client is.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::registry::ClientId;
use super::shared::ServerShared;
use crate::runtime::Endpoints;
use crate::wire::ByteOrder;

/// What an application passes with a connection (the original's `args...`).
pub(crate) type Arguments = Arc<dyn Any + Send + Sync>;

/// What is known of a client from its connection's start.
pub(crate) struct ClientContext {
    pub(crate) id: ClientId,
    pub(crate) server: Arc<ServerShared>,
    pub(crate) endpoints: Endpoints,
    pub(crate) order: ByteOrder,
    pub(crate) arguments: Option<Arguments>,
    pub(crate) connected_at: Instant,
    pub(crate) connected_wall: SystemTime,
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext")
            .field("id", &self.id)
            .field("endpoints", &self.endpoints)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

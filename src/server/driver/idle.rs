//! What an idle connection keeps.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Driver;
use crate::server::session::{Batch, TurnEnd};

/// How long an idle connection keeps the memory that it has used.
const QUIET: Duration = Duration::from_millis(100);

impl<S> Driver<S> {
    /// An idle connection holds next to nothing, once it has been quiet for a
    /// while: one that has more to do at once would allocate all of it again.
    /// When that is to be looked at.
    pub(super) fn shrink_if_quiet(&mut self, end: &TurnEnd, now: Instant) -> Option<Instant> {
        let at = self.last_active?.checked_add(QUIET)?;
        if !end.is_idle || now < at {
            return end.is_idle.then_some(at);
        }
        self.last_active = None;
        if self.unwritten.is_empty() {
            self.unwritten = BytesMut::new();
        }
        self.batch = Batch::default();
        self.spare = None;
        self.local.shrink();
        self.pending = Vec::new();
        self.session.drive(|state| state.connection.shrink());
        None
    }
}

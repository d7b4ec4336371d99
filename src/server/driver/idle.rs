//! What a quiet connection keeps.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Driver;

/// How long a connection that is quiet keeps the memory that it has used.
const QUIET: Duration = Duration::from_millis(100);

impl<S> Driver<S> {
    /// A connection holds next to nothing but its tasks, once it has been quiet
    /// for a while: one that has more to do at once would allocate all of it
    /// again. When that is to be looked at.
    pub(super) fn shrink_if_quiet(&mut self, now: Instant) -> Option<Instant> {
        let at = self.last_active?.checked_add(QUIET)?;
        if now < at {
            return Some(at);
        }
        self.last_active = None;
        if self.unwritten.is_empty() {
            self.unwritten = BytesMut::new();
        }
        self.local.shrink();
        self.session.shrink();
        None
    }
}

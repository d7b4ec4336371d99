//! What a quiet connection keeps.

use std::time::{Duration, Instant};

use super::{Budget, Driver, TurnEnd};
use crate::runtime::Transport;

/// How long a connection that is quiet keeps the memory that it has used.
const QUIET: Duration = Duration::from_millis(100);

/// A connection that had something to do less than this ago is busy.
const BUSY: Duration = Duration::from_millis(50);

/// When a connection gives back the memory that it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivesBack {
    /// It has none.
    Nothing,
    /// As soon as there is nothing to do. It was not busy: with thousands of such
    /// connections, to be woken later for that alone would cost a sixth of a request.
    AtRest,
    /// Once it has been quiet. It is busy: it would soon allocate all of it again.
    OnceQuiet,
}

impl<S: Transport> Driver<S> {
    /// It has taken input, or its transport output.
    pub(super) fn note_activity(&mut self, budget: &Budget, now: Instant) {
        let last = self.last_active.replace(now);
        let was_busy = || last.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
        self.gives_back = match self.gives_back {
            // Also where a long message has come at once: its memory is kept for the next.
            _ if budget.is_used_up() => GivesBack::OnceQuiet,
            GivesBack::Nothing if was_busy() => GivesBack::OnceQuiet,
            GivesBack::Nothing => GivesBack::AtRest,
            as_before => as_before,
        };
    }

    /// Ends executor tasks of its own that have been idle for a while, also where the
    /// connection is busy with something else.
    pub(super) fn trim_runners(&mut self, end: &TurnEnd, now: Instant) {
        let Some(at) = self.trims_at else {
            return;
        };
        if at <= now {
            self.session.trim_idle_runners();
            let may_have_some = end.has_tasks || self.session.has_idle_runners();
            self.trims_at = now.checked_add(QUIET).filter(|_| may_have_some);
        }
        // They may have become idle in a turn that did nothing else.
        if self.gives_back == GivesBack::Nothing && self.session.has_idle_runners() {
            self.gives_back = GivesBack::OnceQuiet;
        }
    }

    /// From now on there may be some.
    pub(super) fn note_runners(&mut self, now: Instant) {
        self.trims_at = self.trims_at.or_else(|| now.checked_add(QUIET));
    }

    /// A connection holds next to nothing but its tasks, once it has been quiet
    /// for a while. When that is to be looked at.
    pub(super) fn shrink_if_quiet(&mut self, now: Instant) -> Option<Instant> {
        if self.gives_back != GivesBack::OnceQuiet {
            return None;
        }
        let at = self.last_active?.checked_add(QUIET)?;
        if now < at {
            return Some(at);
        }
        self.give_back();
        None
    }

    /// There is nothing to do now.
    pub(super) fn shrink_at_rest(&mut self) {
        if self.gives_back == GivesBack::AtRest {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        self.gives_back = GivesBack::Nothing;
        self.give_back_output();
        self.local.shrink();
        self.session.shrink();
    }
}

//! The counted places that all connections of a server share (PROTOCOL L6, L7,
//! L8, L16). Counting is all they do: nothing waits here.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// A count with a limit.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    taken: AtomicUsize,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
        }
    }

    /// Takes one place, unless all are taken.
    pub(crate) fn take(&self) -> bool {
        // Count first, look after: two that come together for the last place
        // cannot both get it. At worst one is refused that had a place.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let has_place = before < self.limit;
        if !has_place {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        has_place
    }

    /// Takes places whether there are any or not: what has come cannot be sent back.
    pub(crate) fn force(&self, places: usize) {
        self.taken.fetch_add(places, Ordering::Relaxed);
    }

    /// Gives places back: whether that ended the state of being full.
    pub(crate) fn release(&self, places: usize) -> bool {
        let before = self.taken.fetch_sub(places, Ordering::SeqCst);
        before >= self.limit && before - places < self.limit
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full_with(0)
    }

    /// Whether all are taken once `more` are, which are not counted yet.
    pub(crate) fn is_full_with(&self, more: usize) -> bool {
        self.taken.load(Ordering::SeqCst).saturating_add(more) >= self.limit
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }
}

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct ServerPlaces {
    /// L6.
    pub(crate) tasks: Places,
    /// L7.
    pub(crate) unsent_bytes: Places,
    /// L8.
    pub(crate) connections: Places,
    /// L16.
    pub(crate) held_bytes: Places,
    /// Places in the executor's queue whose blocking function a cancel has
    /// dropped: as many as L6 allows tasks, or floods of submit-and-cancel would
    /// grow it without a bound.
    pub(crate) empty: Places,
}

impl ServerPlaces {
    pub(crate) fn new(limits: &crate::proto::Limits) -> Self {
        Self {
            tasks: Places::new(limits.task_limit),
            unsent_bytes: Places::new(limits.server_unsent_limit_bytes.max(1)),
            connections: Places::new(limits.connection_limit),
            empty: Places::new(limits.task_limit),
            held_bytes: Places::new(limits.server_held_limit_bytes.max(1)),
        }
    }
}

impl Drop for ServerPlaces {
    /// With a server's last connection its last place has been given back.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let all = [
            &self.tasks,
            &self.unsent_bytes,
            &self.connections,
            &self.held_bytes,
            &self.empty,
        ];
        for places in all {
            debug_assert_eq!(places.taken(), 0, "places that nobody gave back");
        }
    }
}

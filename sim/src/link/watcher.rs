//! Who is told what can be seen of a connection from neither end.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use super::{End, Link};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// This end is about to be given an error.
    Failed(End),
    /// Something else than a peer resets the connection, now or when what is on
    /// its way has arrived.
    Reset,
    /// The direction that this end writes is ended, by itself or by a fault.
    Ended(End),
    /// From now on what this end writes may take longer than the direction's own time.
    Late(End),
    /// No longer so.
    InTime {
        /// The end that writes.
        writer: End,
        /// Since when, which may be a while ago: nobody had looked.
        since: Duration,
    },
}

type Told = dyn Fn(LinkEvent) + Send + Sync;

/// The one who is told, if there is one.
#[derive(Default)]
pub(super) struct Watcher(OnceLock<Box<Told>>);

impl Watcher {
    /// The first stays.
    pub(super) fn set(&self, told: impl Fn(LinkEvent) + Send + Sync + 'static) {
        self.0.set(Box::new(told)).ok();
    }
}

impl Link {
    pub(super) fn told(&self, event: LinkEvent) {
        if let Some(told) = self.watcher.0.get() {
            told(event);
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

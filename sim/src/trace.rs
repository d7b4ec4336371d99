//! The complete record of a run: what two runs of a seed must agree on, byte
//! for byte.
//!
//! An event is a line: the seconds since the start, who it was, and what
//! happened. Nothing that differs between two processes may be in one: no
//! pointer, no thread id, no `Instant`, no iteration order of a hash map.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::rng::Fnv;

/// Where the events of a run go. A clone is the same trace.
///
/// ```
/// use asyncserver_sim::Trace;
/// use std::time::Duration;
/// let trace = Trace::full();
/// trace.record(Duration::from_millis(1500), "link 1", format_args!("read 3 bytes"));
/// assert_eq!(trace.text(), "1.500000 link 1 read 3 bytes\n");
/// ```
#[derive(Clone, Debug)]
pub struct Trace(Option<Arc<Mutex<Sink>>>);

#[derive(Debug)]
struct Sink {
    keeping: Keeping,
    text: String,
    events: u64,
    hash: Fnv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    Text,
    Digest,
}

impl Trace {
    /// Keeps nothing, and costs next to nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Keeps every event.
    #[must_use]
    pub fn full() -> Self {
        Self::keeping(Keeping::Text)
    }

    /// Keeps the number of events and a hash of them alone.
    #[must_use]
    pub fn digest_only() -> Self {
        Self::keeping(Keeping::Digest)
    }

    fn keeping(keeping: Keeping) -> Self {
        Self(Some(Arc::new(Mutex::new(Sink {
            keeping,
            text: String::new(),
            events: 0,
            hash: Fnv::new(),
        }))))
    }

    /// Whether events are kept in any way.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an event.
    pub fn record(&self, at: Duration, who: &str, event: fmt::Arguments<'_>) {
        let Some(sink) = &self.0 else { return };
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = &mut *sink;
        let begin = sink.text.len();
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        // A String takes whatever is written.
        let _ = writeln!(sink.text, "{seconds}.{micros:06} {who} {event}");
        sink.events += 1;
        if sink.keeping == Keeping::Digest {
            sink.hash.write(&sink.text.as_bytes()[begin..]);
            sink.text.clear();
        }
    }

    /// All events, a line each; empty where none are kept.
    #[must_use]
    pub fn text(&self) -> String {
        self.with(|sink| sink.text.clone()).unwrap_or_default()
    }

    /// How many events there were, and a hash of them.
    #[must_use]
    pub fn digest(&self) -> TraceDigest {
        let digest = self.with(|sink| {
            let mut hash = sink.hash;
            hash.write(sink.text.as_bytes());
            TraceDigest {
                events: sink.events,
                hash: hash.value(),
            }
        });
        digest.unwrap_or_default()
    }

    fn with<R>(&self, read: impl FnOnce(&Sink) -> R) -> Option<R> {
        let sink = self.0.as_ref()?;
        Some(read(&sink.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A trace in short.
///
/// ```
/// use asyncserver_sim::{Trace, TraceDigest};
/// assert_eq!(Trace::off().digest(), TraceDigest::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceDigest {
    /// How many events there were.
    pub events: u64,
    /// A hash of all of them, in order.
    pub hash: u64,
}

/// Where two traces part.
///
/// ```
/// use asyncserver_sim::Divergence;
/// let divergence = Divergence::between("a\nb\n", "a\nc\n").unwrap();
/// assert_eq!((divergence.event, divergence.left.as_str()), (2, "b"));
/// assert_eq!(Divergence::between("a\n", "a\n"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "event {event} differs:\n  one run:   {left}\n  the other: {right}\n  before it:\n{before}"
)]
pub struct Divergence {
    /// The number of the first event that differs, from 1.
    pub event: usize,
    /// It in the first trace; empty if that had ended.
    pub left: String,
    /// It in the second trace; empty if that had ended.
    pub right: String,
    /// The last events that both had before it.
    pub before: String,
}

/// Events that are shown before a divergence.
const SHOWN_BEFORE: usize = 5;

impl Divergence {
    /// The first event in which the traces differ, if there is one.
    #[must_use]
    pub fn between(left: &str, right: &str) -> Option<Self> {
        let (mut left, mut right) = (left.lines(), right.lines());
        let mut common: Vec<&str> = Vec::new();
        loop {
            let (ours, theirs) = (left.next(), right.next());
            if ours.is_none() && theirs.is_none() {
                return None;
            }
            if ours == theirs {
                common.extend(ours);
                continue;
            }
            let shown = &common[common.len().saturating_sub(SHOWN_BEFORE)..];
            return Some(Self {
                event: common.len() + 1,
                left: ours.unwrap_or_default().to_owned(),
                right: theirs.unwrap_or_default().to_owned(),
                before: shown.iter().map(|line| format!("    {line}\n")).collect(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_names_the_first_event_that_differs_and_those_before() {
        let left = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let divergence = Divergence::between(left, "1\n2\n3\n4\n5\n6\n7\n").unwrap();
        assert_eq!(divergence.event, 8);
        assert_eq!(divergence.right, "");
        assert!(!divergence.before.contains("    2\n"));
        assert!(divergence.before.contains("    7\n"));
    }

    #[test]
    fn digests_differ_with_one_event_and_not_with_what_is_kept() {
        let fill = |trace: &Trace, last: u32| {
            trace.record(Duration::ZERO, "a", format_args!("1"));
            trace.record(Duration::ZERO, "a", format_args!("{last}"));
            trace.digest()
        };
        let full = fill(&Trace::full(), 2);
        assert_eq!(full, fill(&Trace::digest_only(), 2));
        assert_ne!(full, fill(&Trace::full(), 3));
    }
}

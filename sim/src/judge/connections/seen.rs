//! What is left of a connection when all is over, as it is judged.

use harness::World as Recording;
use oracle::{Direction, Event, History, Observed, View, What};

use super::{Connection, Judged};
use crate::judge::altered::Altered;

/// A connection when all is over.
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) client: String,
    pub(crate) server: String,
    /// The start of the server that took it, by number.
    pub(crate) generation: Option<u64>,
    pub(crate) recording: Recording,
    pub(crate) judged: Judged,
    /// When the server took it, in microseconds of the run; the history's times count from there.
    pub(crate) opened_us: u64,
    pub(crate) history: History,
    pub(crate) altered: Altered,
    pub(crate) faults: Vec<String>,
}

impl Connection {
    pub(super) fn to_seen(&self, name: &str) -> Seen {
        let mut history = self
            .seen
            .clone()
            .unwrap_or_else(|| self.recording.history());
        let foreign = |call: u32| {
            let of = |(generation, number): &(u64, u32)| {
                *number == call && Some(*generation) != self.generation
            };
            self.calls.iter().any(of)
        };
        history.events.retain(|event| match event.what {
            What::Called { call, .. } | What::Returned { call, .. } => !foreign(call),
            _ => true,
        });
        for (since, direction) in &self.flows {
            let at_us = since.as_micros();
            insert_flow(
                &mut history,
                u64::try_from(at_us).unwrap_or(u64::MAX),
                *direction,
            );
        }
        history.views.tasks = View::Complete;
        history.views.observer = View::Complete;
        let opened = since_opened(&mut history);
        Seen {
            name: name.to_owned(),
            client: self.client.clone(),
            server: self.server.clone(),
            generation: self.generation,
            recording: self.recording.clone(),
            judged: opened.map_or(Judged::Not, |_| self.judged),
            opened_us: opened.unwrap_or(0),
            history,
            altered: self.altered.clone(),
            faults: self.recording.faults(),
        }
    }
}

/// Behind what else happened then, as what stalled the direction.
fn insert_flow(history: &mut History, at_us: u64, direction: Direction) {
    let events = &mut history.events;
    let behind = events.partition_point(|event| event.at_us <= at_us);
    let what = What::Flowing(direction);
    if history.end_us >= at_us {
        events.insert(behind, Event { at_us, what });
    }
}

/// Counts times from the moment at which the server took the connection, if it did.
fn since_opened(history: &mut History) -> Option<u64> {
    let opened = history.events.iter().find_map(|event| match event.what {
        What::Observed(Observed::Opened) => Some(event.at_us),
        What::Closed(_) => Some(event.at_us),
        _ => None,
    });
    let start = opened.unwrap_or(0);
    for event in &mut history.events {
        event.at_us = event.at_us.saturating_sub(start);
    }
    history.end_us = history.end_us.saturating_sub(start);
    opened
}

//! The connections of each server together, with the order of all that was seen of them.

use std::collections::BTreeMap;

use oracle::ServerHistory;

use super::connections::{Judged, Seen};

/// What was seen of each start of each server that had several connections. One
/// with a connection that cannot be judged is not among them.
pub(super) fn servers(seen: &[Seen]) -> Vec<ServerHistory> {
    let mut servers: BTreeMap<(&str, u64), Vec<&Seen>> = BTreeMap::new();
    for connection in seen {
        if let Some(generation) = connection.generation {
            let key = (connection.server.as_str(), generation);
            servers.entry(key).or_default().push(connection);
        }
    }
    let is_whole = |of: &Vec<&Seen>| of.iter().all(|c| c.judged != Judged::Not);
    let several = servers.into_values().filter(|of| of.len() > 1);
    several.filter(is_whole).map(|of| history(&of)).collect()
}

fn history(seen: &[&Seen]) -> ServerHistory {
    let mut ranked = Vec::new();
    for (number, connection) in seen.iter().enumerate() {
        ranked.extend(ranks(connection).into_iter().map(|rank| (rank, number)));
    }
    // Stable: what has no place of its own stays behind what was before it.
    ranked.sort_by_key(|(rank, _)| *rank);
    let by_run = |connection: &&Seen| {
        let mut history = connection.history.clone();
        for event in &mut history.events {
            event.at_us += connection.opened_us;
        }
        history.end_us += connection.opened_us;
        history
    };
    ServerHistory {
        connections: seen.iter().map(by_run).collect(),
        order: ranked.into_iter().map(|(_, number)| number).collect(),
    }
}

/// Where each event of a connection stands among those of all: the history may
/// lack some of what was recorded, and have some more.
fn ranks(connection: &Seen) -> Vec<usize> {
    let recorded = connection.recording.history().events;
    let ranked: Vec<_> = recorded.iter().zip(connection.recording.ranks()).collect();
    let (mut next, mut last) = (0, 0);
    let events = connection.history.events.iter();
    events
        .map(|event| {
            let is_it = |(recorded, _): &(&oracle::Event, usize)| {
                let at_us = recorded.at_us.saturating_sub(connection.opened_us);
                at_us == event.at_us && recorded.what == event.what
            };
            if let Some(skipped) = ranked[next..].iter().position(is_it) {
                last = ranked[next + skipped].1;
                next += skipped + 1;
            }
            last
        })
        .collect()
}

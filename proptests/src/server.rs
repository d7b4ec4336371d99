//! What was seen of all connections of one server.

use serde::{Deserialize, Serialize};

use crate::history::{Direction, Event, History, What};

/// The histories of a server's connections, whose times have one beginning, and
/// the order of all their events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHistory {
    /// One for each connection, in the order of their coming.
    pub connections: Vec<History>,
    /// Of which connection each event was, by its index.
    pub order: Vec<usize>,
}

impl ServerHistory {
    /// The first so many events, watched until the next one.
    #[must_use]
    pub fn part(&self, events: usize) -> Self {
        let mut part = self.clone();
        part.order.truncate(events);
        let next = self.events().nth(events);
        for (number, history) in part.connections.iter_mut().enumerate() {
            let of_it = part.order.iter().filter(|of| **of == number).count();
            history.events.truncate(of_it);
            if let Some((_, next)) = next {
                history.end_us = next.at_us;
            }
        }
        part
    }

    /// All events in their order, each with its connection.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, &Event)> {
        let connections = self.connections.iter();
        let mut events: Vec<_> = connections.map(|history| history.events.iter()).collect();
        let order = self.order.iter();
        order.filter_map(move |number| Some((*number, events.get_mut(*number)?.next()?)))
    }

    /// The history of one connection as it is judged by itself. L7 of the server:
    /// responses that another client does not take hold it up as its own do.
    pub(crate) fn judged_alone(&self, number: usize) -> History {
        let mut alone = self.connections[number].clone();
        let limit = crate::Limits::default().server_unsent_bytes;
        if alone.config.limits.server_unsent_bytes < limit && self.connections.len() > 1 {
            alone.events = self.held_up_by_others(number);
        }
        alone
    }

    fn held_up_by_others(&self, number: usize) -> Vec<Event> {
        let directions = [Direction::ToServer, Direction::ToClient];
        let mut stalls = vec![[Flow::Moves; 2]; self.connections.len()];
        let mut told = [Flow::Moves; 2];
        let mut events = Vec::new();
        for (of, event) in self.events() {
            let at_us = event.at_us;
            let (direction, flow) = match event.what {
                What::Stalled(direction) => (direction, Flow::Stalls),
                What::Flowing(direction) => (direction, Flow::Moves),
                _ if of == number => {
                    events.push(event.clone());
                    continue;
                }
                _ => continue,
            };
            stalls[of][direction as usize] = flow;
            let others = stalls.iter().enumerate().filter(|(of, _)| *of != number);
            let held = others
                .map(|(_, flows)| flows[Direction::ToClient as usize])
                .max();
            for direction in directions {
                let now = stalls[number][direction as usize].max(held.unwrap_or_default());
                if std::mem::replace(&mut told[direction as usize], now) != now {
                    let what = match now {
                        Flow::Moves => What::Flowing(direction),
                        Flow::Stalls => What::Stalled(direction),
                    };
                    events.push(Event { at_us, what });
                }
            }
        }
        events
    }
}

/// Whether a direction moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    #[default]
    Moves,
    Stalls,
}

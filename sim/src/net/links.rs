//! The connections that there are, by route.

use std::collections::BTreeMap;

use super::Route;
use crate::faults::{Fault, Reach};
use crate::link::{End, LinkHandle, LinkUsage};
use crate::pipe::Hold;

/// Connections of which an end is open, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Links {
    open: BTreeMap<u64, Connection>,
    next: u64,
    /// What connections that are gone had carried.
    bytes_of_closed: u64,
}

pub(crate) struct Connection {
    route: Route,
    /// The link, and its other half where a transport lies between the two.
    halves: Vec<LinkHandle>,
}

impl Connection {
    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn halves(&self) -> &[LinkHandle] {
        &self.halves
    }

    pub(crate) fn strike(&self, writer: End, fault: Fault) {
        let halves = match fault.reach() {
            Reach::Connection => &self.halves[..],
            Reach::Direction => &self.halves[..1],
        };
        halves.iter().for_each(|half| half.strike(writer, fault));
    }

    fn is_open(&self) -> bool {
        self.halves.iter().any(|half| half.usage().open_ends > 0)
    }

    fn bytes(&self) -> u64 {
        self.halves.iter().map(|half| half.usage().read).sum()
    }
}

impl Links {
    /// Adds a connection; says by which number its other half may be added.
    pub(super) fn add(&mut self, route: Route, handle: LinkHandle) -> u64 {
        self.forget_closed();
        self.next += 1;
        let halves = vec![handle];
        self.open.insert(self.next, Connection { route, halves });
        self.next
    }

    pub(super) fn add_half(&mut self, number: u64, half: LinkHandle) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.halves.push(half);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Connection> {
        self.open.values()
    }

    pub(crate) fn of_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Connection> {
        let of_host = move |connection: &&Connection| {
            connection.route.client == host || connection.route.server == host
        };
        self.all().filter(of_host)
    }

    pub(crate) fn between<'a>(
        &'a self,
        client: &'a str,
        server: &'a str,
    ) -> impl Iterator<Item = &'a Connection> {
        let between = move |connection: &&Connection| {
            connection.route.client == client && connection.route.server == server
        };
        self.all().filter(between)
    }

    /// Holds back, or releases, what `from` sends to `to`, whichever connected.
    pub(crate) fn set_holds(&self, from: &str, to: &str, hold: Hold) {
        for (client, server, writer) in [(from, to, End::Client), (to, from, End::Server)] {
            for connection in self.between(client, server) {
                connection.halves[0].set_hold(writer, hold);
            }
        }
    }

    /// The routes of those that are open, what all of them hold, and what was
    /// ever read by anybody.
    pub(super) fn usage(&mut self) -> (Vec<String>, LinkUsage, u64) {
        self.forget_closed();
        let (mut routes, mut held) = (Vec::new(), LinkUsage::default());
        for connection in self.open.values() {
            routes.push(connection.route.to_string());
            for half in &connection.halves {
                held += half.usage();
            }
        }
        (routes, held, self.bytes_of_closed + held.read)
    }

    fn forget_closed(&mut self) {
        let closed = &mut self.bytes_of_closed;
        self.open.retain(|_, connection| {
            let open = connection.is_open();
            if !open {
                *closed += connection.bytes();
            }
            open
        });
    }
}

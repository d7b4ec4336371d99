//! What goes wrong between hosts, whatever connection it meets.
//!
//! To add one, here and nowhere else:
//! 1. a method of [`Network`] that says what it does, and one that undoes it;
//! 2. a field of [`NetworkFaults`], and its effect in one of the questions that
//!    the network asks there;
//!
//! [`Network::calm`] ends it with all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::link::{End, LinkHandle};
use crate::net::{Network, Route};
use crate::pipe::Hold;

/// How a server answers attempts to connect.
///
/// ```
/// assert_ne!(asyncserver_sim::Door::Refusing, asyncserver_sim::Door::Hanging);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// As usual.
    #[default]
    Open,
    /// Every attempt is refused.
    Refusing,
    /// No attempt is answered, until that changes.
    Hanging,
}

/// What is wrong with the network at the moment.
#[derive(Debug, Default)]
pub(crate) struct NetworkFaults {
    weather: Weather,
    doors: BTreeMap<String, Door>,
    /// Hosts without power: nothing that is sent to them is answered.
    dark: BTreeSet<String>,
    /// From and to.
    cuts: BTreeSet<(String, String)>,
    /// How often a host will still fail to accept.
    accept_failures: BTreeMap<String, u32>,
}

/// Whether new connections have faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Stormy,
    Calm,
}

/// What a request to connect meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Open,
    Refused,
    /// Nothing is answered, so far.
    None,
}

impl Network {
    /// Nothing that `from` sends reaches `to` any more; it arrives once the cut
    /// is healed. Attempts to connect in either direction wait until then.
    pub fn cut(&self, from: &str, to: &str) {
        self.record(from, format_args!("is cut off from {to}"));
        self.change(|state| {
            let pair = (from.to_owned(), to.to_owned());
            state.faults.cuts.insert(pair);
            state.links.set_holds(from, to, Hold::Held);
        });
    }

    /// The same, in both directions.
    pub fn cut_both_ways(&self, a: &str, b: &str) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Undoes [`Network::cut`]: what was held back arrives.
    pub fn heal(&self, from: &str, to: &str) {
        self.record(from, format_args!("reaches {to} again"));
        self.change(|state| {
            let pair = (from.to_owned(), to.to_owned());
            state.faults.cuts.remove(&pair);
            state.links.set_holds(from, to, Hold::Released);
        });
    }

    /// The same, in both directions.
    pub fn heal_both_ways(&self, a: &str, b: &str) {
        self.heal(a, b);
        self.heal(b, a);
    }

    /// How `host` answers attempts to connect from now on.
    pub fn set_door(&self, host: &str, door: Door) {
        self.record(host, format_args!("door {door:?}"));
        self.change(|state| state.faults.doors.insert(host.to_owned(), door));
    }

    /// The next `failures` times that `host` accepts, it gets an error.
    pub fn fail_accepts(&self, host: &str, failures: u32) {
        self.record(host, format_args!("will fail to accept {failures} times"));
        self.change(|state| {
            let left = state.faults.accept_failures.entry(host.to_owned());
            *left.or_default() += failures;
        });
    }

    /// The connections of `host` die silently, and nobody hears of it again
    /// until it has power: then they are found to be reset.
    pub fn power_off(&self, host: &str) {
        self.record(host, format_args!("loses power"));
        self.change(|state| {
            state.faults.dark.insert(host.to_owned());
            for connection in state.links.of_host(host) {
                connection.strike(End::Client, Fault::SilentDeath);
                connection.strike(End::Server, Fault::SilentDeath);
            }
        });
    }

    /// Undoes [`Network::power_off`].
    pub fn power_on(&self, host: &str) {
        self.record(host, format_args!("has power"));
        self.change(|state| {
            state.faults.dark.remove(host);
            for connection in state.links.of_host(host) {
                connection.strike(End::Client, Fault::Reset);
            }
        });
    }

    /// A fault strikes, now, what `writer` writes on each open connection between the two.
    pub fn strike(&self, client: &str, server: &str, writer: End, fault: Fault) {
        for connection in self.locked().links.between(client, server) {
            connection.strike(writer, fault);
        }
    }

    /// From now on nothing goes wrong any more: everything is healed, and new
    /// connections have no faults. Hosts without power stay as they are.
    pub fn calm(&self) {
        self.record("network", format_args!("calm"));
        self.change(|state| {
            state.faults = NetworkFaults {
                weather: Weather::Calm,
                dark: std::mem::take(&mut state.faults.dark),
                ..NetworkFaults::default()
            };
            let dark = &state.faults.dark;
            for connection in state.links.all() {
                let halves = || connection.halves().iter();
                halves().for_each(|half| half.set_hold(End::Client, Hold::Released));
                halves().for_each(|half| half.set_hold(End::Server, Hold::Released));
                let Route { client, server, .. } = connection.route();
                if !dark.contains(client) && !dark.contains(server) {
                    halves().for_each(LinkHandle::calm);
                }
            }
        });
    }
}

/// What the network asks.
impl NetworkFaults {
    /// Whether new connections have the faults of the plan.
    pub(crate) fn are_planned(&self) -> bool {
        self.weather == Weather::Stormy
    }

    /// What a request to connect by `route`, and its answer, meet.
    pub(crate) fn passage(&self, route: &Route) -> Passage {
        let cut = |from: &str, to: &str| self.cuts.contains(&(from.to_owned(), to.to_owned()));
        let Route { client, server, .. } = route;
        let dark = self.dark.contains(client) || self.dark.contains(server);
        if dark || cut(client, server) || cut(server, client) {
            return Passage::None;
        }
        match self.doors.get(server) {
            Some(Door::Hanging) => Passage::None,
            Some(Door::Refusing) => Passage::Refused,
            Some(Door::Open) | None => Passage::Open,
        }
    }

    /// The error that `host` gets as it accepts, if it is to get one.
    pub(crate) fn accept_error(&mut self, host: &str) -> Option<io::Error> {
        let left = self
            .accept_failures
            .get_mut(host)
            .filter(|left| **left > 0)?;
        *left -= 1;
        Some(io::Error::other("no file descriptor is left"))
    }

    /// `host` listens anew: what its last listener was to meet is over.
    pub(crate) fn listens(&mut self, host: &str) {
        self.accept_failures.remove(host);
    }
}

//! The stable names of connections.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rng::Seed;

/// A connection, by its stable name: the n-th attempt of a client to reach a server.
///
/// ```
/// use asyncserver_sim::Route;
/// let route = Route { client: "client-1".into(), server: "server-2".into(), attempt: 3 };
/// assert_eq!(route.to_string(), "client-1->server-2 3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// The host that connects.
    pub client: String,
    /// The host that is connected to.
    pub server: String,
    /// Which attempt it is, from 1.
    pub attempt: u64,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{} {}", self.client, self.server, self.attempt)
    }
}

impl Route {
    /// What is random about the connection hangs on its name alone.
    pub(super) fn seed(&self, network: Seed) -> Seed {
        let client = network.child(&self.client, 0);
        client.child(&self.server, self.attempt)
    }
}

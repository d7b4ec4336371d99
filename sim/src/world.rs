//! A world: hosts, a network between them, and time, all from one seed.
//!
//! A world runs on one thread, in one Tokio runtime whose time is paused: when
//! nothing can go on, time jumps to the next moment at which something can. An
//! idle hour costs nothing.

mod builder;
mod outcome;
mod rest;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use asyncserver::client::{Client, ClientBuilder};
use asyncserver::server::{Handshake, NoHandshake};

use crate::executor::Interleaving;
use crate::host::{BuildServer, Host, ServerHost};
use crate::link::LinkStream;
use crate::net::Network;
use crate::rng::Seed;
use crate::time::Probe;

pub use self::builder::WorldBuilder;
pub use self::outcome::{Failure, Residue, Run, Stalled};

pub(crate) use self::outcome::words_of;

/// A world, from within. A clone is the same world.
///
/// ```
/// use asyncserver::wire::TaskCode;
/// use asyncserver_sim::World;
/// use std::time::Duration;
///
/// let run = World::builder(1).run(async |world| {
///     let server = world.server("server", |builder| {
///         builder.task(TaskCode(1), "echo", async |_, message| Ok(message)).build()
///     });
///     let client = world.client("client", &["server"]).build();
///     let answer = client.call(1, "hello").await;
///     client.close(Duration::ZERO).await;
///     server.shutdown(Duration::from_secs(1)).await;
///     answer
/// });
/// assert_eq!(run.expect_clean().unwrap(), "hello");
/// ```
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    seed: Seed,
    interleaving: Interleaving,
    probe: Probe,
    network: Network,
    hosts: Mutex<BTreeMap<String, Host>>,
}

impl World {
    /// A world to be set up, in which `seed` decides everything.
    pub fn builder(seed: u64) -> WorldBuilder {
        WorldBuilder::new(Seed(seed))
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.shared.seed
    }

    /// Time, trace and poll budget.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The host of this name, which is made when it is first asked for.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let mut hosts = self.locked();
        let host = hosts.entry(name.to_owned()).or_insert_with(|| {
            let seed = self.shared.seed.child(name, 0);
            let Shared {
                interleaving,
                probe,
                network,
                ..
            } = &*self.shared;
            Host::new(name, seed, *interleaving, probe, network)
        });
        host.clone()
    }

    /// All hosts, by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        self.locked().values().cloned().collect()
    }

    /// Starts a server as the host `name`. `build` is called again when it is
    /// restarted; what it is given has the host's clock and executor.
    pub fn server(&self, name: &str, build: impl BuildServer) -> ServerHost {
        self.server_with(name, build, NoHandshake)
    }

    /// As [`server`](Self::server), with a handshake before each connection's first request.
    pub fn server_with<H>(&self, name: &str, build: impl BuildServer, handshake: H) -> ServerHost
    where
        H: Handshake<LinkStream> + Clone,
    {
        ServerHost::start(self.host(name), build, handshake)
    }

    /// A client on the host `name` of these servers, with the host's network,
    /// clock, executor and random numbers.
    ///
    /// # Panics
    /// When there is no server.
    pub fn client(&self, name: &str, servers: &[&str]) -> ClientBuilder {
        let host = self.host(name);
        let (first, further) = servers.split_first().expect("a client of no server");
        let mut builder = Client::builder(Network::address(first))
            .connector(host.connector())
            .clock(Arc::new(host.clock().clone()))
            .executor(Arc::new(host.executor().clone()))
            .seed(host.seed().child("client", 0).0);
        for server in further {
            builder = builder.address(Network::address(server));
        }
        builder
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.shared
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.shared.seed)
            .finish_non_exhaustive()
    }
}

//! The network between hosts: who can reach whom, and what happens to a
//! connection on its way into being.
//!
//! A connection is known by its [`Route`], which is stable: the n-th attempt of
//! this client to reach that server. Its faults and its random numbers hang on
//! the route alone. What can go wrong here is in `faults/network.rs`.

mod connect;
mod links;
mod port;
mod route;
mod turmoil;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use asyncserver::runtime::Address;
use tokio::sync::Notify;

use self::links::Links;
use self::port::Ports;
use crate::faults::NetworkFaults;
use crate::link::{LinkPlan, LinkUsage};
use crate::rng::{Rng, Seed};
use crate::time::Probe;

pub use self::connect::SimConnector;
pub use self::port::SimListener;
pub use self::route::Route;
pub use self::turmoil::{TurmoilConnector, TurmoilListener, TurmoilNetwork};

/// Decides the faults of each connection, from its route and its own random numbers.
pub type PlanLinks = Box<dyn Fn(&Route, &mut Rng) -> LinkPlan + Send + Sync>;

/// The network of a world. A clone is the same network.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver::{client::Client, server::Server, wire::TaskCode};
/// use asyncserver_sim::{Network, Probe, Seed, SimTime, Trace};
///
/// let probe = Probe::new(SimTime::from_now(), Trace::off());
/// let network = Network::new(Seed(1), probe);
/// let server = Server::builder().task(TaskCode(1), "echo", async |_, m| Ok(m)).build();
/// let _serving = server.serve(network.listen("server"));
/// let client = Client::builder(Network::address("server")).connector(network.connector("client")).build();
/// assert_eq!(client.call(1, "hello").await.unwrap(), "hello");
/// # });
/// ```
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    seed: Seed,
    probe: Probe,
    plan: PlanLinks,
    state: Mutex<State>,
    /// Something changed that a connecting or accepting host may wait for.
    changed: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) faults: NetworkFaults,
    pub(crate) links: Links,
    ports: Ports,
    /// Attempts so far, by client and server.
    attempts: BTreeMap<(String, String), u64>,
}

/// What a network still holds.
///
/// ```
/// assert_eq!(asyncserver_sim::NetworkUsage::default().links, Vec::<String>::new());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkUsage {
    /// Connections of which an end is open.
    pub links: Vec<String>,
    /// What all of them hold.
    pub held: LinkUsage,
    /// Servers that listen.
    pub listening: Vec<String>,
    /// Connections that wait to be accepted.
    pub unaccepted: usize,
    /// Bytes that have been read by anybody since the start.
    pub bytes_read: u64,
}

impl Network {
    /// A calm network.
    #[must_use]
    pub fn new(seed: Seed, probe: Probe) -> Self {
        Self::with_plan(seed, probe, Box::new(|_, _| LinkPlan::default()))
    }

    /// A network whose connections have the faults that `plan` says.
    #[must_use]
    pub fn with_plan(seed: Seed, probe: Probe, plan: PlanLinks) -> Self {
        Self {
            shared: Arc::new(Shared {
                seed: seed.child("network", 0),
                probe,
                plan,
                state: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// The address of a host.
    #[must_use]
    pub fn address(host: &str) -> Address {
        Address::named(host)
    }

    /// What it still holds.
    #[must_use]
    pub fn usage(&self) -> NetworkUsage {
        let mut state = self.locked();
        let (links, held, bytes_read) = state.links.usage();
        NetworkUsage {
            links,
            held,
            listening: state.ports.listening(),
            unaccepted: state.ports.unaccepted(),
            bytes_read,
        }
    }

    pub(crate) fn record(&self, host: &str, event: fmt::Arguments<'_>) {
        self.shared.probe.record(host, event);
    }

    /// Changes the state, then lets everybody look who waits for a change.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.locked());
        self.let_all_look();
        result
    }

    fn let_all_look(&self) {
        self.shared.changed.notify_waiters();
    }

    /// Waits until `look` has found what it looks for. Cancel safe.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Poll<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the state is looked at: no change is missed.
            changed.as_mut().enable();
            if let Poll::Ready(found) = look(&mut self.locked()) {
                return found;
            }
            changed.await;
        }
    }

    pub(crate) fn locked(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Names the next attempt of `client` to reach `server`.
    fn begin(&mut self, client: &str, server: &str) -> Route {
        let pair = (client.to_owned(), server.to_owned());
        let attempt = self.attempts.entry(pair).or_default();
        *attempt += 1;
        Route {
            client: client.to_owned(),
            server: server.to_owned(),
            attempt: *attempt,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

//! The network between hosts: who can reach whom, and what happens to a
//! connection on its way into being.
//!
//! A connection is known by its [`Route`], which is stable: the n-th attempt of
//! this client to reach that server. Its faults and its random numbers hang on
//! the route alone.

mod turmoil;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use asyncserver::client::Connector;
use asyncserver::runtime::{Address, Endpoints, Listener};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::faults::Fault;
use crate::link::{End, LinkHandle, LinkPlan, LinkStream, LinkUsage, link};
use crate::pipe::Hold;
use crate::rng::{Rng, Seed};
use crate::time::Probe;

pub use self::turmoil::{TurmoilConnector, TurmoilListener, TurmoilNetwork};

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
    fn seed(&self, world: Seed) -> Seed {
        let client = world.child(&self.client, 0);
        client.child(&self.server, self.attempt)
    }
}

/// Decides the faults of each connection, from its route and its own random numbers.
pub type PlanLinks = Box<dyn Fn(&Route, &mut Rng) -> LinkPlan + Send + Sync>;

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

/// Connections that wait to be accepted; further ones are not answered until
/// there is a place, as a kernel drops them.
const BACKLOG: usize = 128;

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
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    seed: Seed,
    pub(crate) probe: Probe,
    plan: PlanLinks,
    pub(crate) state: Mutex<State>,
    /// Something changed that a connecting or accepting host may wait for.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    weather: Weather,
    /// Attempts so far, by client and server.
    attempts: BTreeMap<(String, String), u64>,
    doors: BTreeMap<String, Door>,
    /// Hosts without power: nothing that is sent to them is answered.
    dark: BTreeSet<String>,
    /// From and to.
    cuts: BTreeSet<(String, String)>,
    pub(crate) ports: BTreeMap<String, Port>,
    next_port: u64,
    /// Connections of which an end is open, in the order in which they were made.
    links: BTreeMap<u64, Connection>,
    next_link: u64,
    /// What connections that are gone had carried.
    bytes_of_closed: u64,
}

/// Whether new connections have faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Stormy,
    Calm,
}

struct Connection {
    route: Route,
    /// The link, and its other half where a transport lies between the two.
    halves: Vec<LinkHandle>,
}

impl Connection {
    fn is_open(&self) -> bool {
        self.halves.iter().any(|half| half.usage().open_ends > 0)
    }

    fn bytes(&self) -> u64 {
        self.halves.iter().map(|half| half.usage().read).sum()
    }

    fn strike(&self, writer: End, fault: Fault) {
        let halves = match fault {
            Fault::Reset => &self.halves[..],
            _ => &self.halves[..1],
        };
        halves.iter().for_each(|half| half.strike(writer, fault));
    }
}

/// A server's place for connections that it has not accepted.
pub(crate) struct Port {
    /// Tells a listener that its port is now another's.
    number: u64,
    pub(crate) waiting: VecDeque<(LinkStream, Endpoints)>,
    pub(crate) failures: u32,
    /// Attempts under way, where another transport has the queue.
    pub(crate) attempts: usize,
}

impl Port {
    const fn new(number: u64) -> Self {
        Self {
            number,
            waiting: VecDeque::new(),
            failures: 0,
            attempts: 0,
        }
    }

    /// What nobody accepted is reset.
    fn close(self) {
        for (stream, _) in self.waiting {
            stream.abort();
        }
    }
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

    /// Listens as `host`. A second listener takes the place of the first.
    #[must_use]
    pub fn listen(&self, host: &str) -> SimListener {
        self.record(host, format_args!("listens"));
        let (number, replaced) = self.change(|state| {
            state.next_port += 1;
            let port = Port::new(state.next_port);
            (port.number, state.ports.insert(host.to_owned(), port))
        });
        replaced.into_iter().for_each(Port::close);
        SimListener {
            network: self.clone(),
            host: host.to_owned(),
            number,
        }
    }

    /// Makes connections as `host`.
    #[must_use]
    pub fn connector(&self, host: &str) -> SimConnector {
        SimConnector {
            network: self.clone(),
            host: host.to_owned(),
        }
    }

    // What happens to it.

    /// Nothing that `from` sends reaches `to` any more; it arrives once the cut
    /// is healed. Attempts to connect in either direction wait until then.
    pub fn cut(&self, from: &str, to: &str) {
        self.record(from, format_args!("is cut off from {to}"));
        self.change(|state| {
            state.cuts.insert((from.to_owned(), to.to_owned()));
            state.set_holds(from, to, Hold::Held);
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
            state.cuts.remove(&(from.to_owned(), to.to_owned()));
            state.set_holds(from, to, Hold::Released);
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
        self.change(|state| {
            state.doors.insert(host.to_owned(), door);
        });
    }

    /// The next `failures` times that `host` accepts, it gets an error.
    pub fn fail_accepts(&self, host: &str, failures: u32) {
        self.record(host, format_args!("will fail to accept {failures} times"));
        self.change(|state| {
            if let Some(port) = state.ports.get_mut(host) {
                port.failures += failures;
            }
        });
    }

    /// The connections of `host` die silently, and nobody hears of it again
    /// until it has power: then they are found to be reset.
    pub fn power_off(&self, host: &str) {
        self.record(host, format_args!("loses power"));
        self.change(|state| {
            state.dark.insert(host.to_owned());
            for connection in state.connections_of(host) {
                connection.strike(End::Client, Fault::SilentDeath);
                connection.strike(End::Server, Fault::SilentDeath);
            }
        });
    }

    /// Undoes [`Network::power_off`].
    pub fn power_on(&self, host: &str) {
        self.record(host, format_args!("has power"));
        self.change(|state| {
            state.dark.remove(host);
            for connection in state.connections_of(host) {
                connection.strike(End::Client, Fault::Reset);
            }
        });
    }

    /// A fault strikes, now, what `writer` writes on each open connection between the two.
    pub fn strike(&self, client: &str, server: &str, writer: End, fault: Fault) {
        for connection in self.shared.locked().links.values() {
            if connection.route.client == client && connection.route.server == server {
                connection.strike(writer, fault);
            }
        }
    }

    /// From now on nothing goes wrong any more: everything is healed, and new
    /// connections have no faults. Hosts without power stay as they are.
    pub fn calm(&self) {
        self.record("network", format_args!("calm"));
        self.change(|state| {
            state.weather = Weather::Calm;
            state.doors.clear();
            state.cuts.clear();
            for port in state.ports.values_mut() {
                port.failures = 0;
            }
            for connection in state.links.values() {
                let halves = || connection.halves.iter();
                halves().for_each(|half| half.set_hold(End::Client, Hold::Released));
                halves().for_each(|half| half.set_hold(End::Server, Hold::Released));
                let dark = [&connection.route.client, &connection.route.server]
                    .iter()
                    .any(|host| state.dark.contains(*host));
                if !dark {
                    halves().for_each(LinkHandle::calm);
                }
            }
        });
    }

    /// What it still holds.
    #[must_use]
    pub fn usage(&self) -> NetworkUsage {
        let mut state = self.shared.locked();
        state.forget_closed();
        let mut usage = NetworkUsage {
            listening: state.ports.keys().cloned().collect(),
            unaccepted: state.ports.values().map(|port| port.waiting.len()).sum(),
            bytes_read: state.bytes_of_closed,
            ..NetworkUsage::default()
        };
        for connection in state.links.values() {
            usage.links.push(connection.route.to_string());
            for half in &connection.halves {
                let link = half.usage();
                usage.held.open_ends += link.open_ends;
                usage.held.buffered_bytes += link.buffered_bytes;
                usage.held.wakers += link.wakers;
                usage.held.written_by_client += link.written_by_client;
                usage.held.written_by_server += link.written_by_server;
                usage.held.read += link.read;
            }
        }
        usage.bytes_read += usage.held.read;
        usage
    }

    fn is_stormy(&self) -> bool {
        self.shared.locked().weather == Weather::Stormy
    }

    fn record(&self, host: &str, event: fmt::Arguments<'_>) {
        self.shared.probe.record(host, event);
    }

    /// Changes the state, then lets everybody look who waits for a change.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.shared.locked());
        self.shared.changed.notify_waiters();
        result
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn connections_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Connection> {
        let of_host = move |connection: &&Connection| {
            connection.route.client == host || connection.route.server == host
        };
        self.links.values().filter(of_host)
    }

    fn set_holds(&self, from: &str, to: &str, hold: Hold) {
        for connection in self.links.values() {
            let Route { client, server, .. } = &connection.route;
            let writer = if (client.as_str(), server.as_str()) == (from, to) {
                End::Client
            } else if (server.as_str(), client.as_str()) == (from, to) {
                End::Server
            } else {
                continue;
            };
            connection.halves[0].set_hold(writer, hold);
        }
    }

    fn forget_closed(&mut self) {
        let closed = &mut self.bytes_of_closed;
        self.links.retain(|_, connection| {
            let open = connection.is_open();
            if !open {
                *closed += connection.bytes();
            }
            open
        });
    }

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

    /// What a packet to `route`'s server, and its answer, meet.
    fn passage(&self, route: &Route) -> Passage {
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

    pub(crate) fn add_half(&mut self, number: u64, half: LinkHandle) {
        if let Some(connection) = self.links.get_mut(&number) {
            connection.halves.push(half);
        }
    }

    pub(crate) fn add_link(&mut self, route: Route, handle: LinkHandle) -> u64 {
        self.forget_closed();
        self.next_link += 1;
        let halves = vec![handle];
        self.links
            .insert(self.next_link, Connection { route, halves });
        self.next_link
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Open,
    Refused,
    /// Nothing is answered, so far.
    None,
}

/// A way into being for one connection: what lies before it, whatever carries it.
pub(crate) struct Passing {
    pub(crate) route: Route,
    pub(crate) plan: LinkPlan,
    pub(crate) seed: Seed,
}

impl Network {
    /// Waits until a request to connect has come through to the server.
    pub(crate) async fn pass(&self, client: &str, server: &str) -> io::Result<Passing> {
        let route = self.shared.locked().begin(client, server);
        self.record(&route.to_string(), format_args!("connecting"));
        let (plan, seed) = self.plan(&route);
        self.until(|state| match state.passage(&route) {
            Passage::Open => Poll::Ready(io::Result::Ok(())),
            Passage::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Passage::None => Poll::Pending,
        })
        .await?;
        let there_and_back = plan.to_server.latency() + plan.to_client.latency();
        if !there_and_back.is_zero() {
            tokio::time::sleep(there_and_back).await;
        }
        // It may have become calm meanwhile.
        let plan = if self.is_stormy() {
            plan
        } else {
            LinkPlan::default()
        };
        Ok(Passing { route, plan, seed })
    }

    fn plan(&self, route: &Route) -> (LinkPlan, Seed) {
        let seed = route.seed(self.shared.seed);
        let plan = if self.is_stormy() {
            (self.shared.plan)(route, &mut seed.child("plan", 0).stream())
        } else {
            LinkPlan::default()
        };
        (plan, seed)
    }

    /// Waits until `look` has found what it looks for. Cancel safe.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Poll<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the state is looked at: no change is missed.
            changed.as_mut().enable();
            if let Poll::Ready(found) = look(&mut self.shared.locked()) {
                return found;
            }
            changed.await;
        }
    }

    async fn connect(&self, client: &str, server: &str) -> io::Result<LinkStream> {
        let passing = self.pass(client, server).await.inspect_err(|error| {
            let kind = error.kind();
            self.record(client, format_args!("cannot reach {server}: {kind:?}"));
        })?;
        let stream = self
            .until(|state| {
                if state.passage(&passing.route) == Passage::None {
                    return Poll::Pending;
                }
                match state.ports.get(server) {
                    None => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                    Some(port) if port.waiting.len() >= BACKLOG => Poll::Pending,
                    Some(_) => Poll::Ready(Ok(self.establish(state, &passing))),
                }
            })
            .await;
        self.shared.changed.notify_waiters();
        let shown = stream.as_ref().map(|_| ()).map_err(io::Error::kind);
        self.record(
            &passing.route.to_string(),
            format_args!("connected: {shown:?}"),
        );
        stream
    }

    fn establish(&self, state: &mut State, passing: &Passing) -> LinkStream {
        let Passing { route, plan, seed } = passing;
        let name = route.to_string();
        let (client, server, handle) = link(&name, plan.clone(), *seed, &self.shared.probe);
        state.add_link(route.clone(), handle);
        let endpoints = Endpoints::new(
            Address::named(&route.server),
            Address::named(&format!("{} {}", route.client, route.attempt)),
        );
        if let Some(port) = state.ports.get_mut(&route.server) {
            port.waiting.push_back((server, endpoints));
        }
        client
    }
}

/// A server's end of the network: see [`Network::listen`]. Dropped, it resets
/// what it has not accepted, and further attempts are refused.
///
/// ```
/// # use asyncserver_sim::{Network, Probe, Seed, SimTime, Trace};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let network = Network::new(Seed(1), Probe::new(SimTime::from_now(), Trace::off()));
/// use asyncserver::runtime::Listener;
/// assert_eq!(network.listen("server").local_address().unwrap().to_string(), "server");
/// # });
/// ```
#[derive(Debug)]
pub struct SimListener {
    network: Network,
    host: String,
    number: u64,
}

impl Listener for SimListener {
    type Stream = LinkStream;

    async fn accept(&mut self) -> io::Result<(LinkStream, Endpoints)> {
        let (host, number) = (&self.host, self.number);
        let accepted = self
            .network
            .until(|state| {
                let Some(port) = state
                    .ports
                    .get_mut(host)
                    .filter(|port| port.number == number)
                else {
                    return Poll::Pending;
                };
                if port.failures > 0 {
                    port.failures -= 1;
                    return Poll::Ready(Err(io::Error::other("no file descriptor is left")));
                }
                port.waiting
                    .pop_front()
                    .map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
            })
            .await;
        let shown = accepted
            .as_ref()
            .map(|(_, endpoints)| endpoints.to_string());
        let shown = shown.map_err(io::Error::to_string);
        self.network.record(host, format_args!("accepts {shown:?}"));
        // There is a place for another one.
        self.network.shared.changed.notify_waiters();
        accepted
    }

    fn local_address(&self) -> Option<Address> {
        Some(Network::address(&self.host))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network
            .record(&self.host, format_args!("listens no more"));
        let port = self.network.change(|state| {
            let port = state.ports.get(&self.host)?;
            (port.number == self.number).then(|| state.ports.remove(&self.host))?
        });
        port.into_iter().for_each(Port::close);
    }
}

/// A client's end of the network: see [`Network::connector`].
///
/// ```
/// use asyncserver::client::{Client, ClientBuilder};
/// use asyncserver_sim::{Network, SimConnector};
/// fn reach_through(connector: SimConnector) -> ClientBuilder {
///     Client::builder(Network::address("server")).connector(connector)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SimConnector {
    network: Network,
    host: String,
}

impl Connector for SimConnector {
    type Stream = LinkStream;

    fn connect(&self, address: Address) -> impl Future<Output = io::Result<LinkStream>> + Send {
        let (network, host) = (self.network.clone(), self.host.clone());
        async move { network.connect(&host, &address.to_string()).await }
    }
}

//! The same network with turmoil's TCP between the hosts.
//!
//! Turmoil gives each host a runtime of its own, and a clock that may differ;
//! it crashes hosts whole, with what they spawned by `tokio::spawn`. What it
//! does not do, the adapter does: cuts that heal, faults byte by byte, attempts
//! to connect that can be given up, a backlog that is full without a panic.
//! Never use turmoil's own partitions, holds and fail rates beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use asyncserver::client::Connector;
use asyncserver::runtime::{Address, Endpoints, Listener};
use tokio::sync::oneshot;
use turmoil::net::{TcpListener, TcpStream};

use super::connect::Passing;
use super::{Network, PlanLinks};
use crate::link::{End, LinkHandle, LinkPlan, LinkStream};
use crate::rng::{Fnv, Seed};
use crate::time::Probe;
use crate::transport::FaultTransport;

/// Every server's port.
const PORT: u16 = 9000;

/// Attempts that a server has not accepted. Turmoil panics at its
/// `tcp_capacity`, which is 64 by default and must be above this.
const BACKLOG: usize = 32;

/// A network over turmoil's. A clone is the same network.
///
/// All of it, its construction aside, must be called from within a host of a
/// running simulation.
///
/// ```
/// use asyncserver::{client::Client, server::Server, wire::TaskCode};
/// use asyncserver_sim::{LinkPlan, Network, Probe, Seed, SimTime, Trace, TurmoilNetwork};
///
/// let probe = Probe::new(SimTime::of_turmoil(), Trace::off());
/// let network = TurmoilNetwork::new(Seed(1), probe, Box::new(|_, _| LinkPlan::default()));
/// let mut sim = turmoil::Builder::new().rng_seed(1).build();
/// let of_server = network.clone();
/// sim.host("server", move || {
///     let network = of_server.clone();
///     async move {
///         let server = Server::builder().task(TaskCode(1), "echo", async |_, m| Ok(m)).build();
///         let _serving = server.serve(network.listen("server").await?);
///         std::future::pending().await
///     }
/// });
/// sim.client("client", async move {
///     let address = Network::address("server");
///     let client = Client::builder(address).connector(network.connector("client")).build();
///     assert_eq!(client.call(1, "hello").await?, "hello");
///     Ok(())
/// });
/// sim.run().unwrap();
/// ```
#[derive(Clone)]
pub struct TurmoilNetwork {
    network: Network,
    seed: Seed,
    /// Server's halves of connections whose client has not heard of them yet.
    accepted: Arc<Mutex<BTreeMap<SocketAddr, LinkHandle>>>,
}

impl TurmoilNetwork {
    /// A network whose connections have the faults that `plan` says.
    #[must_use]
    pub fn new(seed: Seed, probe: Probe, plan: PlanLinks) -> Self {
        Self {
            network: Network::with_plan(seed, probe, plan),
            seed: seed.child("turmoil", 0),
            accepted: Arc::default(),
        }
    }

    /// What cuts, heals, refuses and strikes.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Listens as `host`, which must be the host within which it is called.
    ///
    /// # Errors
    /// When it listens already.
    pub async fn listen(&self, host: &str) -> io::Result<TurmoilListener> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT)).await?;
        self.network.change(|state| {
            state.faults.listens(host);
            state.ports.open(host);
        });
        Ok(TurmoilListener {
            network: self.clone(),
            host: host.to_owned(),
            listener,
        })
    }

    /// Makes connections as `host`, which must be the host within which it is used.
    #[must_use]
    pub fn connector(&self, host: &str) -> TurmoilConnector {
        TurmoilConnector {
            network: self.clone(),
            host: host.to_owned(),
        }
    }

    async fn connect(&self, client: &str, server: &str) -> io::Result<LinkStream> {
        let passing = {
            let route = self.network.attempt(client, server);
            self.network.pass(route).await?
        };
        self.take_place(server).await?;
        // The attempt goes on when it is given up here: turmoil keeps the port
        // of one that is dropped for ever.
        let (sender, receiver) = oneshot::channel();
        let attempt = {
            let (network, server) = (self.network.clone(), server.to_owned());
            async move {
                let stream = TcpStream::connect((server.as_str(), PORT)).await;
                network.change(|state| {
                    if let Some(port) = state.ports.get_mut(&server) {
                        port.attempts = port.attempts.saturating_sub(1);
                    }
                });
                drop(sender.send(stream));
            }
        };
        drop(tokio::spawn(attempt));
        let stream = receiver
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))??;
        self.wrap(stream, passing)
    }

    async fn take_place(&self, server: &str) -> io::Result<()> {
        let place = self
            .network
            .until(|state| match state.ports.get_mut(server) {
                None => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                Some(port) if port.attempts >= BACKLOG => Poll::Pending,
                Some(port) => {
                    port.attempts += 1;
                    Poll::Ready(Ok(()))
                }
            });
        place.await
    }

    fn wrap(&self, stream: TcpStream, passing: Passing) -> io::Result<LinkStream> {
        let Passing { route, plan, seed } = passing;
        let local = stream.local_addr()?;
        let name = route.to_string();
        let probe = &self.network.shared.probe;
        let wrapped = FaultTransport::wrap(stream, End::Client, &name, plan, seed, probe);
        let (stream, handle) = wrapped.spawn();
        let servers_half = self.locked().remove(&local);
        self.network.change(|state| {
            let number = state.links.add(route, handle);
            if let Some(half) = servers_half {
                state.links.add_half(number, half);
            }
        });
        Ok(stream)
    }

    /// The server's half only splits reads and writes: all else is in the client's.
    fn wrap_accepted(&self, stream: TcpStream, host: &str, remote: SocketAddr) -> LinkStream {
        let name = format!("{host}<-{remote}");
        let mut hash = Fnv::new();
        hash.write(name.as_bytes());
        let seed = self.seed.child("accepted", hash.value());
        let mut plan = LinkPlan::default();
        let mut rng = seed.child("plan", 0).stream();
        if self.network.locked().faults.are_planned() {
            plan.to_server.read_at_most_bytes = u32::try_from(rng.size(4096)).ok();
            plan.to_client.write_at_most_bytes = u32::try_from(rng.size(4096)).ok();
        }
        let probe = &self.network.shared.probe;
        let wrapped = FaultTransport::wrap(stream, End::Server, &name, plan, seed, probe);
        let (stream, handle) = wrapped.spawn();
        let mut accepted = self.locked();
        // Clients that have given up never come for theirs.
        accepted.retain(|_, half| half.usage().open_ends > 0);
        accepted.insert(remote, handle);
        stream
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, LinkHandle>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TurmoilNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurmoilNetwork").finish_non_exhaustive()
    }
}

/// A server's end: see [`TurmoilNetwork::listen`].
///
/// ```
/// fn is_listener(_: impl asyncserver::runtime::Listener) {}
/// fn example(listener: asyncserver_sim::TurmoilListener) { is_listener(listener) }
/// ```
pub struct TurmoilListener {
    network: TurmoilNetwork,
    host: String,
    listener: TcpListener,
}

impl Listener for TurmoilListener {
    type Stream = LinkStream;

    async fn accept(&mut self) -> io::Result<(LinkStream, Endpoints)> {
        let host = &self.host;
        let failure = self.network.network.until(|state| {
            let error = state.faults.accept_error(host);
            error.map_or(Poll::Pending, Poll::Ready)
        });
        let mut failure = pin!(failure);
        let mut accepting = pin!(self.listener.accept());
        let (stream, remote) = std::future::poll_fn(|cx| {
            if let Poll::Ready(error) = failure.as_mut().poll(cx) {
                return Poll::Ready(Err(error));
            }
            accepting.as_mut().poll(cx)
        })
        .await?;
        let endpoints = Endpoints::new(stream.local_addr()?, remote);
        let stream = self.network.wrap_accepted(stream, host, remote);
        Ok((stream, endpoints))
    }

    fn local_address(&self) -> Option<Address> {
        Some(Network::address(&self.host))
    }
}

impl fmt::Debug for TurmoilListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurmoilListener")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Drop for TurmoilListener {
    fn drop(&mut self) {
        self.network
            .network
            .change(|state| state.ports.remove(&self.host));
    }
}

/// A client's end: see [`TurmoilNetwork::connector`].
///
/// ```
/// fn is_connector(_: impl asyncserver::client::Connector) {}
/// fn example(connector: asyncserver_sim::TurmoilConnector) { is_connector(connector) }
/// ```
#[derive(Clone, Debug)]
pub struct TurmoilConnector {
    network: TurmoilNetwork,
    host: String,
}

impl Connector for TurmoilConnector {
    type Stream = LinkStream;

    fn connect(&self, address: Address) -> impl Future<Output = io::Result<LinkStream>> + Send {
        let (network, host) = (self.network.clone(), self.host.clone());
        async move { network.connect(&host, &address.to_string()).await }
    }
}

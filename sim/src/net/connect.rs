//! A client's side of the network: how a connection comes into being.

use std::future::Future;
use std::io;
use std::task::Poll;

use asyncserver::client::Connector;
use asyncserver::runtime::{Address, Endpoints};

use super::{Network, Route, State};
use crate::faults::Passage;
use crate::link::{LinkPlan, LinkStream, link};
use crate::rng::Seed;

/// A way into being for one connection: what lies before it, whatever carries it.
pub(super) struct Passing {
    pub(super) route: Route,
    pub(super) plan: LinkPlan,
    pub(super) seed: Seed,
}

impl Network {
    /// Makes connections as `host`.
    #[must_use]
    pub fn connector(&self, host: &str) -> SimConnector {
        SimConnector {
            network: self.clone(),
            host: host.to_owned(),
        }
    }

    /// Counts an attempt, which need not come to anything.
    pub(super) fn attempt(&self, client: &str, server: &str) -> Route {
        self.locked().begin(client, server)
    }

    /// Waits until a request to connect has come through to the server.
    pub(super) async fn pass(&self, route: Route) -> io::Result<Passing> {
        self.record(&route.to_string(), format_args!("connecting"));
        let seed = route.seed(self.shared.seed);
        let plan = self.plan(&route, seed);
        self.until(|state| match state.faults.passage(&route) {
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
        let plan = if self.locked().faults.are_planned() {
            plan
        } else {
            LinkPlan::default()
        };
        Ok(Passing { route, plan, seed })
    }

    fn plan(&self, route: &Route, seed: Seed) -> LinkPlan {
        if self.locked().faults.are_planned() {
            (self.shared.plan)(route, &mut seed.child("plan", 0).stream())
        } else {
            LinkPlan::default()
        }
    }

    async fn connect(&self, route: Route) -> io::Result<LinkStream> {
        let (client, server) = (route.client.clone(), route.server.clone());
        let passing = self.pass(route).await.inspect_err(|error| {
            let kind = error.kind();
            self.record(&client, format_args!("cannot reach {server}: {kind:?}"));
        })?;
        let stream = self
            .until(|state| {
                if state.faults.passage(&passing.route) == Passage::None {
                    return Poll::Pending;
                }
                match state.ports.get_mut(&server) {
                    None => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                    Some(port) if port.is_full() => Poll::Pending,
                    Some(_) => Poll::Ready(Ok(self.establish(state, &passing))),
                }
            })
            .await;
        self.let_all_look();
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
        state.links.add(route.clone(), handle);
        let endpoints = Endpoints::new(
            Address::named(&route.server),
            Address::named(&format!("{} {}", route.client, route.attempt)),
        );
        if let Some(port) = state.ports.get_mut(&route.server) {
            port.queue(server, endpoints);
        }
        client
    }
}

/// A client's end of the network: see [`Network::connector`]. Attempts are
/// numbered as they are asked for, whichever is polled first.
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

impl SimConnector {
    /// The same as `connect`, of a connector that may be gone by then.
    pub(crate) fn attempt(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<LinkStream>> + Send + use<> {
        let network = self.network.clone();
        let route = network.attempt(&self.host, &address.to_string());
        async move { network.connect(route).await }
    }
}

impl Connector for SimConnector {
    type Stream = LinkStream;

    fn connect(&self, address: Address) -> impl Future<Output = io::Result<LinkStream>> + Send {
        self.attempt(&address)
    }
}

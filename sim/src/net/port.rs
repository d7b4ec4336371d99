//! A server's side of the network: its port, and who waits there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::Poll;

use asyncserver::runtime::{Address, Endpoints, Listener};

use super::{Network, State};
use crate::link::LinkStream;

/// Connections that wait to be accepted; further ones are not answered until
/// there is a place, as a kernel drops them.
const BACKLOG: usize = 128;

/// Ports of servers that listen, by host.
#[derive(Default)]
pub(super) struct Ports {
    by_host: BTreeMap<String, Port>,
    next: u64,
}

/// A server's place for connections that it has not accepted.
pub(super) struct Port {
    /// Tells a listener that its port is now another's.
    number: u64,
    waiting: VecDeque<(LinkStream, Endpoints)>,
    /// Attempts under way, where another transport has the queue.
    pub(super) attempts: usize,
}

impl Ports {
    /// A port for `host`; says its number, and which port it takes the place of.
    pub(super) fn open(&mut self, host: &str) -> (u64, Option<Port>) {
        self.next += 1;
        let port = Port {
            number: self.next,
            waiting: VecDeque::new(),
            attempts: 0,
        };
        (port.number, self.by_host.insert(host.to_owned(), port))
    }

    pub(super) fn get_mut(&mut self, host: &str) -> Option<&mut Port> {
        self.by_host.get_mut(host)
    }

    pub(super) fn remove(&mut self, host: &str) -> Option<Port> {
        self.by_host.remove(host)
    }

    pub(super) fn listening(&self) -> Vec<String> {
        self.by_host.keys().cloned().collect()
    }

    pub(super) fn unaccepted(&self) -> usize {
        self.by_host.values().map(|port| port.waiting.len()).sum()
    }

    fn of_listener(&mut self, host: &str, number: u64) -> Option<&mut Port> {
        self.get_mut(host).filter(|port| port.number == number)
    }
}

impl Port {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= BACKLOG
    }

    pub(super) fn queue(&mut self, stream: LinkStream, endpoints: Endpoints) {
        self.waiting.push_back((stream, endpoints));
    }

    /// What nobody accepted is reset.
    fn close(self) {
        for (stream, _) in self.waiting {
            stream.abort();
        }
    }
}

impl Network {
    /// Listens as `host`. A second listener takes the place of the first.
    #[must_use]
    pub fn listen(&self, host: &str) -> SimListener {
        self.record(host, format_args!("listens"));
        let (number, replaced) = self.change(|state| {
            state.faults.listens(host);
            state.ports.open(host)
        });
        replaced.into_iter().for_each(Port::close);
        SimListener {
            network: self.clone(),
            host: host.to_owned(),
            number,
        }
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

impl SimListener {
    fn try_accept(&self, state: &mut State) -> Poll<io::Result<(LinkStream, Endpoints)>> {
        let Some(port) = state.ports.of_listener(&self.host, self.number) else {
            return Poll::Pending;
        };
        if let Some(error) = state.faults.accept_error(&self.host) {
            return Poll::Ready(Err(error));
        }
        let next = port.waiting.pop_front();
        next.map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
    }
}

impl Listener for SimListener {
    type Stream = LinkStream;

    async fn accept(&mut self) -> io::Result<(LinkStream, Endpoints)> {
        let accepted = self.network.until(|state| self.try_accept(state)).await;
        let shown = accepted
            .as_ref()
            .map(|(_, endpoints)| endpoints.to_string());
        let shown = shown.map_err(io::Error::to_string);
        self.network
            .record(&self.host, format_args!("accepts {shown:?}"));
        // There is a place for another one.
        self.network.let_all_look();
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
            state.ports.of_listener(&self.host, self.number)?;
            state.ports.remove(&self.host)
        });
        port.into_iter().for_each(Port::close);
    }
}

//! A host of a world: what runs on it, and how it goes down and comes back.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asyncserver::server::{DrainReport, Handshake, Server, ServerBuilder, Serving};
use serde::{Deserialize, Serialize};

use crate::clock::SimClock;
use crate::executor::{Interleaving, SeededExecutor};
use crate::link::LinkStream;
use crate::net::{Network, SimConnector, SimListener};
use crate::rng::Seed;
use crate::time::Probe;

/// A host. A clone is the same host.
///
/// ```
/// asyncserver_sim::World::builder(1).run(async |world| {
///     let host = world.host("client-1");
///     host.executor().spawn_as("call", async {});
/// }).expect_clean();
/// ```
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    seed: Seed,
    executor: SeededExecutor,
    clock: SimClock,
    network: Network,
    /// The server that runs on it, if one does.
    server: Mutex<Option<Server>>,
}

/// How a host goes down.
///
/// ```
/// assert_ne!(asyncserver_sim::Crash::Process, asyncserver_sim::Crash::Power);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    /// The program is killed: its kernel closes its connections, with a reset
    /// where bytes were unread, and refuses new ones.
    Process,
    /// The machine is gone: nobody is told, and nothing is answered until it is back.
    Power,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        seed: Seed,
        interleaving: Interleaving,
        probe: &Probe,
        network: &Network,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                seed,
                executor: SeededExecutor::new(name, seed, interleaving, probe),
                clock: SimClock::new(probe.time().clone()),
                network: network.clone(),
                server: Mutex::default(),
            }),
        }
    }

    /// Its name, which is its address, too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The seed of what is random on it.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.shared.seed
    }

    /// Where its futures run.
    #[must_use]
    pub fn executor(&self) -> &SeededExecutor {
        &self.shared.executor
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &SimClock {
        &self.shared.clock
    }

    /// Listens on it.
    #[must_use]
    pub fn listen(&self) -> SimListener {
        self.shared.network.listen(&self.shared.name)
    }

    /// Connects from it.
    #[must_use]
    pub fn connector(&self) -> SimConnector {
        self.shared.network.connector(&self.shared.name)
    }

    /// Everything that runs on it is dropped where it waits. What was spawned
    /// around its executor, by `tokio::spawn`, goes on.
    pub async fn crash(&self, crash: Crash) {
        if crash == Crash::Power {
            self.shared.network.power_off(&self.shared.name);
        }
        *self.locked() = None;
        // Tokio drops what was aborted in its next turns, and what is dropped
        // may spawn: a function that keeps its grace goes on, for one.
        while self.shared.executor.live_tasks() > 0 {
            self.shared.executor.abort_all();
            tokio::task::yield_now().await;
        }
    }

    /// It has power again; nothing runs on it yet.
    pub fn power_on(&self) {
        self.shared.network.power_on(&self.shared.name);
    }

    /// What its server still counts, in words.
    pub(crate) fn counted(&self) -> Option<String> {
        let server = self.locked();
        let server = server.as_ref()?;
        let (clients, tasks) = (server.client_count(), server.task_count());
        let name = &self.shared.name;
        (clients + tasks > 0).then(|| format!("{name}: {clients} clients, {tasks} tasks"))
    }

    fn locked(&self) -> MutexGuard<'_, Option<Server>> {
        self.shared
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

/// Makes a server, each time that its host is started. Any function from a
/// builder, which has the host's clock and executor, to a server is one.
///
/// ```
/// use asyncserver_sim::BuildServer;
/// fn is_one(_: impl BuildServer) {}
/// is_one(|builder: asyncserver::server::ServerBuilder| builder.build());
/// ```
pub trait BuildServer: Fn(ServerBuilder) -> Server + Send + Sync + 'static {}

impl<F: Fn(ServerBuilder) -> Server + Send + Sync + 'static> BuildServer for F {}

/// A host with a server: see [`World::server`](crate::World::server). A clone is the same host.
///
/// ```
/// use asyncserver_sim::{Crash, World};
/// World::builder(1).run(async |world| {
///     let server = world.server("server", |builder| builder.build());
///     server.host().crash(Crash::Power).await;
///     server.restart();
///     server.shutdown(std::time::Duration::ZERO).await;
/// }).expect_clean();
/// ```
#[derive(Clone)]
pub struct ServerHost {
    host: Host,
    start: Arc<dyn Fn(&Host) -> Serving + Send + Sync>,
    serving: Arc<Mutex<Serving>>,
}

impl ServerHost {
    pub(crate) fn start<H>(host: Host, build: impl BuildServer, handshake: H) -> Self
    where
        H: Handshake<LinkStream> + Clone,
    {
        let start = move |host: &Host| start(host, &build, handshake.clone());
        Self {
            serving: Arc::new(Mutex::new(start(&host))),
            start: Arc::new(start),
            host,
        }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The server that was started last.
    #[must_use]
    pub fn server(&self) -> Server {
        self.locked().server().clone()
    }

    /// Shuts the server down gracefully. Acts when called; the future only waits.
    pub fn shutdown(&self, after: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        self.locked().shutdown(after)
    }

    /// Starts a new server on the host, with power if it had none. The old one
    /// must have been shut down, or have crashed.
    pub fn restart(&self) {
        self.host.power_on();
        *self.locked() = (self.start)(&self.host);
    }

    fn locked(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(host: &Host, build: &impl BuildServer, handshake: impl Handshake<LinkStream>) -> Serving {
    let builder = Server::builder()
        .clock(host.clock().clone())
        .executor(host.executor().clone());
    let server = build(builder);
    *host.locked() = Some(server.clone());
    server.serve_with(host.listen(), handshake)
}

impl fmt::Debug for ServerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHost")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

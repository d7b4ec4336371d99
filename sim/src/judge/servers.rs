//! The servers of a plan: the recorded tasks of the harness, and an observer
//! that tells each connection's recording.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use asyncserver::runtime::Endpoints;
use asyncserver::server::{
    CancelCause, ClientHandle, ConnectionOptions, ConnectionReport, Handshake, HandshakeError,
    ObservedTask, Observer, Server, TaskEnding,
};
use asyncserver::wire::TaskCode;
use harness::{FindWorld, RecordingObserver, WatchedExecutor, World as Recording};
use oracle::{Config, Residue};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use crate::{LinkStream, ServerHost, World};

/// A server of a plan, through all its starts.
#[derive(Clone)]
pub(crate) struct PlannedServer {
    pub(crate) name: String,
    pub(crate) host: ServerHost,
    /// Notes panics of the server's own futures.
    pub(crate) program: Recording,
    pub(crate) contexts: Contexts,
    starts: Arc<Starts>,
    config: Config,
}

#[derive(Default)]
struct Starts {
    count: AtomicU64,
    servers: Mutex<Vec<(u64, Server)>>,
}

pub(crate) fn name(number: u32) -> String {
    format!("server-{number}")
}

impl PlannedServer {
    pub(crate) fn start(
        world: &World,
        number: u32,
        config: &Config,
        connections: &Connections,
    ) -> Self {
        let name = name(number);
        let host = world.host(&name);
        let program = Recording::new(config.clone(), Arc::new(host.clock().clone()));
        let executor = WatchedExecutor::new(Arc::new(host.executor().clone()), program.clone());
        let starts = Arc::new(Starts::default());
        let of_client = connections.clone();
        let find: FindWorld = Arc::new(move |client| of_client.of(client.endpoints()));
        let (settings, built, told) = (config.clone(), Arc::clone(&starts), connections.clone());
        let build = move |builder| {
            let generation = built.count.fetch_add(1, Ordering::Relaxed) + 1;
            let builder = harness::register_for(builder, &settings.tasks, &find);
            let observer = Routing {
                connections: told.clone(),
                generation,
            };
            let server = harness::settings(builder, &settings)
                .observer(Arc::new(observer))
                .executor(executor.clone())
                .build();
            built.locked().push((generation, server.clone()));
            server
        };
        let contexts = Contexts::default();
        let host = world.server_with(&name, build, contexts.clone());
        Self {
            name,
            host,
            program,
            contexts,
            starts,
            config: config.clone(),
        }
    }

    /// The number of its last start.
    pub(crate) fn generation(&self) -> u64 {
        self.starts.count.load(Ordering::Relaxed)
    }

    /// Records what each of its starts has left.
    pub(crate) fn record_left(&self, connections: &Connections) {
        for (generation, server) in &*self.starts.locked() {
            let codes = self.config.tasks.iter().map(|spec| TaskCode(spec.code));
            let places: usize = codes
                .filter_map(|code| server.registration(code)?.in_flight())
                .sum();
            let residue = Residue {
                clients: server.client_count() as u64,
                tasks: server.task_count() as u64,
                others: places as u64,
                ..Residue::default()
            };
            connections.left(&self.name, *generation, residue);
        }
    }
}

impl Starts {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Server)>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The contexts that go with connections (D6), by their ends. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Contexts(Arc<Mutex<BTreeMap<String, CancellationToken>>>);

impl Contexts {
    /// Ends that of the connection with these ends.
    pub(crate) fn end(&self, endpoints: &Endpoints) {
        if let Some(context) = self.locked().get(&endpoints.to_string()) {
            context.cancel();
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each connection a context, and exchanges nothing.
impl Handshake<LinkStream> for Contexts {
    type Transport = LinkStream;

    async fn perform(
        &self,
        stream: LinkStream,
        endpoints: &Endpoints,
    ) -> Result<(LinkStream, ConnectionOptions), HandshakeError> {
        let context = CancellationToken::new();
        let options = ConnectionOptions::default().context(context.clone());
        self.locked().insert(endpoints.to_string(), context);
        Ok((stream, options))
    }
}

/// Tells the recording of the connection that an event is of.
struct Routing {
    connections: Connections,
    generation: u64,
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Routing")
    }
}

impl Routing {
    fn of(&self, endpoints: &Endpoints) -> RecordingObserver {
        RecordingObserver::new(self.connections.of(endpoints))
    }
}

impl Observer for Routing {
    fn wants_task_events(&self) -> bool {
        true
    }

    fn connection_opened(&self, endpoints: &Endpoints) {
        self.connections.taken(endpoints, self.generation);
        self.of(endpoints).connection_opened(endpoints);
    }

    fn task_started(&self, client: &ClientHandle, task: ObservedTask) {
        self.of(client.endpoints()).task_started(client, task);
    }

    fn task_cancelled(&self, client: &ClientHandle, task: ObservedTask, cause: CancelCause) {
        self.of(client.endpoints())
            .task_cancelled(client, task, cause);
    }

    fn task_finished(&self, client: &ClientHandle, task: ObservedTask, ending: TaskEnding) {
        self.of(client.endpoints())
            .task_finished(client, task, ending);
    }

    fn task_stuck(&self, client: &ClientHandle, task: ObservedTask) {
        self.of(client.endpoints()).task_stuck(client, task);
    }

    fn limit_reached(&self, client: &ClientHandle, rule: &'static str) {
        self.of(client.endpoints()).limit_reached(client, rule);
    }

    fn connection_refused(&self, endpoints: &Endpoints, report: &ConnectionReport) {
        self.connections.taken(endpoints, self.generation);
        self.connections.closed(endpoints);
        self.of(endpoints).connection_refused(endpoints, report);
    }

    fn connection_closed(&self, client: &ClientHandle, report: &ConnectionReport) {
        self.connections.closed(client.endpoints());
        self.of(client.endpoints())
            .connection_closed(client, report);
    }
}

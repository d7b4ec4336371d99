//! The course of a run.

mod liveness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oracle::Call;

use super::calls::{Caller, Calls};
use super::connections::Connections;
use super::servers::{self, PlannedServer};
use super::tap::TapConnector;
use super::wire::WireClient;
use crate::{
    Action, ClientKind, Crash, Door, LinkPlan, Plan, Rng, Route, SimClock, TimedFault, Trouble,
    World, Writer,
};

/// What is left of a stage for the judge.
#[derive(Clone)]
pub(crate) struct Witness {
    pub(crate) connections: Connections,
    pub(crate) calls: Calls,
    pub(crate) programs: Vec<harness::World>,
    pub(crate) hang: Arc<Mutex<Option<String>>>,
}

pub(crate) struct Stage<'p> {
    plan: &'p Plan,
    world: World,
    witness: Witness,
    servers: Vec<PlannedServer>,
    wires: BTreeMap<String, WireClient>,
    callers: BTreeMap<String, Caller>,
    troubles: Vec<tokio::sync::oneshot::Receiver<()>>,
    down: Arc<Mutex<Vec<String>>>,
}

/// The faults of each connection of a plan.
pub(crate) fn links(plan: &Plan) -> impl Fn(&Route, &mut Rng) -> LinkPlan + Send + Sync + 'static {
    let links = plan.clients.iter();
    let links: BTreeMap<_, _> = links
        .map(|client| (client.name.clone(), client.link.clone()))
        .collect();
    move |route, _| links.get(&route.client).cloned().unwrap_or_default()
}

impl<'p> Stage<'p> {
    pub(crate) fn set(plan: &'p Plan, world: &World) -> Self {
        let clock = Arc::new(SimClock::new(world.probe().time().clone()));
        let connections = Connections::new(plan.config.clone(), clock, world.probe().clone());
        let start = |number| PlannedServer::start(world, number, &plan.config, &connections);
        let servers: Vec<_> = (0..plan.servers.max(1)).map(start).collect();
        let witness = Witness {
            connections: connections.clone(),
            calls: Calls::default(),
            programs: servers.iter().map(|s| s.program.clone()).collect(),
            hang: Arc::default(),
        };
        let mut stage = Self {
            plan,
            world: world.clone(),
            witness,
            servers,
            wires: BTreeMap::new(),
            callers: BTreeMap::new(),
            troubles: Vec::new(),
            down: Arc::default(),
        };
        stage.start_clients();
        stage
    }

    pub(crate) fn witness(&self) -> Witness {
        self.witness.clone()
    }

    fn start_clients(&mut self) {
        for client in &self.plan.clients {
            let name = client.name.clone();
            let connector = TapConnector {
                client: name.clone(),
                link: client.link.clone(),
                connector: self.world.network().connector(&name),
                connections: self.witness.connections.clone(),
            };
            match client.kind {
                ClientKind::Wire => {
                    let server = &self.servers[client.server as usize % self.servers.len()];
                    let wire = WireClient::dial(&self.world, connector, server);
                    self.wires.insert(name, wire);
                }
                ClientKind::Caller {
                    retries,
                    negotiates,
                } => {
                    let names: Vec<_> = self.servers.iter().map(|s| s.name.clone()).collect();
                    let set = (retries, negotiates);
                    let caller =
                        Caller::start(&self.world, connector, &names, set, &self.witness.calls);
                    self.callers.insert(name, caller);
                }
            }
        }
    }

    /// Everything that the plan says, at its time.
    pub(crate) async fn safety(&mut self) {
        // Connections get to be made before the first step.
        yields(8).await;
        let plan = self.plan;
        let mut faults = plan.faults.iter().peekable();
        for event in &plan.events {
            while let Some(fault) = faults.next_if(|fault| fault.at_ms <= event.at_ms) {
                self.until(fault.at_ms).await;
                self.strike(fault);
            }
            self.until(event.at_ms).await;
            // What happens at one time meets in several ways.
            let mut rng = self.world.seed().child("event", event.id.into()).stream();
            yields(rng.below(16)).await;
            if let Some(caller) = self.callers.get_mut(&event.client) {
                caller.act(event.id, &event.action);
            }
            if let Some(wire) = self.wires.get_mut(&event.client) {
                match &event.action {
                    Action::Wire(op) => wire.act(op),
                    Action::Reconnect => wire.redial(),
                    _ => {}
                }
            }
        }
        for fault in faults {
            self.until(fault.at_ms).await;
            self.strike(fault);
        }
        self.until(plan.phases.calm_at_ms).await;
        for trouble in std::mem::take(&mut self.troubles) {
            drop(trouble.await);
        }
    }

    async fn until(&self, at_ms: u64) {
        let at = Duration::from_millis(at_ms);
        tokio::time::sleep(at.saturating_sub(self.world.probe().elapsed())).await;
    }

    fn strike(&mut self, fault: &TimedFault) {
        let server = |number: u32| self.servers[number as usize % self.servers.len()].clone();
        let network = self.world.network().clone();
        let ms = Duration::from_millis;
        match fault.trouble.clone() {
            Trouble::Cut {
                client,
                server,
                writer,
                for_ms,
            } => self.cut(client, servers::name(server), writer, for_ms),
            Trouble::Strike {
                client,
                server,
                writer,
                fault,
            } => {
                let server = servers::name(server);
                network.strike(&client, &server, writer.into(), fault);
            }
            Trouble::Crash {
                server: of,
                how,
                for_ms,
            } => {
                let down = self.crash(server(of), how, for_ms);
                self.run(down);
            }
            Trouble::Restart {
                server: of,
                within_ms,
                for_ms,
            } => {
                let restart = self.restart(server(of), within_ms, for_ms);
                self.run(restart);
            }
            Trouble::Door {
                server: of,
                door,
                for_ms,
            } => {
                let name = server(of).name;
                network.set_door(&name, door);
                self.run(async move {
                    tokio::time::sleep(ms(for_ms)).await;
                    network.set_door(&name, Door::Open);
                });
            }
            Trouble::FailAccepts { server: of, count } => {
                network.fail_accepts(&server(of).name, count);
            }
        }
    }

    /// Runs a trouble until it has ended by itself.
    fn run(&mut self, trouble: impl Future<Output = ()> + Send + 'static) {
        let (over, is_over) = tokio::sync::oneshot::channel();
        self.troubles.push(is_over);
        let chaos = self.world.host("chaos");
        chaos.executor().spawn_as("trouble", async move {
            trouble.await;
            over.send(()).ok();
        });
    }

    fn cut(&mut self, client: String, server: String, writer: Option<Writer>, for_ms: u64) {
        let network = self.world.network().clone();
        if writer != Some(Writer::Server) {
            network.cut(&client, &server);
        }
        if writer != Some(Writer::Client) {
            network.cut(&server, &client);
        }
        self.run(async move {
            tokio::time::sleep(Duration::from_millis(for_ms)).await;
            network.heal_both_ways(&client, &server);
        });
    }

    /// A server can go down once at a time.
    fn take_down(down: &Mutex<Vec<String>>, name: &str) -> bool {
        let mut down = down.lock().unwrap_or_else(PoisonError::into_inner);
        let is_up = !down.iter().any(|other| other == name);
        if is_up {
            down.push(name.to_owned());
        }
        is_up
    }

    fn bring_up(down: &Mutex<Vec<String>>, server: &PlannedServer) {
        let mut down = down.lock().unwrap_or_else(PoisonError::into_inner);
        down.retain(|other| *other != server.name);
        drop(down);
        server.host.restart();
    }

    fn crash(
        &self,
        server: PlannedServer,
        how: Crash,
        for_ms: u64,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (connections, down) = (self.witness.connections.clone(), Arc::clone(&self.down));
        async move {
            if Self::take_down(&down, &server.name) {
                connections.crashed(&server.name);
                server.host.host().crash(how).await;
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                Self::bring_up(&down, &server);
            }
        }
    }

    fn restart(
        &self,
        server: PlannedServer,
        within_ms: u64,
        for_ms: u64,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (connections, down) = (self.witness.connections.clone(), Arc::clone(&self.down));
        async move {
            if Self::take_down(&down, &server.name) {
                shutdown(&connections, &server, within_ms).await;
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                Self::bring_up(&down, &server);
            }
        }
    }
}

async fn shutdown(connections: &Connections, server: &PlannedServer, after_ms: u64) {
    let (name, generation) = (&server.name, server.generation());
    let begun = connections.begin_call(name, generation, Call::Shutdown { after_ms });
    let over = server.host.shutdown(Duration::from_millis(after_ms));
    over.await;
    Connections::end_call(begun);
}

async fn yields(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

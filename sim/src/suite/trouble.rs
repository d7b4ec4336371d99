//! The faults of a case, at their times.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::{Door, ServerHost, Trouble, World, Writer};

/// What goes wrong at the moment.
pub(super) struct Troubles {
    world: World,
    servers: Vec<ServerHost>,
    down: Arc<Mutex<BTreeSet<String>>>,
    under_way: Vec<oneshot::Receiver<()>>,
}

impl Troubles {
    pub(super) fn new(world: &World, servers: &[ServerHost]) -> Self {
        Self {
            world: world.clone(),
            servers: servers.to_vec(),
            down: Arc::default(),
            under_way: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, trouble: &Trouble) {
        let network = self.world.network().clone();
        match trouble.clone() {
            Trouble::Cut {
                client,
                server,
                writer,
                for_ms,
            } => {
                let server = self.server(server).host().name().to_owned();
                if writer != Some(Writer::Server) {
                    network.cut(&client, &server);
                }
                if writer != Some(Writer::Client) {
                    network.cut(&server, &client);
                }
                let heal = move || network.heal_both_ways(&client, &server);
                self.run(async move { after(for_ms, heal).await });
            }
            Trouble::Strike {
                client,
                server,
                writer,
                fault,
            } => {
                let server = self.server(server).host().name().to_owned();
                network.strike(&client, &server, writer.into(), fault);
            }
            Trouble::Door {
                server,
                door,
                for_ms,
            } => {
                let server = self.server(server).host().name().to_owned();
                network.set_door(&server, door);
                let open = move || network.set_door(&server, Door::Open);
                self.run(async move { after(for_ms, open).await });
            }
            Trouble::FailAccepts { server, count } => {
                network.fail_accepts(self.server(server).host().name(), count);
            }
            Trouble::Crash {
                server,
                how,
                for_ms,
            } => {
                let server = self.server(server);
                let crashing = server.clone();
                let crash = async move { crashing.host().crash(how).await };
                self.take_down(server, for_ms, crash);
            }
            Trouble::Restart {
                server,
                within_ms,
                for_ms,
            } => {
                let server = self.server(server);
                let ending = server.clone();
                let within = Duration::from_millis(within_ms);
                let shutdown = async move { drop(ending.shutdown(within).await) };
                self.take_down(server, for_ms, shutdown);
            }
        }
    }

    /// Waits until they have ended by themselves.
    pub(super) async fn end(&mut self) {
        for over in std::mem::take(&mut self.under_way) {
            drop(over.await);
        }
    }

    fn server(&self, number: u32) -> ServerHost {
        self.servers[number as usize % self.servers.len()].clone()
    }

    /// A server can go down once at a time.
    fn take_down(
        &mut self,
        server: ServerHost,
        for_ms: u64,
        going_down: impl Future<Output = ()> + Send + 'static,
    ) {
        let (name, down) = (server.host().name().to_owned(), Arc::clone(&self.down));
        if !locked(&down).insert(name.clone()) {
            return;
        }
        self.run(async move {
            going_down.await;
            let up = || {
                locked(&down).remove(&name);
                server.restart();
            };
            after(for_ms, up).await;
        });
    }

    fn run(&mut self, trouble: impl Future<Output = ()> + Send + 'static) {
        let (over, is_over) = oneshot::channel();
        self.under_way.push(is_over);
        let chaos = self.world.host("chaos");
        chaos.executor().spawn_as("trouble", async move {
            trouble.await;
            over.send(()).ok();
        });
    }
}

async fn after(ms: u64, then: impl FnOnce()) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    then();
}

fn locked(down: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    down.lock().unwrap_or_else(PoisonError::into_inner)
}

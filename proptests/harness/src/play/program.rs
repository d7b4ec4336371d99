//! The server of a played scenario, and what its program does for all clients.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use asyncserver::runtime::{BoxFuture, Clock, Timer, Transport, memory};
use asyncserver::server::{ConnectionOptions, Server, Serving};
use futures_util::FutureExt;
use oracle::{Call, Config, Reason, Returned};

use super::Stage;
use crate::executor::WatchedExecutor;
use crate::routes::Routes;
use crate::world::{World, lock};
use crate::{report, tasks};

/// A shutdown that has not returned: its calls, one in each world, and what it waits for.
type Shutdown = (Vec<(World, u32)>, BoxFuture<'static, ()>);

/// The server's program.
pub(super) struct Program {
    /// That of the first connection; what is nobody's is noted there.
    pub(super) world: World,
    pub(super) config: Config,
    pub(super) executor: WatchedExecutor,
    pub(super) server: Server,
    pub(super) routes: Routes,
    serving: Serving,
    stops: Mutex<Stops>,
    shutdowns: Arc<Mutex<Vec<Shutdown>>>,
}

/// Whether a shutdown was called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stops {
    NotYet,
    Called,
}

impl Program {
    pub(super) fn start(config: &Config, stage: &Stage, world: &World) -> Self {
        let executor = WatchedExecutor::new(Arc::clone(&stage.executor), world.clone());
        let routes = Routes::default();
        let of_client = routes.clone();
        let find: tasks::FindWorld = Arc::new(move |client| {
            let world = of_client.world(client.endpoints());
            world.expect("a connection that the harness made")
        });
        let builder = tasks::register_for(Server::builder(), &config.tasks, &find);
        let server = report::settings(builder, config)
            .observer(Arc::new(routes.clone()))
            .executor(executor.clone())
            .clock(SharedClock(Arc::clone(&stage.clock)))
            .build();
        // For its `shutdown` alone: nobody connects to it.
        let serving = server.serve(memory::listener("server", 1).0);
        Self {
            world: world.clone(),
            config: config.clone(),
            executor,
            server,
            routes,
            serving,
            stops: Mutex::new(Stops::NotYet),
            shutdowns: Arc::default(),
        }
    }

    pub(super) fn is_shut_down(&self) -> bool {
        *lock(&self.stops) == Stops::Called
    }

    /// D6: behind a shutdown no new connection is accepted.
    pub(super) fn demand_refusal(&self, stream: impl Transport) {
        let options = ConnectionOptions::default().endpoints(Routes::nobody());
        let report = self
            .server
            .handle_connection(stream, options)
            .now_or_never();
        let report = report.as_ref().map(report::report);
        let is_refused = report.as_ref().is_some_and(|report| {
            // A connection that still drains may have the last place of L8.
            let by_name = [Reason::GracefulDisconnect, Reason::Refused].contains(&report.reason);
            by_name && report.bytes_read == 0
        });
        if !is_refused {
            let fault = format!("a connection behind a shutdown came to {report:?}");
            self.world.fault(fault);
        }
    }

    /// A call for all clients, recorded in each world.
    pub(super) fn called_for_all(&self, what: Call, call: impl FnOnce()) {
        let begun = self.begin_call(what);
        call();
        end_call(&begun);
    }

    fn begin_call(&self, what: Call) -> Vec<(World, u32)> {
        let begin = |world: World| {
            let call = world.begin_call(what);
            (world, call)
        };
        self.routes.worlds().into_iter().map(begin).collect()
    }

    pub(super) fn shutdown(&self, after_ms: u64) {
        let calls = self.begin_call(Call::Shutdown { after_ms });
        *lock(&self.stops) = Stops::Called;
        let over = self.serving.shutdown(Duration::from_millis(after_ms));
        let over: BoxFuture<'static, ()> = Box::pin(async move { drop(over.await) });
        lock(&self.shutdowns).push((calls, over));
        let shutdowns = Arc::clone(&self.shutdowns);
        // Whichever is woken looks at all, oldest first: Tokio wakes those who
        // wait for one thing in a random order.
        self.executor
            .run_beside(Box::pin(std::future::poll_fn(move |cx| {
                let mut shutdowns = lock(&shutdowns);
                shutdowns.retain_mut(|(calls, over)| {
                    let is_over = over.as_mut().poll(cx).is_ready();
                    if is_over {
                        end_call(calls);
                    }
                    !is_over
                });
                if shutdowns.is_empty() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })));
    }
}

fn end_call(begun: &[(World, u32)]) {
    for (world, call) in begun {
        world.end_call(*call, Returned::Nothing);
    }
}

/// A clock that is shared.
#[derive(Clone, Debug)]
struct SharedClock(Arc<dyn Clock>);

impl Clock for SharedClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.0.timer()
    }
}

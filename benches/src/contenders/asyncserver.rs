//! asyncserver as an application uses it: all limits are at their defaults,
//! but for those that a workload could not be run with.

mod bodies;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use asyncserver::client::{Client, Negotiation};
use asyncserver::runtime::tcp::TcpListener;
use asyncserver::server::{
    ClientHandle, Execution, Limits, Registration, Server, ServerBuilder, Serving,
};

use asyncserver::wire::TaskId;
use bytes::Bytes;

use super::{Contender, Served};
use crate::handler::{BurnSteps, Handler, SLEEP};
use crate::load::calls::Caller;
use crate::load::{ClientLoads, With};
use crate::server::ServerSettings;

pub(super) const AUTO: Asyncserver = Asyncserver {
    name: "auto",
    mode: Mode::Futures(Execution::Auto),
};
pub(super) const LOCAL: Asyncserver = Asyncserver {
    name: "local",
    mode: Mode::Futures(Execution::Local),
};
pub(super) const SPAWN: Asyncserver = Asyncserver {
    name: "spawn",
    mode: Mode::Futures(Execution::Spawn),
};
pub(super) const BLOCKING: Asyncserver = Asyncserver {
    name: "blocking",
    mode: Mode::Threads,
};

/// The server with all its tasks run in one way.
pub(super) struct Asyncserver {
    name: &'static str,
    mode: Mode,
}

enum Mode {
    Futures(Execution),
    Threads,
}

impl Contender for Asyncserver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serve(
        &self,
        listener: tokio::net::TcpListener,
        settings: &ServerSettings,
    ) -> Box<dyn Served> {
        let builder = Server::builder().limits(limits(settings));
        let builder = match self.mode {
            Mode::Futures(execution) => with_futures(builder, execution, settings.burn()),
            Mode::Threads => with_threads(builder, settings.burn()),
        };
        let server = builder.build();
        let serving = server.serve(TcpListener::from(listener));
        Box::new(Running {
            server,
            _serving: serving,
        })
    }

    fn client(&self) -> &'static dyn ClientLoads {
        &With::<LibraryClient>::NEW
    }
}

fn limits(settings: &ServerSettings) -> Limits {
    let mut limits = Limits::default();
    let changes = [
        (&mut limits.connection_limit, settings.connection_limit),
        (&mut limits.task_limit, settings.task_limit),
        (&mut limits.in_flight_limit, settings.in_flight_limit),
        (
            &mut limits.message_limit_bytes,
            settings.message_bytes_limit,
        ),
    ];
    for (limit, change) in changes {
        *limit = change.unwrap_or(*limit);
    }
    limits
}

fn with_futures(builder: ServerBuilder, execution: Execution, burn: BurnSteps) -> ServerBuilder {
    let ready = Registration::task(async |_, message| Ok(message));
    let yields = Registration::task(async |_, message| {
        tokio::task::yield_now().await;
        Ok(message)
    });
    let sleep = Registration::task(async |_, message| {
        tokio::time::sleep(SLEEP).await;
        Ok(message)
    });
    let burns = Registration::task(move |_, message| async move {
        burn.burn();
        Ok(message)
    });
    let waits = Registration::task(async |_, message| {
        std::future::pending::<()>().await;
        Ok(message)
    });
    bodies::register(builder, execution)
        .register(Handler::Ready.code(), "ready", ready.execution(execution))
        .register(Handler::Yield.code(), "yield", yields.execution(execution))
        .register(Handler::Sleep.code(), "sleep", sleep.execution(execution))
        .register(Handler::Burn.code(), "burn", burns.execution(execution))
        .register(Handler::Wait.code(), "wait", waits.execution(execution))
}

fn with_threads(builder: ServerBuilder, burn: BurnSteps) -> ServerBuilder {
    let ready = Registration::blocking(|_, message| Ok(message));
    let yields = Registration::blocking(|_, message| {
        std::thread::yield_now();
        Ok(message)
    });
    let sleep = Registration::blocking(|_, message| {
        std::thread::sleep(SLEEP);
        Ok(message)
    });
    let burns = Registration::blocking(move |_, message| {
        burn.burn();
        Ok(message)
    });
    builder
        .register(Handler::Ready.code(), "ready", ready)
        .register(Handler::Yield.code(), "yield", yields)
        .register(Handler::Sleep.code(), "sleep", sleep)
        .register(Handler::Burn.code(), "burn", burns)
}

struct Running {
    server: Server,
    _serving: Serving,
}

impl Served for Running {
    /// Times are in nanoseconds, of all clients together.
    fn answer(&self, question: &str) -> String {
        let clients = self.server.clients();
        let began = Instant::now();
        match question {
            "tasks" => return self.server.task_count().to_string(),
            "list" => drop(clients.iter().map(ClientHandle::tasks).collect::<Vec<_>>()),
            "find 1000" => clients.iter().for_each(|client| {
                let ids = (0..1000).map(TaskId);
                drop(ids.map(|id| client.metadata(id)).collect::<Vec<_>>());
            }),
            "cancel 1000" => clients.iter().for_each(|client| {
                (0..1000).for_each(|id| client.cancel(TaskId(id)));
            }),
            other => return format!("unknown question {other}"),
        }
        began.elapsed().as_nanos().to_string()
    }
}

/// Nothing is in flight then: no call needs it.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The library's client, with all defaults.
#[derive(Clone)]
struct LibraryClient(Client);

impl Caller for LibraryClient {
    async fn connect(address: SocketAddr) -> Self {
        Self(Client::new(address))
    }

    async fn call(&self, handler: Handler, message: Bytes) -> Bytes {
        let answer = self.0.call(handler.code(), message).await;
        answer.expect("the call succeeds")
    }

    async fn close(self) {
        self.0.close(CLOSE_WITHIN).await;
    }
}

/// The same against the raw loop, which would not know what Negotiate is.
#[derive(Clone)]
pub(super) struct BaseClient(Client);

impl Caller for BaseClient {
    async fn connect(address: SocketAddr) -> Self {
        let builder = Client::builder(address).negotiation(Negotiation::Skip);
        Self(builder.build())
    }

    async fn call(&self, handler: Handler, message: Bytes) -> Bytes {
        let answer = self.0.call(handler.code(), message).await;
        answer.expect("the call succeeds")
    }
}

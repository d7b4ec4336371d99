//! Plays a scenario against the real server.

mod settle;
mod steps;

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use asyncserver::runtime::{BoxFuture, Clock, Executor, Timer, Transport, memory};
use asyncserver::server::{ClientHandle, ConnectionOptions, ConnectionReport, Server, Serving};
use oracle::{Ask, Config, History, Op, Request, Scenario, View, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Splits};
use crate::executor::WatchedExecutor;
use crate::observer::RecordingObserver;
use crate::transport::{Link, Network};
use crate::world::{World, lock};
use crate::{report, tasks};

/// The id of the Negotiate that [`Config::negotiate`] asks for.
const NEGOTIATE_ID: u32 = u32::MAX - 7;

/// Where a scenario is played.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The server's clock, and the history's.
    pub clock: Arc<dyn Clock>,
    /// What runs futures. Blocking functions are simulated on it.
    pub executor: Arc<dyn Executor>,
    /// How the client's bytes are cut.
    pub splits: Splits,
}

/// Plays `scenario` on `stage`, over the link that `connect` makes, to its very
/// end; the world, and its history until then.
pub async fn play<C, S>(
    scenario: &Scenario,
    stage: &Stage,
    connect: impl FnOnce(&World) -> Link<C, S>,
) -> (World, History)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    S: Transport,
{
    let world = World::new(scenario.config.clone(), Arc::clone(&stage.clock));
    let link = connect(&world);
    let mut player = Player::start(scenario, stage, &world, link);
    // The connection gets to run before the first step.
    yield_times(4).await;
    player.negotiate();
    for (number, step) in scenario.steps.iter().enumerate() {
        world.sleep_until_ms(step.at_ms).await;
        // What happens at one time meets in several ways.
        yield_times([0, 1, 3, 12][number % 4]).await;
        player.step(&step.op).await;
    }
    player.settle().await;
    player.record_residue();
    let mut history = world.history();
    history.views.tasks = View::Complete;
    history.views.observer = View::Complete;
    (world, history)
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// The connection's own future, where it can be dropped.
type Connection = Arc<Mutex<Served>>;

/// A connection's future, until it ends or is dropped, and whom to tell so.
struct Served {
    future: Option<BoxFuture<'static, ConnectionReport>>,
    poller: Option<Waker>,
}

/// Shutdowns that have not returned: their calls, and what they wait for.
type Shutdowns = Arc<Mutex<Vec<(u32, BoxFuture<'static, ()>)>>>;

struct Player {
    world: World,
    config: Config,
    executor: WatchedExecutor,
    server: Server,
    serving: Serving,
    connection: Connection,
    context: CancellationToken,
    client: Client,
    network: Arc<dyn Network>,
    handle: Option<ClientHandle>,
    writing: Cell<Writing>,
    shutdowns: Shutdowns,
}

/// Whether the server's transport takes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Moves,
    Held,
}

impl Player {
    fn start<C, S>(scenario: &Scenario, stage: &Stage, world: &World, link: Link<C, S>) -> Self
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
        S: Transport,
    {
        let config = scenario.config.clone();
        let executor = WatchedExecutor::new(Arc::clone(&stage.executor), world.clone());
        let server = server(&config, world, &executor, &stage.clock);
        // For its `shutdown` alone: nobody connects to it.
        let serving = server.serve(memory::listener("server", 1).0);
        let context = CancellationToken::new();
        let options = ConnectionOptions::default()
            .byte_order(config.byte_order.into())
            .context(context.clone());
        let of_server = server.clone();
        let future = async move { of_server.handle_connection(link.server, options).await };
        let connection: Connection = Arc::new(Mutex::new(Served {
            future: Some(Box::pin(future)),
            poller: None,
        }));
        executor.spawn(drive(Arc::clone(&connection), world.clone()));
        let network = Arc::clone(&link.network);
        let client = Client::start(
            world,
            &executor,
            link.client,
            link.network,
            (stage.splits, config.transport_buffer_bytes),
        );
        Self {
            world: world.clone(),
            config,
            executor,
            server,
            serving,
            connection,
            context,
            client,
            network,
            handle: None,
            writing: Cell::new(Writing::Moves),
            shutdowns: Arc::default(),
        }
    }

    fn negotiate(&mut self) {
        self.handle = self.server.clients().into_iter().next();
        if let Some(features) = self.config.negotiate {
            let negotiate = Ask::Negotiate {
                version: 1,
                features,
                bytes: 5,
            };
            self.send(&Request::new(NEGOTIATE_ID, negotiate));
        }
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Send { .. }
            | Op::SendTogether { .. }
            | Op::Cut { .. }
            | Op::Garbage { .. }
            | Op::HalfClose => self.send_step(op),
            Op::Leave
            | Op::Reset
            | Op::StopReading
            | Op::ReadSlowly { .. }
            | Op::ReadAll
            | Op::StallWriting
            | Op::StallReading
            | Op::Unstall
            | Op::TransportError { .. } => self.network_step(op).await,
            Op::Complete { id, how } => self.world.complete(*id, *how),
            Op::CompleteBody { id, how } => self.world.complete_body(*id, *how),
            Op::Pass => {}
            _ => self.program_step(op),
        }
    }
}

/// Polls the connection until it ends or is dropped.
fn drive(connection: Connection, world: World) -> BoxFuture<'static, ()> {
    Box::pin(std::future::poll_fn(move |cx| {
        let mut served = lock(&connection);
        served.poller = Some(cx.waker().clone());
        let Some(future) = served.future.as_mut() else {
            return Poll::Ready(());
        };
        let Poll::Ready(returned) = future.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        served.future = None;
        let returned = report::report(&returned);
        let history = world.history();
        let told = history.events.iter().find_map(|event| match &event.what {
            What::Closed(told) => Some(told.clone()),
            _ => None,
        });
        if told.flatten().as_ref() != Some(&returned) {
            world.fault(format!("the observer was not told of {returned:?}"));
        }
        Poll::Ready(())
    }))
}

fn server(
    config: &Config,
    world: &World,
    executor: &WatchedExecutor,
    clock: &Arc<dyn Clock>,
) -> Server {
    let builder = tasks::register(Server::builder(), &config.tasks, world);
    report::settings(builder, config)
        .observer(Arc::new(RecordingObserver::new(world.clone())))
        .executor(executor.clone())
        .clock(SharedClock(Arc::clone(clock)))
        .build()
}

/// A clock that is shared.
#[derive(Clone, Debug)]
struct SharedClock(Arc<dyn Clock>);

impl Clock for SharedClock {
    fn now(&self) -> std::time::Instant {
        self.0.now()
    }

    fn wall(&self) -> std::time::SystemTime {
        self.0.wall()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.0.timer()
    }
}

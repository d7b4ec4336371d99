//! Plays a scenario against the real server.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use asyncserver::runtime::{BoxFuture, Clock, Executor, Timer, Transport, memory};
use asyncserver::server::{
    ClientHandle, ConnectionOptions, ConnectionReport, Server, Serving,
};
use asyncserver::wire::TaskId;
use oracle::{Ask, Call, Config, Direction, Op, Request, Residue, Returned, Scenario, Then, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Reading, Splits, Write};
use crate::executor::WatchedExecutor;
use crate::observer::RecordingObserver;
use crate::transport::{Link, Network};
use crate::world::{World, lock};
use crate::{report, tasks};

/// The id of the Negotiate that [`Config::negotiate`] asks for.
const NEGOTIATE_ID: u32 = u32::MAX - 7;

/// Longer than every time of a generated scenario, one of 32 bits in milliseconds included.
const FOR_EVER: Duration = Duration::from_secs(70 * 24 * 3600);

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

/// Plays `scenario` on `stage`, over the link that `connect` makes, to its very end.
pub async fn play<C, S>(
    scenario: &Scenario,
    stage: &Stage,
    connect: impl FnOnce(&World) -> Link<C, S>,
) -> World
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
    world
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// The connection's own future, where it can be dropped.
type Connection = Arc<Mutex<Option<BoxFuture<'static, ConnectionReport>>>>;

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
        let connection: Connection = Arc::new(Mutex::new(Some(Box::pin(future))));
        executor.spawn(drive(Arc::clone(&connection), world.clone()));
        let network = Arc::clone(&link.network);
        let client = Client::start(world, &executor, link.client, link.network, stage.splits);
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
            | Op::TransportError => self.network_step(op).await,
            Op::Complete { id, how } => self.world.complete(*id, *how),
            Op::CompleteBody { id, how } => self.world.complete_body(*id, *how),
            Op::Pass => {}
            _ => self.program_step(op),
        }
    }

    fn send(&self, request: &Request) {
        let bytes = request.encode(self.config.byte_order.into());
        self.client.queue(Write::Bytes(bytes));
    }

    /// What the client sends.
    fn send_step(&self, op: &Op) {
        let order = self.config.byte_order.into();
        let bytes = |bytes: &[u8]| self.client.queue(Write::Bytes(bytes.to_vec()));
        match op {
            Op::Send { request, pieces } => {
                let encoded = request.encode(order);
                let mut rest = &encoded[..];
                for piece in pieces {
                    let (now, later) = rest.split_at(piece.bytes.min(rest.len()));
                    bytes(now);
                    let pause = Duration::from_millis(piece.then_ms);
                    self.client.queue(Write::Pause(pause));
                    rest = later;
                }
                bytes(rest);
            }
            Op::SendTogether { requests } => {
                let encoded = requests.iter().flat_map(|request| request.encode(order));
                bytes(&encoded.collect::<Vec<_>>());
            }
            Op::Cut {
                request,
                bytes: count,
                then,
            } => {
                let encoded = request.encode(order);
                bytes(&encoded[..(*count).min(encoded.len())]);
                match then {
                    Then::EndOfStream => self.client.queue(Write::End),
                    Then::Reset => self.client.queue(Write::Reset),
                    Then::Silence => {}
                }
            }
            Op::Garbage { bytes: garbage } => bytes(&garbage.0),
            _ => self.client.queue(Write::End),
        }
    }

    /// What becomes of the bytes on their way.
    async fn network_step(&self, op: &Op) {
        let stalled = |direction| self.world.record(What::Stalled(direction));
        let is_there = self.client.reading() != Reading::Gone;
        match op {
            Op::Leave if is_there => self.client.leave(),
            Op::Reset if is_there => self.client.reset(),
            Op::StopReading if is_there => {
                stalled(Direction::ToClient);
                self.client.set_reading(Reading::Stopped);
            }
            Op::ReadSlowly { bytes, every_ms } if is_there => {
                stalled(Direction::ToClient);
                self.client.set_reading(Reading::Slowly {
                    bytes: *bytes,
                    every: Duration::from_millis(*every_ms),
                });
            }
            Op::ReadAll if is_there => self.read_all().await,
            Op::StallWriting => {
                stalled(Direction::ToClient);
                self.network.hold(Direction::ToClient);
            }
            Op::StallReading => {
                stalled(Direction::ToServer);
                self.network.hold(Direction::ToServer);
            }
            Op::Unstall => {
                self.network.release();
                self.world.record(What::Flowing(Direction::ToServer));
                if self.client.reading() == Reading::All {
                    self.world.record(What::Flowing(Direction::ToClient));
                    self.client.read_what_waits().await;
                }
            }
            Op::TransportError => {
                self.world.record(What::ClientReset);
                self.network.fail_server();
            }
            _ => {}
        }
    }

    async fn read_all(&self) {
        if self.client.is_full() {
            return;
        }
        self.client.set_reading(Reading::All);
        self.world.record(What::Flowing(Direction::ToClient));
        self.client.read_what_waits().await;
    }

    /// What the server's program calls. Handles may outlive their connection.
    fn program_step(&self, op: &Op) {
        let ms = Duration::from_millis;
        let called = |what: Call, call: &dyn Fn()| {
            self.world.called(what, || {
                call();
                Returned::Nothing
            });
        };
        match *op {
            Op::ServerDisconnect { after_ms } => {
                called(Call::ServerDisconnect { after_ms }, &|| {
                    self.server.disconnect(ms(after_ms));
                });
            }
            Op::EndContext => called(Call::EndContext, &|| self.context.cancel()),
            Op::DropConnection => {
                called(Call::Close, &|| drop(lock(&self.connection).take()));
            }
            Op::Shutdown { after_ms } => self.shutdown(after_ms),
            _ => {}
        }
        let Some(client) = &self.handle else {
            return;
        };
        match *op {
            Op::List => self.world.called(Call::List, || {
                Returned::Tasks(client.tasks().iter().map(|id| id.0).collect())
            }),
            Op::Cancel { id } => called(Call::Cancel { id }, &|| client.cancel(TaskId(id))),
            Op::CancelAll => called(Call::CancelAll, &|| client.cancel_all()),
            Op::Disconnect { after_ms } => {
                called(Call::Disconnect { after_ms }, &|| {
                    client.disconnect(ms(after_ms));
                });
            }
            Op::Close => called(Call::Close, &|| client.close()),
            _ => {}
        }
    }

    fn shutdown(&self, after_ms: u64) {
        let call = self.world.begin_call(Call::Shutdown { after_ms });
        let over = self.serving.shutdown(Duration::from_millis(after_ms));
        let world = self.world.clone();
        self.executor.run_beside(Box::pin(async move {
            over.await;
            world.end_call(call, Returned::Nothing);
        }));
    }

    /// Lets everything come to its end, and demands that it does.
    async fn settle(&self) {
        self.network_step(&Op::Unstall).await;
        self.network_step(&Op::ReadAll).await;
        self.world.complete_all();
        self.until(Duration::from_secs(6), || self.is_closed()).await;
        self.client.queue(Write::End);
        self.until(Duration::from_secs(1), || self.is_closed()).await;
        if !self.is_closed() {
            self.program_step(&Op::Disconnect { after_ms: 500 });
        }
        self.until(Duration::from_secs(60), || self.is_closed()).await;
        if !self.is_closed() {
            self.world.fault(format!("it hangs: {}", self.pending()));
        }
        let is_at_rest = || self.executor.live() == self.services();
        self.until(FOR_EVER, is_at_rest).await;
        if !is_at_rest() {
            self.world.fault(format!("it goes on: {}", self.pending()));
        }
        // The client reads what has come.
        self.until(Duration::from_millis(1), || false).await;
        self.client.take_back_untaken();
    }

    /// The accept loop, until a shutdown ends it.
    fn services(&self) -> usize {
        usize::from(!self.serving_is_over())
    }

    fn serving_is_over(&self) -> bool {
        let events = self.world.history().events;
        let is_shutdown = |what: &What| {
            matches!(
                what,
                What::Called {
                    what: Call::Shutdown { .. },
                    ..
                }
            )
        };
        events.iter().any(|event| is_shutdown(&event.what))
    }

    fn is_closed(&self) -> bool {
        lock(&self.connection).is_none()
    }

    /// Waits until it is so, at most for so long.
    async fn until(&self, at_most: Duration, is_so: impl Fn() -> bool) {
        let (mut waited, mut step) = (Duration::ZERO, Duration::from_millis(1));
        while !is_so() && waited < at_most {
            self.world.sleep(step).await;
            waited += step;
            step = (step * 2).min(at_most.saturating_sub(waited));
        }
    }

    fn pending(&self) -> String {
        let handle = self.handle.as_ref();
        let tasks = handle.map(|client| client.tasks()).unwrap_or_default();
        format!(
            "{} clients, tasks {tasks:?}, {} places of L6, {} futures, {} bytes on their way to \
             the server and {} to the client",
            self.server.client_count(),
            self.server.task_count(),
            self.executor.live(),
            self.network.waiting(Direction::ToServer),
            self.network.waiting(Direction::ToClient),
        )
    }

    /// Drops everything, and records what is left of it.
    fn record_residue(self) {
        let in_flight = tasks::places_in_flight(&self.server, &self.config.tasks);
        let residue = Residue {
            clients: self.server.client_count() as u64,
            tasks: self.server.task_count() as u64,
            others: (in_flight + self.executor.live() - self.services()) as u64,
            ..Residue::default()
        };
        self.world.record(What::Left(residue));
    }
}

/// Polls the connection until it ends or is dropped.
fn drive(connection: Connection, world: World) -> BoxFuture<'static, ()> {
    Box::pin(std::future::poll_fn(move |cx| {
        let mut place = lock(&connection);
        let Some(future) = place.as_mut() else {
            return Poll::Ready(());
        };
        let Poll::Ready(returned) = future.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        *place = None;
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

//! A world: hosts, a network between them, and time, all from one seed.
//!
//! A world runs on one thread, in one Tokio runtime whose time is paused: when
//! nothing can go on, time jumps to the next moment at which something can. An
//! idle hour costs nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use asyncserver::client::{Client, ClientBuilder};

use crate::executor::{Interleaving, TaskPanic};
use crate::host::{BuildServer, Host, ServerHost};
use crate::net::{Network, NetworkUsage, PlanLinks, Route};
use crate::rng::{Fnv, Rng, Seed};
use crate::time::{Livelock, Probe, SimTime};
use crate::trace::Trace;
use crate::{LinkPlan, SeededExecutor};

/// How a world is to be. From [`World::builder`].
#[must_use = "it does nothing until it is run"]
pub struct WorldBuilder {
    seed: Seed,
    interleaving: Interleaving,
    trace: Trace,
    plan: PlanLinks,
    poll_limit: u64,
    time_limit: Duration,
}

/// A world, from within. A clone is the same world.
///
/// ```
/// use asyncserver::wire::TaskCode;
/// use asyncserver_sim::World;
/// use std::time::Duration;
///
/// let run = World::builder(1).run(async |world| {
///     let server = world.server("server", |builder| {
///         builder.task(TaskCode(1), "echo", async |_, message| Ok(message)).build()
///     });
///     let client = world.client("client", &["server"]).build();
///     let answer = client.call(1, "hello").await;
///     client.close(Duration::ZERO).await;
///     server.shutdown(Duration::from_secs(1)).await;
///     answer
/// });
/// assert_eq!(run.expect_clean().unwrap(), "hello");
/// ```
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    seed: Seed,
    interleaving: Interleaving,
    probe: Probe,
    network: Network,
    hosts: Mutex<BTreeMap<String, Host>>,
}

/// What came of running a world.
///
/// ```
/// let run = asyncserver_sim::World::builder(1).run(async |_| 7);
/// assert_eq!(run.expect_clean(), 7);
/// ```
#[derive(Debug)]
pub struct Run<T> {
    /// The seed that it was.
    pub seed: u64,
    /// What the world's own code returned, if nothing stopped it.
    pub outcome: Result<T, Failure>,
    /// What was left over when all was done.
    pub residue: Residue,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// How often tasks of hosts were polled.
    pub polls: u64,
    /// Equal for equal orders of these polls.
    pub schedule: u64,
    /// What was recorded.
    pub trace: Trace,
}

/// Why a world did not come to its end.
///
/// ```
/// fn show(failure: &asyncserver_sim::Failure) { println!("{failure}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Things were polled again and again without time passing.
    #[error("livelock: {0}")]
    Livelock(#[from] Livelock),
    /// It took more virtual time than it may.
    #[error("not over after {0:?} of virtual time")]
    TimeLimit(Duration),
    /// The world's own code panicked.
    #[error("the world's code panicked: {0}")]
    Panicked(String),
    /// A panic reached the end of a host's task.
    #[error("{} panicked at {:?}: {}", .0.task, .0.at, .0.message)]
    TaskPanicked(TaskPanic),
}

/// What was left over at the end: nothing, where all is well.
///
/// ```
/// assert!(asyncserver_sim::Residue::default().is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Residue {
    /// Tasks that had not ended.
    pub tasks: Vec<String>,
    /// Connections of which an end was open.
    pub links: Vec<String>,
    /// Bytes that nobody had read.
    pub buffered_bytes: usize,
    /// Tasks that waited for a connection.
    pub wakers: usize,
    /// Connections that nobody had accepted.
    pub unaccepted: usize,
    /// Hosts that listened.
    pub listening: Vec<String>,
    /// Clients and live tasks that a server still counted.
    pub counted_by_servers: Vec<String>,
}

impl Residue {
    /// Whether nothing was left over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Nothing went on for too long.
///
/// ```
/// fn show(stalled: &asyncserver_sim::Stalled) { println!("{stalled}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no progress for {budget:?} at {at:?}; left: {residue:?}")]
pub struct Stalled {
    /// How long nothing may go on.
    pub budget: Duration,
    /// When, since the start.
    pub at: Duration,
    /// What was there still.
    pub residue: Residue,
}

/// How long a world may take to come to rest once its code has ended.
const REST: Duration = Duration::from_secs(60);

impl WorldBuilder {
    /// How tasks of each host are interleaved.
    pub const fn interleaving(mut self, interleaving: Interleaving) -> Self {
        self.interleaving = interleaving;
        self
    }

    /// Where events are recorded. Default: nowhere.
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// What decides the faults of each connection, from its route and from
    /// random numbers of its own. Default: none have any.
    pub fn plan_links(
        mut self,
        plan: impl Fn(&Route, &mut Rng) -> LinkPlan + Send + Sync + 'static,
    ) -> Self {
        self.plan = Box::new(plan);
        self
    }

    /// Polls that are allowed at one instant of virtual time. Default 1,000,000.
    pub const fn poll_limit(mut self, limit: u64) -> Self {
        self.poll_limit = limit;
        self
    }

    /// How much virtual time the world's code may take. Default one day.
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Runs the world until `code` has ended and everything has come to rest.
    ///
    /// # Panics
    /// When no Tokio runtime can be built, or within one.
    pub fn run<T, F: Future<Output = T>>(self, code: impl FnOnce(World) -> F) -> Run<T> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs nothing that can be missing");
        runtime.block_on(self.run_within(code))
    }

    async fn run_within<T, F: Future<Output = T>>(self, code: impl FnOnce(World) -> F) -> Run<T> {
        let time_limit = self.time_limit;
        let seed = self.seed.0;
        let world = self.into_world();
        let outcome = world.drive(code(world.clone()), time_limit).await;
        // A world that failed may never come to rest: its servers go on.
        let residue = match (&outcome, world.first_failure()) {
            (Ok(_), None) => world.residue_at_rest().await,
            _ => world.residue(),
        };
        let outcome = outcome.and_then(|result| world.first_failure().map_or(Ok(result), Err));
        let hosts = world.hosts();
        let mut schedule = Fnv::new();
        for host in &hosts {
            schedule.write(&host.executor().schedule().to_le_bytes());
        }
        Run {
            seed,
            outcome,
            residue,
            elapsed: world.probe().elapsed(),
            polls: hosts.iter().map(|host| host.executor().polls()).sum(),
            schedule: schedule.value(),
            trace: world.probe().trace().clone(),
        }
    }

    fn into_world(self) -> World {
        let probe = Probe::new(SimTime::from_now(), self.trace).poll_limit(self.poll_limit);
        let network = Network::with_plan(self.seed, probe.clone(), self.plan);
        World {
            shared: Arc::new(Shared {
                seed: self.seed,
                interleaving: self.interleaving,
                probe,
                network,
                hosts: Mutex::default(),
            }),
        }
    }
}

impl World {
    /// A world to be set up, in which `seed` decides everything.
    pub fn builder(seed: u64) -> WorldBuilder {
        WorldBuilder {
            seed: Seed(seed),
            interleaving: Interleaving::default(),
            trace: Trace::off(),
            plan: Box::new(|_, _| LinkPlan::default()),
            poll_limit: 1_000_000,
            time_limit: Duration::from_secs(24 * 3600),
        }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.shared.seed
    }

    /// Time, trace and poll budget.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The host of this name, which is made when it is first asked for.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let mut hosts = self.locked();
        let host = hosts.entry(name.to_owned()).or_insert_with(|| {
            let seed = self.shared.seed.child(name, 0);
            let Shared {
                interleaving,
                probe,
                network,
                ..
            } = &*self.shared;
            Host::new(name, seed, *interleaving, probe, network)
        });
        host.clone()
    }

    /// All hosts, by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        self.locked().values().cloned().collect()
    }

    /// Starts a server as the host `name`. `build` is called again when it is
    /// restarted; what it is given has the host's clock and executor.
    pub fn server(&self, name: &str, build: impl BuildServer) -> ServerHost {
        ServerHost::start(self.host(name), Arc::new(build))
    }

    /// A client on the host `name` of these servers, with the host's network,
    /// clock, executor and random numbers.
    ///
    /// # Panics
    /// When there is no server.
    pub fn client(&self, name: &str, servers: &[&str]) -> ClientBuilder {
        let host = self.host(name);
        let (first, further) = servers.split_first().expect("a client of no server");
        let mut builder = Client::builder(Network::address(first))
            .connector(host.connector())
            .clock(Arc::new(host.clock().clone()))
            .executor(Arc::new(host.executor().clone()))
            .seed(host.seed().child("client", 0).0);
        for server in further {
            builder = builder.address(Network::address(server));
        }
        builder
    }

    /// What `work` comes to, unless for `budget` of virtual time no byte
    /// arrives, no task ends and no connection is made or closed.
    ///
    /// # Errors
    /// [`Stalled`], with what there was.
    pub async fn while_progressing<T>(
        &self,
        budget: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let mut work = pin!(work);
        let mut watch = pin!(self.until_stalled(budget));
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            watch.as_mut().poll(cx).map(Err)
        })
        .await
    }

    /// Waits until nothing is left over of anything.
    ///
    /// # Errors
    /// [`Stalled`] when for `budget` of virtual time nothing went on.
    pub async fn at_rest(&self, budget: Duration) -> Result<(), Stalled> {
        let empty = async {
            let mut pause = Duration::from_millis(1);
            while !self.residue().is_empty() && self.probe().livelock().is_none() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        };
        self.while_progressing(budget, empty).await?;
        let residue = self.residue();
        if residue.is_empty() {
            return Ok(());
        }
        Err(self.stalled(budget))
    }

    /// What is left when all has come to rest, or has had its time to.
    async fn residue_at_rest(&self) -> Residue {
        // Its result is looked at again: progress without end is no rest, either.
        drop(tokio::time::timeout(REST * 60, self.at_rest(REST)).await);
        self.residue()
    }

    /// What is there still.
    #[must_use]
    pub fn residue(&self) -> Residue {
        let NetworkUsage {
            links,
            held,
            listening,
            unaccepted,
            ..
        } = self.network().usage();
        let hosts = self.hosts();
        let tasks = hosts.iter();
        Residue {
            tasks: tasks
                .flat_map(|host| host.executor().live_task_names())
                .collect(),
            links,
            buffered_bytes: held.buffered_bytes,
            wakers: held.wakers,
            unaccepted,
            listening,
            counted_by_servers: hosts.iter().filter_map(Host::counted).collect(),
        }
    }

    async fn until_stalled(&self, budget: Duration) -> Stalled {
        let mut seen = self.progress();
        loop {
            tokio::time::sleep(budget).await;
            let now = self.progress();
            if now == seen {
                return self.stalled(budget);
            }
            seen = now;
        }
    }

    fn stalled(&self, budget: Duration) -> Stalled {
        Stalled {
            budget,
            at: self.probe().elapsed(),
            residue: self.residue(),
        }
    }

    /// Changes whenever anything has come of anything.
    fn progress(&self) -> (u64, usize, usize, u64) {
        let usage = self.network().usage();
        let hosts = self.hosts();
        let executors = || hosts.iter().map(Host::executor);
        let live = executors().map(SeededExecutor::live_tasks).sum();
        let spawned = executors().map(SeededExecutor::spawned_tasks).sum();
        (usage.bytes_read, usage.links.len(), live, spawned)
    }

    fn first_failure(&self) -> Option<Failure> {
        if let Some(livelock) = self.probe().livelock() {
            return Some(livelock.into());
        }
        let hosts = self.hosts();
        let panics = hosts.iter().flat_map(|host| host.executor().panics());
        panics
            .min_by_key(|panic| panic.at)
            .map(Failure::TaskPanicked)
    }

    async fn drive<T>(
        &self,
        code: impl Future<Output = T>,
        time_limit: Duration,
    ) -> Result<T, Failure> {
        let mut code = pin!(code);
        let mut over = pin!(tokio::time::sleep(time_limit));
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| code.as_mut().poll(cx)));
            match polled {
                Ok(Poll::Ready(result)) => return Poll::Ready(Ok(result)),
                Err(panic) => return Poll::Ready(Err(Failure::Panicked(words_of(&*panic)))),
                Ok(Poll::Pending) => {}
            }
            over.as_mut().poll(cx).map(|()| {
                Err(self
                    .first_failure()
                    .unwrap_or(Failure::TimeLimit(time_limit)))
            })
        })
        .await
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.shared
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

impl<T> Run<T> {
    /// The outcome of a run in which nothing went wrong and nothing was left over.
    ///
    /// # Panics
    /// Otherwise, with the seed and what it was.
    #[track_caller]
    pub fn expect_clean(self) -> T {
        let seed = self.seed;
        let outcome = match self.outcome {
            Ok(outcome) => outcome,
            Err(failure) => panic!("seed {seed:#x}: {failure}"),
        };
        assert!(
            self.residue.is_empty(),
            "seed {seed:#x}: left over: {:#?}",
            self.residue
        );
        outcome
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.shared.seed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WorldBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldBuilder")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

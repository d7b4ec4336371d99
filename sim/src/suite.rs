//! Checks of a user's own servers and clients: cases from seeds, judged by the
//! user's own invariants, and made smaller where they break one.

mod broken;
mod case;
mod log;
mod run;
mod small;
mod trouble;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use asyncserver::client::{Client, ClientBuilder};
use asyncserver::server::{Server, ServerBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Rng;
use crate::rng::Fnv;

pub use broken::{Broken, Passed};
pub use case::{Case, CaseClient, CaseStep, Weather};

/// A system of servers and clients that can be checked: its task functions, what
/// its clients do, and what must hold.
///
/// One value of it is one run's state: what the task functions share, so that the
/// invariants can look at it. It outlives a crash of a server, as a database does.
///
/// The whole example is `sim/examples/reservations.rs`.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use asyncserver::{client::Client, server::{Server, ServerBuilder}, wire::TaskCode};
/// use asyncserver_sim::{Check, Rng, Simulated};
///
/// const WORK: TaskCode = TaskCode(1);
///
/// #[derive(Default)]
/// struct Counter { busy: AtomicI64 }
///
/// impl Simulated for Counter {
///     /// A step: work for so many milliseconds.
///     type Step = u64;
///
///     fn server(self: Arc<Self>, builder: ServerBuilder) -> Server {
///         builder.task(WORK, "work", move |_, message: bytes::Bytes| {
///             let counter = Arc::clone(&self);
///             async move {
///                 counter.busy.fetch_add(1, Ordering::Relaxed);
///                 tokio::time::sleep(std::time::Duration::from_millis(message.len() as u64)).await;
///                 // The bug: a task that is cancelled never gets here.
///                 counter.busy.fetch_sub(1, Ordering::Relaxed);
///                 Ok(message)
///             }
///         }).build()
///     }
///
///     fn draw(&self, rng: &mut Rng) -> u64 {
///         rng.size(100)
///     }
///
///     async fn act(self: Arc<Self>, client: Client, ms: u64) {
///         // How it ends is judged by what it leaves behind.
///         drop(client.call(WORK, vec![0; ms as usize]).await);
///     }
///
///     fn at_rest(&self) -> Result<(), String> {
///         match self.busy.load(Ordering::Relaxed) {
///             0 => Ok(()),
///             busy => Err(format!("{busy} tasks are counted, and none is there")),
///         }
///     }
/// }
///
/// let broken = Check::new(Counter::default).seeds(0..100).run().unwrap_err();
/// // Somebody works, and gives up: nothing else is needed.
/// assert_eq!(broken.small.steps.len(), 1);
/// println!("{broken}");
/// ```
pub trait Simulated: Send + Sync + 'static {
    /// Something that a client does, as data: it is drawn, left out, made simpler,
    /// written down and repeated.
    type Step: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + 'static;

    /// A server with the task functions. Called for each server, and again for
    /// each start after a crash. The builder has the clock, the executor and an
    /// observer of the simulation.
    fn server(self: Arc<Self>, builder: ServerBuilder) -> Server;

    /// A client of all servers.
    fn client(&self, builder: ClientBuilder) -> Client {
        builder.build()
    }

    /// A step by chance. All that is random in it has to come from `rng`.
    fn draw(&self, rng: &mut Rng) -> Self::Step;

    /// Steps that are simpler than this one and may break the same, the simplest first.
    fn simpler(&self, _step: &Self::Step) -> Vec<Self::Step> {
        Vec::new()
    }

    /// Does a step. A panic in it, a failed `assert!` for one, breaks the case.
    /// A client that gives up drops the future, and with it the calls in it.
    fn act(
        self: Arc<Self>,
        client: Client,
        step: Self::Step,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// What must hold at any time; looked at before and after each step.
    ///
    /// # Errors
    /// What does not hold, in words.
    fn always(&self) -> Result<(), String> {
        Ok(())
    }

    /// What must hold at the end, when faults are over, every step has ended,
    /// and clients and servers are closed.
    ///
    /// # Errors
    /// What does not hold, in words.
    fn at_rest(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Runs cases of a [`Simulated`] system, one from each seed, until one breaks.
///
/// Besides the invariants a case breaks when something panics, when it never
/// comes to its end, or when a task, a connection or a byte is left over.
///
/// `ASYNCSERVER_SIM_SEED=0x2a` in the environment runs that seed alone.
#[must_use = "it does nothing until it is run"]
pub struct Check<S> {
    make: Box<dyn Fn() -> S>,
    seeds: Range<u64>,
    servers: u32,
    clients: u32,
    steps: u32,
    weather: Weather,
    budget: Duration,
    kept: Option<PathBuf>,
}

/// Takes one seed in place of those that a check names.
const SEED: &str = "ASYNCSERVER_SIM_SEED";

impl<S: Simulated> Check<S> {
    /// A check of what `make` makes, anew for each case: of 100 seeds, each with
    /// a server, at most 3 clients and 20 steps, and a network at its worst.
    pub fn new(make: impl Fn() -> S + 'static) -> Self {
        Self {
            make: Box::new(make),
            seeds: 0..100,
            servers: 1,
            clients: 3,
            steps: 20,
            weather: Weather::Network,
            budget: Duration::from_secs(120),
            kept: None,
        }
    }

    /// Which seeds.
    pub const fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// How many servers: `server-0` and so on.
    pub const fn servers(mut self, servers: u32) -> Self {
        self.servers = servers;
        self
    }

    /// How many clients a case has at most: `client-0` and so on.
    pub const fn clients(mut self, most: u32) -> Self {
        self.clients = most;
        self
    }

    /// How many steps a case has at most.
    pub const fn steps(mut self, most: u32) -> Self {
        self.steps = most;
        self
    }

    /// How much goes wrong.
    pub const fn weather(mut self, weather: Weather) -> Self {
        self.weather = weather;
        self
    }

    /// How much virtual time may pass without progress once faults are over.
    pub const fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// A folder of cases as JSON, those that broke once: they are run first.
    pub fn kept(mut self, folder: impl Into<PathBuf>) -> Self {
        self.kept = Some(folder.into());
        self
    }

    /// Runs the cases.
    ///
    /// # Errors
    /// The first case that broke, made smaller. It shows itself as a story, as
    /// what is said of a failed `unwrap()`, too.
    ///
    /// # Panics
    /// When a kept case or the seed in the environment cannot be read.
    pub fn run(&self) -> Result<Passed, Box<Broken<S::Step>>> {
        let mut passed = Passed::default();
        for case in self.kept_cases() {
            self.judge(&case, &mut passed)?;
        }
        let seeds = seed_from_environment().map_or(self.seeds.clone(), |seed| seed..seed + 1);
        for seed in seeds {
            self.judge(&self.case(seed), &mut passed)?;
        }
        Ok(passed)
    }

    fn judge(&self, case: &Case<S::Step>, passed: &mut Passed) -> Result<(), Box<Broken<S::Step>>> {
        passed.cases += 1;
        let played = self.play(case);
        passed.polls += played.polls;
        passed.virtual_time += played.elapsed;
        let mut hash = Fnv::new();
        hash.write(&passed.trace_hash.to_le_bytes());
        hash.write(&played.trace_hash.to_le_bytes());
        passed.trace_hash = hash.value();
        match &played.why {
            None => Ok(()),
            Some(why) => Err(Box::new(self.broken(case, why, passed.cases))),
        }
    }

    fn broken(&self, case: &Case<S::Step>, why: &run::Why, cases: u64) -> Broken<S::Step> {
        let mut small = small::shrink(self, case, why);
        let played = self.play(&small);
        let why = played.why.unwrap_or_else(|| why.clone()).text;
        if small.about.is_empty() {
            small.about.clone_from(&why);
        }
        Broken {
            seed: case.seed,
            cases,
            found: case.clone(),
            why,
            log: played.log,
            small,
        }
    }

    fn kept_cases(&self) -> Vec<Case<S::Step>> {
        let Some(folder) = &self.kept else {
            return Vec::new();
        };
        let files = std::fs::read_dir(folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|is| is == "json"));
        files.sort();
        let read = |file: &PathBuf| {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
            let case = text.and_then(|text| Case::from_json(&text).map_err(|e| e.to_string()));
            case.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        files.iter().map(read).collect()
    }
}

fn seed_from_environment() -> Option<u64> {
    let set = std::env::var(SEED).ok()?;
    let seed = set
        .strip_prefix("0x")
        .map_or_else(|| set.parse(), |hex| u64::from_str_radix(hex, 16));
    Some(seed.unwrap_or_else(|_| panic!("{SEED} is no seed: {set}")))
}

impl<S> fmt::Debug for Check<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("seeds", &self.seeds)
            .field("weather", &self.weather)
            .finish_non_exhaustive()
    }
}

//! How a world is set up, and run to its end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use super::outcome::{Failure, Run, words_of};
use super::{Shared, World};
use crate::executor::Interleaving;
use crate::link::LinkPlan;
use crate::net::{Network, PlanLinks, Route};
use crate::rng::{Fnv, Rng, Seed};
use crate::time::{POLLS_AT_ONE_INSTANT, Probe, SimTime};
use crate::trace::Trace;

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

impl WorldBuilder {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            interleaving: Interleaving::default(),
            trace: Trace::off(),
            plan: Box::new(|_, _| LinkPlan::default()),
            poll_limit: POLLS_AT_ONE_INSTANT,
            time_limit: Duration::from_secs(24 * 3600),
        }
    }

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
}

impl fmt::Debug for WorldBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldBuilder")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

//! Where the futures of a host run: on the world's one thread, in an order that
//! the seed decides.
//!
//! Tokio polls what is woken first in, first out, so without help a host would
//! only ever know one interleaving. Here every task, when it is polled, first
//! draws whether it goes to the back of the queue instead. All orders in which
//! tasks that are ready at one instant can run are reached that way.
//!
//! A *blocking function* runs to its end, on the same thread, in one step, at a
//! random moment up to [`Interleaving::blocking_delay_ms`] after it was
//! spawned. A function that waits for another task without end would wait for
//! ever: real threads are what the models of `loom` are for.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use asyncserver::runtime::{BoxFuture, Executor};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::rng::{Fnv, Rng, Seed};
use crate::time::{Going, Probe};
use crate::world::words_of;

/// How tasks of a host are interleaved.
///
/// ```
/// let first_in_first_out = asyncserver_sim::Interleaving { put_off_permille: 0, ..Default::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interleaving {
    /// In how many of a thousand polls a task goes to the back of the queue, on
    /// average: each task draws its own number up to twice that, so that some
    /// are quick and others late. 450 at most. Default 400.
    pub put_off_permille: u16,
    /// The longest time until a blocking function runs. Default 20.
    pub blocking_delay_ms: u32,
}

impl Default for Interleaving {
    fn default() -> Self {
        Self {
            put_off_permille: 400,
            blocking_delay_ms: 20,
        }
    }
}

/// Polls that a task may be put off in a row.
const PUT_OFF_MOST: u8 = 8;

/// The executor of one host. A clone is the same executor.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver::{runtime::Executor, server::Server};
/// use asyncserver_sim::{Interleaving, Probe, Seed, SeededExecutor, SimTime, Trace};
///
/// let probe = Probe::new(SimTime::from_now(), Trace::off());
/// let executor = SeededExecutor::new("server-1", Seed(1), Interleaving::default(), &probe);
/// let server = Server::builder().executor(executor.clone()).build();
/// # drop(server);
/// executor.spawn(Box::pin(async {}));
/// assert_eq!(executor.live_tasks(), 1);
/// # });
/// ```
#[derive(Clone)]
pub struct SeededExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    seed: Seed,
    interleaving: Interleaving,
    probe: Probe,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers given out, by kind of task.
    spawned: BTreeMap<&'static str, u64>,
    next_key: u64,
    live: BTreeMap<u64, Live>,
    panics: Vec<TaskPanic>,
    schedule: Schedule,
}

struct Live {
    name: String,
    abort: Option<AbortHandle>,
}

/// A panic that reached a task's end: one that turmoil, and Tokio, would swallow.
///
/// ```
/// fn show(panic: &asyncserver_sim::TaskPanic) { println!("{}: {}", panic.task, panic.message); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPanic {
    /// Whose it was.
    pub task: String,
    /// When, since the start of the world.
    pub at: Duration,
    /// What it said.
    pub message: String,
}

/// Which tasks were polled, in order.
#[derive(Clone, Copy)]
struct Schedule {
    polls: u64,
    hash: Fnv,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            polls: 0,
            hash: Fnv::new(),
        }
    }
}

impl SeededExecutor {
    /// The executor of `host`.
    #[must_use]
    pub fn new(host: &str, seed: Seed, interleaving: Interleaving, probe: &Probe) -> Self {
        Self {
            shared: Arc::new(Shared {
                host: host.to_owned(),
                seed,
                interleaving,
                probe: probe.clone(),
                state: Mutex::default(),
            }),
        }
    }

    /// Runs `future`, one of a kind that is numbered by itself: what others
    /// spawn changes nothing about its random numbers.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    pub fn spawn_as(&self, kind: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(kind, |_| Box::pin(future));
    }

    /// The same, for a future with a result. It is an error of the receiver if
    /// the task was dropped or panicked first.
    ///
    /// # Panics
    /// When called outside a Tokio runtime.
    pub fn run_as<T: Send + 'static>(
        &self,
        kind: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.spawn_as(kind, async move { drop(sender.send(future.await)) });
        receiver
    }

    fn spawn_boxed(
        &self,
        kind: &'static str,
        future: impl FnOnce(&mut Rng) -> BoxFuture<'static, ()>,
    ) {
        let shared = &self.shared;
        let (key, name, mut rng) = {
            let mut state = shared.locked();
            let counter = state.spawned.entry(kind).or_default();
            *counter += 1;
            let number = *counter;
            let name = format!("{} {kind} {number}", shared.host);
            state.next_key += 1;
            let key = state.next_key;
            let live = Live {
                name: name.clone(),
                abort: None,
            };
            state.live.insert(key, live);
            (key, name, shared.seed.child(kind, number).stream())
        };
        shared.probe.record(&name, format_args!("spawned"));
        let average = u64::from(shared.interleaving.put_off_permille.min(450));
        let task = SeededTask {
            future: Some(future(&mut rng)),
            put_off_permille: u16::try_from(rng.below(average * 2 + 1)).unwrap_or(0),
            rng,
            put_off: 0,
            key,
            name,
            shared: Arc::clone(shared),
        };
        let abort = tokio::spawn(task).abort_handle();
        if let Some(live) = shared.locked().live.get_mut(&key) {
            live.abort = Some(abort);
        }
    }

    /// Drops every task, as a crash does. They are gone once the runtime has
    /// had a turn.
    pub fn abort_all(&self) {
        let aborts: Vec<AbortHandle> = {
            let state = self.shared.locked();
            let live = state.live.values();
            live.filter_map(|live| live.abort.clone()).collect()
        };
        aborts.iter().for_each(AbortHandle::abort);
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.shared.locked().live.len()
    }

    /// The names of those, oldest first.
    #[must_use]
    pub fn live_task_names(&self) -> Vec<String> {
        let state = self.shared.locked();
        state.live.values().map(|live| live.name.clone()).collect()
    }

    /// How many tasks have ever been spawned.
    #[must_use]
    pub fn spawned_tasks(&self) -> u64 {
        self.shared.locked().next_key
    }

    /// Panics that were caught at the end of a task.
    #[must_use]
    pub fn panics(&self) -> Vec<TaskPanic> {
        self.shared.locked().panics.clone()
    }

    /// A hash of the order in which tasks were polled: equal for equal schedules.
    #[must_use]
    pub fn schedule(&self) -> u64 {
        self.shared.locked().schedule.hash.value()
    }

    /// How many polls there were.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.shared.locked().schedule.polls
    }
}

impl Executor for SeededExecutor {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.spawn_boxed("task", |_| future);
    }

    fn spawn_blocking(&self, function: Box<dyn FnOnce() + Send>) {
        let longest = self.shared.interleaving.blocking_delay_ms;
        self.spawn_boxed("blocking", |rng| {
            let delay = rng.up_to_ms(longest);
            Box::pin(async move {
                tokio::time::sleep(delay).await;
                function();
            })
        });
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SeededExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededExecutor")
            .field("host", &self.shared.host)
            .field("live_tasks", &self.live_tasks())
            .finish_non_exhaustive()
    }
}

/// A task that draws, at each poll, whether it goes on.
struct SeededTask {
    future: Option<BoxFuture<'static, ()>>,
    rng: Rng,
    put_off_permille: u16,
    put_off: u8,
    key: u64,
    name: String,
    shared: Arc<Shared>,
}

impl SeededTask {
    fn is_put_off(&mut self) -> bool {
        let permille = self.put_off_permille;
        let again = permille > 0 && self.put_off < PUT_OFF_MOST && self.rng.chance(permille);
        self.put_off = if again { self.put_off + 1 } else { 0 };
        again
    }

    fn count(&self) {
        let mut state = self.shared.locked();
        state.schedule.polls += 1;
        state.schedule.hash.write(&self.key.to_le_bytes());
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        let message = words_of(panic);
        let probe = &self.shared.probe;
        probe.record(&self.name, format_args!("panicked: {message}"));
        let panic = TaskPanic {
            task: self.name.clone(),
            at: probe.elapsed(),
            message,
        };
        self.shared.locked().panics.push(panic);
    }
}

impl Future for SeededTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.shared.probe.count_poll(&this.name) == Going::Frozen {
            return Poll::Pending;
        }
        if this.is_put_off() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.count();
        this.shared.probe.record(&this.name, format_args!("polled"));
        let Some(future) = &mut this.future else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {
                this.shared.probe.record(&this.name, format_args!("ended"));
            }
            Err(panic) => this.panicked(&*panic),
        }
        this.future = None;
        Poll::Ready(())
    }
}

impl Drop for SeededTask {
    fn drop(&mut self) {
        if self.future.take().is_some() {
            self.shared
                .probe
                .record(&self.name, format_args!("dropped"));
        }
        self.shared.locked().live.remove(&self.key);
    }
}

//! What everything in a played scenario shares: the recorder, the clock, and the
//! script that tells scripted tasks how to end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asyncserver::runtime::Clock;
use oracle::{BodyEnd, Call, Config, History, Recorder, Returned, RunEnd, What};
use tokio::sync::Notify;

/// The shared state of one played scenario. Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    recorder: Recorder,
    tape: Arc<Mutex<Tape>>,
    /// Which of the tape's worlds it is.
    number: usize,
    clock: Arc<dyn Clock>,
    start: Instant,
    runs: AtomicU32,
    calls: AtomicU32,
    script: Mutex<Script>,
    script_changed: Notify,
    faults: Mutex<Vec<String>>,
}

/// The order of the events of all worlds of one server.
#[derive(Default)]
struct Tape {
    /// Whose the next event was.
    order: Vec<usize>,
    worlds: usize,
}

/// What scripted tasks still have to do, by their id.
#[derive(Default)]
struct Script {
    run_ends: BTreeMap<u32, VecDeque<RunEnd>>,
    body_ends: BTreeMap<u32, VecDeque<BodyEnd>>,
    unscripted: Unscripted,
}

/// What a task does of which the script says nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Unscripted {
    #[default]
    Waits,
    Ends,
}

impl World {
    /// A world that begins now, by `clock`.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let start = clock.now();
        Self::on_tape(config, (clock, start), Arc::default())
    }

    /// A world for one more connection of this world's server: it has the same
    /// clock and beginning, and their events have one order.
    #[must_use]
    pub fn beside(&self, config: Config) -> Self {
        let time = (Arc::clone(&self.0.clock), self.0.start);
        Self::on_tape(config, time, Arc::clone(&self.0.tape))
    }

    fn on_tape(
        config: Config,
        (clock, start): (Arc<dyn Clock>, Instant),
        tape: Arc<Mutex<Tape>>,
    ) -> Self {
        let number = lock(&tape).worlds;
        lock(&tape).worlds += 1;
        Self(Arc::new(Shared {
            recorder: Recorder::new(config),
            tape,
            number,
            start,
            clock,
            runs: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            script: Mutex::default(),
            script_changed: Notify::new(),
            faults: Mutex::default(),
        }))
    }

    /// Records an event as happening now. The order of the calls is the history's order.
    pub fn record(&self, what: What) {
        let mut tape = lock(&self.0.tape);
        tape.order.push(self.0.number);
        self.0.recorder.record(self.now_us(), what);
    }

    /// Records a call of the server's program around `call`.
    pub fn called(&self, what: Call, call: impl FnOnce() -> Returned) {
        let number = self.begin_call(what);
        let returned = call();
        self.end_call(number, returned);
    }

    /// Records the beginning of a call; its number.
    pub fn begin_call(&self, what: Call) -> u32 {
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.record(What::Called { call, what });
        call
    }

    /// Records that a call has returned.
    pub fn end_call(&self, call: u32, what: Returned) {
        self.record(What::Returned { call, what });
    }

    /// A number for a run that starts.
    #[must_use]
    pub fn next_run(&self) -> u32 {
        self.0.runs.fetch_add(1, Ordering::Relaxed)
    }

    /// Microseconds from the world's beginning.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let passed = self.0.clock.now().saturating_duration_since(self.0.start);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for so long by the world's clock.
    pub async fn sleep(&self, time: Duration) {
        let deadline = self.0.clock.now().checked_add(time);
        let mut timer = self.0.clock.timer();
        std::future::poll_fn(|cx| match deadline {
            Some(deadline) => timer.poll_until(deadline, cx),
            None => std::task::Poll::Pending,
        })
        .await;
    }

    /// Waits until so long after the world's beginning.
    pub async fn sleep_until_ms(&self, at_ms: u64) {
        let left = at_ms.saturating_mul(1000).saturating_sub(self.now_us());
        if left > 0 {
            self.sleep(Duration::from_micros(left)).await;
        }
    }

    /// Tells the scripted task with this id how to end, now or as soon as it starts.
    pub fn complete(&self, id: u32, how: RunEnd) {
        let mut script = self.script();
        script.run_ends.entry(id).or_default().push_back(how);
        drop(script);
        self.0.script_changed.notify_waiters();
    }

    /// Tells the body with this id that stalls how to go on.
    pub fn complete_body(&self, id: u32, how: BodyEnd) {
        let mut script = self.script();
        script.body_ends.entry(id).or_default().push_back(how);
        drop(script);
        self.0.script_changed.notify_waiters();
    }

    /// From now on scripted tasks and bodies end by themselves.
    pub fn complete_all(&self) {
        self.script().unscripted = Unscripted::Ends;
        self.0.script_changed.notify_waiters();
    }

    /// How the scripted task with this id is to end, once the script says so.
    pub(crate) async fn run_end(&self, id: u32) -> RunEnd {
        let whole = RunEnd::Whole { bytes: 0 };
        self.scripted(|script| {
            let next = script.run_ends.get_mut(&id).and_then(VecDeque::pop_front);
            next.or((script.unscripted == Unscripted::Ends).then_some(whole))
        })
        .await
    }

    /// How the stalled body with this id is to go on, once the script says so.
    pub(crate) async fn body_end(&self, id: u32) -> BodyEnd {
        self.scripted(|script| {
            let next = script.body_ends.get_mut(&id).and_then(VecDeque::pop_front);
            next.or((script.unscripted == Unscripted::Ends).then_some(BodyEnd::Whole))
        })
        .await
    }

    async fn scripted<R>(&self, mut next: impl FnMut(&mut Script) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.0.script_changed.notified());
            changed.as_mut().enable();
            if let Some(next) = next(&mut self.script()) {
                return next;
            }
            changed.await;
        }
    }

    /// Notes something that must never be, whatever the oracle says of the history:
    /// a panic of the library's own, a hang, two reports that differ.
    pub fn fault(&self, what: impl Into<String>) {
        lock(&self.0.faults).push(what.into());
    }

    /// What [`fault`](Self::fault) noted.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        lock(&self.0.faults).clone()
    }

    /// The history so far, watched until now.
    #[must_use]
    pub fn history(&self) -> History {
        self.0.recorder.history(self.now_us())
    }

    /// Where each of its events stands among those of all worlds on its tape.
    #[must_use]
    pub fn ranks(&self) -> Vec<usize> {
        let tape = lock(&self.0.tape);
        let own = |(_, of): &(usize, &usize)| **of == self.0.number;
        let own = tape.order.iter().enumerate().filter(own);
        own.map(|(rank, _)| rank).collect()
    }

    /// Whose the events of all worlds on its tape were, in their order.
    pub(crate) fn order(&self) -> Vec<usize> {
        lock(&self.0.tape).order.clone()
    }

    /// Who, besides this handle, still holds the world.
    pub(crate) fn other_owners(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.0.script)
    }
}

/// A task that panics on purpose must not end the recording.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

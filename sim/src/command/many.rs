//! Plays many seeds on all cores.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asyncserver_sim::{Played, Trace, play};

use super::Seeds;
use super::progress::Progress;
use super::report::{Failed, Part, Report};

/// A seed that takes longer than this, by the real clock, hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// Plays the seeds until they, the time, or the patience with failures is over.
pub(crate) fn play_many(seeds: &Seeds) -> Report {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Arc::new(Shared {
        seeds: seeds.clone(),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        report: Mutex::default(),
        busy: Mutex::default(),
        progress: Progress::new(seeds.count_of_shard(), "seeds"),
    });
    let start = |worker| {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || shared.work(worker))
    };
    let workers: Vec<_> = (0..seeds.jobs.unwrap_or(cores).max(1)).map(start).collect();
    while workers.iter().any(|worker| !worker.is_finished()) {
        std::thread::sleep(Duration::from_millis(20));
        if seeds.time.is_some_and(|time| started.elapsed() >= time) {
            shared.stop.store(true, Ordering::Relaxed);
        }
        if let Some(seed) = shared.hung() {
            // Nothing can stop it: its thread goes on until the process ends.
            let text = format!("still running after {LONGEST:?} of real time");
            shared.fail(Failed::of_seed(seed, seeds.about, "hang", &text));
            break;
        }
    }
    shared.progress.end();
    let mut report = std::mem::take(&mut *locked(&shared.report));
    report.seconds = started.elapsed().as_secs_f64();
    report.failures.sort_by_key(|failed| failed.seed);
    report.parts = vec![Part::of(seeds, report.seeds)];
    report
}

/// What the workers share.
struct Shared {
    seeds: Seeds,
    next: AtomicU64,
    stop: AtomicBool,
    report: Mutex<Report>,
    /// What each worker is at, and since when.
    busy: Mutex<BTreeMap<usize, (u64, Instant)>>,
    progress: Progress,
}

impl Shared {
    fn work(&self, worker: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = self.seeds.nth(number) else {
                break;
            };
            locked(&self.busy).insert(worker, (seed, Instant::now()));
            let about = self.seeds.about;
            match catch_unwind(|| play(&about.plan(seed), Trace::off())) {
                Ok(played) => self.take(seed, &played),
                Err(_) => {
                    let text = "the simulation itself panicked";
                    self.fail(Failed::of_seed(seed, about, "panic: simulation", text));
                }
            }
            self.progress.step();
        }
        locked(&self.busy).remove(&worker);
    }

    fn take(&self, seed: u64, played: &Played) {
        let mut report = locked(&self.report);
        report.seeds += 1;
        report.polls += played.polls;
        report.virtual_seconds += played.elapsed.as_secs_f64();
        report.count(&played.reached);
        drop(report);
        if let Some(verdict) = &played.verdict {
            let (signature, text) = (&verdict.signature, verdict.to_string());
            self.fail(Failed::of_seed(seed, self.seeds.about, signature, &text));
        }
    }

    fn fail(&self, failed: Failed) {
        let mut report = locked(&self.report);
        self.progress.print(&failed.told());
        report.failures.push(failed);
        let failures = report.failures.len();
        self.progress.say(format!("{failures} failures"));
        if failures >= self.seeds.failures {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn hung(&self) -> Option<u64> {
        let busy = locked(&self.busy);
        let mut busy = busy.values();
        let (seed, _) = busy.find(|(_, since)| since.elapsed() > LONGEST)?;
        Some(*seed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Runs many seeds on all cores.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asyncserver_sim::{Plan, Played, Profile, Trace, play};
use indicatif::{ProgressBar, ProgressStyle};
use oracle::Reached;

use super::report::{Failed, Report};
use super::{Seeds, Trouble, version};

/// A seed that takes longer than this, by the real clock, hangs.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn run(seeds: &Seeds) -> Result<ExitCode, Trouble> {
    let mut report = Report {
        version: version(),
        ..Report::default()
    };
    if !seeds.fresh_only {
        kept(&mut report)?;
    }
    report.add(many(seeds));
    report.print();
    if let Some(file) = &seeds.json {
        report.write_json(file)?;
    }
    if let Some(file) = &seeds.junit {
        report.write_junit(file)?;
    }
    Ok(ExitCode::from(u8::from(!report.failures.is_empty())))
}

/// The scenarios that failed once.
fn kept(report: &mut Report) -> Result<(), Trouble> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let Ok(files) = std::fs::read_dir(&directory) else {
        return Ok(());
    };
    let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|is| is == "json"));
    files.sort();
    for file in files {
        let plan = Plan::from_json(&std::fs::read_to_string(&file)?)?;
        if let Some(verdict) = play(&plan, Trace::off()).verdict {
            let failed = Failed::new(file.display().to_string(), Profile::Default, &verdict);
            println!("{}\n{}\n", failed.line(), failed.text);
            report.failures.push(failed);
        }
    }
    Ok(())
}

/// What the workers share.
struct Shared<'s> {
    seeds: &'s Seeds,
    next: AtomicU64,
    stop: AtomicBool,
    report: Mutex<Report>,
    /// What each worker is at, and since when.
    busy: Mutex<BTreeMap<usize, (u64, Instant)>>,
    bar: ProgressBar,
}

fn many(seeds: &Seeds) -> Report {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Shared {
        seeds,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        report: Mutex::default(),
        busy: Mutex::default(),
        bar: bar(seeds.seeds / seeds.shard.1),
    };
    let jobs = seeds.jobs.unwrap_or(cores).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|worker| {
                let shared = &shared;
                scope.spawn(move || shared.work(worker))
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            if seeds.time.is_some_and(|time| started.elapsed() >= time) {
                shared.stop.store(true, Ordering::Relaxed);
            }
            shared.watch();
        }
    });
    shared.bar.finish_and_clear();
    let mut report = shared
        .report
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    report.version = version();
    report.seconds = started.elapsed().as_secs_f64();
    report
}

fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template(
        "{bar:30} {pos}/{len} seeds, {per_sec} {msg} [{elapsed_precise}]",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

impl Shared<'_> {
    fn work(&self, worker: usize) {
        let (index, of) = self.seeds.shard;
        while !self.stop.load(Ordering::Relaxed) {
            let offset = self.next.fetch_add(1, Ordering::Relaxed) * of + index - 1;
            if offset >= self.seeds.seeds {
                break;
            }
            let seed = self.seeds.from.wrapping_add(offset);
            locked(&self.busy).insert(worker, (seed, Instant::now()));
            let played = play(&Plan::generate(seed, self.seeds.profile), Trace::off());
            self.take(seed, &played);
            self.bar.inc(1);
        }
        locked(&self.busy).remove(&worker);
    }

    fn take(&self, seed: u64, played: &Played) {
        let mut report = locked(&self.report);
        report.seeds += 1;
        report.polls += played.polls;
        report.virtual_seconds += played.elapsed.as_secs_f64();
        report.count(&played.reached);
        if let Some(verdict) = &played.verdict {
            let failed = Failed::new(format!("{seed:#x}"), self.seeds.profile, verdict);
            self.bar
                .suspend(|| println!("{}\n{}\n", failed.line(), failed.text));
            report.failures.push(failed);
            self.bar
                .set_message(format!("{} failures", report.failures.len()));
            if report.failures.len() >= self.seeds.failures {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A seed that never ends cannot be stopped: the process ends with it.
    fn watch(&self) {
        let busy = locked(&self.busy);
        let hung = busy.values().find(|(_, since)| since.elapsed() > LONGEST);
        if let Some((seed, _)) = hung {
            let profile = self.seeds.profile.name();
            println!(
                "replay {seed:#x} --profile {profile}: still running after {} s of real time",
                LONGEST.as_secs()
            );
            std::process::exit(1);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line for each seed, with the hash of its trace.
pub(crate) fn digest(seeds: &Seeds) -> Result<ExitCode, Trouble> {
    let mut schedules = std::collections::BTreeSet::new();
    for seed in seeds.from..seeds.from + seeds.seeds {
        let plan = Plan::generate(seed, seeds.profile);
        let played = play(&plan, Trace::digest_only());
        let digest = played.trace.digest();
        schedules.insert(played.schedule);
        println!("{seed:#x} {} {:016x}", digest.events, digest.hash);
    }
    println!("{} different schedules", schedules.len());
    Ok(ExitCode::SUCCESS)
}

/// How often each state is reached in seeds of each profile.
pub(crate) fn stats(seeds: u64, from: u64) -> Result<ExitCode, Trouble> {
    let reports: Vec<_> = Profile::ALL
        .into_iter()
        .map(|profile| {
            many(&Seeds {
                seeds,
                from,
                shard: (1, 1),
                jobs: None,
                time: None,
                profile,
                failures: usize::MAX,
                fresh_only: true,
                json: None,
                junit: None,
            })
        })
        .collect();
    print!("{:<24}", "per 1,000 seeds");
    Profile::ALL
        .iter()
        .for_each(|profile| print!("{:>12}", profile.name()));
    println!();
    let mut never = Vec::new();
    for state in Reached::ALL {
        let name = format!("{state:?}");
        let times = reports
            .iter()
            .map(|report| report.reached.get(&name).copied());
        let times: Vec<_> = times.map(Option::unwrap_or_default).collect();
        print!("{name:<24}");
        for (times, report) in times.iter().zip(&reports) {
            print!(
                "{:>12.1}",
                *times as f64 * 1000.0 / report.seeds.max(1) as f64
            );
        }
        println!();
        if times.iter().all(|times| *times == 0) {
            never.push(state);
        }
    }
    println!(
        "\n{} of {} states were never reached",
        never.len(),
        Reached::ALL.len()
    );
    never.iter().for_each(|state| println!("  {state}"));
    Ok(ExitCode::SUCCESS)
}

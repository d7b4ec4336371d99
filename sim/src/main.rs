//! The command `sim`. So far: how many worlds a second.

#[path = "../tests/workload/mod.rs"]
mod workload;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use asyncserver_sim::Trace;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seeds = match (arguments.next().as_deref(), arguments.next()) {
        (Some("bench"), seeds) => seeds.map_or(Some(500), |seeds| seeds.parse().ok()),
        _ => None,
    };
    let Some(seeds) = seeds else {
        eprintln!("usage: sim bench [SEEDS]");
        return ExitCode::from(2);
    };
    bench(seeds)
}

/// Runs `seeds` worlds of the example, and prints how long each took.
fn bench(seeds: u64) -> ExitCode {
    let started = Instant::now();
    let (mut polls, mut virtual_time, mut failures) = (0, Duration::ZERO, 0);
    for seed in 0..seeds {
        let run = workload::run(seed, Trace::off(), (0..8).collect(), Duration::ZERO);
        polls += run.polls;
        virtual_time += run.elapsed;
        if run.outcome.is_err() || !run.residue.is_empty() {
            println!("seed {seed}: {:?} {:?}", run.outcome, run.residue);
            failures += 1;
        }
    }
    let taken = started.elapsed().as_secs_f64();
    println!(
        "{seeds} worlds in {taken:.2} s: {:.0} a second; {} task polls and {:?} of virtual time each",
        seeds as f64 / taken,
        polls / seeds.max(1),
        virtual_time / u32::try_from(seeds.max(1)).unwrap_or(u32::MAX),
    );
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

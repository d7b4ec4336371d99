//! Which load, in what shape, for whom.

mod bodies;
mod connect;
mod echo;
mod fairness;
mod growth;
mod idle;
mod interleave;
mod soak;
mod storm;
mod waiting;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::handler::{BurnSteps, Handler};
use crate::report::Results;
pub(crate) use interleave::Measured;

/// Something that is measured, and shown as a table.
trait Workload {
    /// What `--only` looks for.
    fn name(&self) -> String;
    fn run(&self, setup: &Setup) -> Results;
}

/// How things are measured in this run.
struct Setup {
    rounds: usize,
    round_time: Duration,
    burn: BurnSteps,
    /// Empty: all.
    contenders: Vec<String>,
}

impl Setup {
    fn new(arguments: &Arguments) -> Self {
        let (rounds, millis) = if arguments.quick { (3, 180) } else { (5, 600) };
        Self {
            rounds: arguments.rounds.unwrap_or(rounds).max(1),
            round_time: arguments
                .round_time
                .unwrap_or(Duration::from_millis(millis)),
            burn: BurnSteps::calibrate(),
            contenders: arguments.contenders.clone(),
        }
    }

    /// Whether a contender takes part. The limit always does.
    fn includes(&self, contender: &str) -> bool {
        let contenders = &self.contenders;
        contender.starts_with("raw")
            || contenders.is_empty()
            || contenders.iter().any(|name| name == contender)
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut workloads: Vec<Box<dyn Workload>> = match arguments {
        Arguments {
            soak: Some(time), ..
        } => vec![Box::new(soak::Soak { time: *time })],
        Arguments { growth: true, .. } => growth::all(),
        Arguments { quick: true, .. } => quick(),
        _ => all(),
    };
    if !arguments.only.is_empty() {
        workloads.retain(|workload| {
            let name = workload.name();
            arguments
                .only
                .iter()
                .any(|part| name.contains(part.as_str()))
        });
    }
    if arguments.list {
        for workload in &workloads {
            println!("{}", workload.name());
        }
        return ExitCode::SUCCESS;
    }
    if workloads.is_empty() {
        eprintln!("no workload has such a name; --list tells them");
        return ExitCode::FAILURE;
    }
    let setup = Setup::new(arguments);
    let mut results = Results::default();
    for workload in workloads {
        let shown = workload.run(&setup);
        for table in &shown.tables {
            println!("{}", table.to_text());
        }
        results.add(shown);
    }
    // A part of the workloads is not the whole table.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_whole = arguments.is_full_run().then_some(package);
    if let Some(folder) = arguments.write_to.as_deref().or(is_whole) {
        results.write(folder);
    }
    ExitCode::SUCCESS
}

fn quick() -> Vec<Box<dyn Workload>> {
    let mut workloads = echo::quick();
    workloads.extend(bodies::of(16 << 20));
    workloads.push(Box::new(storm::CancelStorm {
        connections: 1,
        in_flight: 1024,
        handler: Handler::Yield,
    }));
    workloads.push(Box::new(connect::ConnectCallClose));
    workloads.push(Box::new(idle::Idle { connections: 1_000 }));
    workloads.push(Box::new(fairness::Mixed));
    workloads.push(Box::new(fairness::QuietBesideSaturating {
        interval: Duration::from_millis(100),
        requests_each: 10,
    }));
    workloads
}

fn all() -> Vec<Box<dyn Workload>> {
    let mut workloads = echo::all();
    workloads.extend(bodies::of(16 << 20));
    workloads.extend(bodies::of(1 << 30));
    workloads.extend(storm::all());
    workloads.push(Box::new(connect::ConnectCallClose));
    workloads.push(Box::new(idle::Idle { connections: 5_000 }));
    workloads.push(Box::new(idle::Idle {
        connections: 20_000,
    }));
    workloads.push(Box::new(waiting::Waiting));
    workloads.push(Box::new(fairness::Mixed));
    workloads.push(Box::new(fairness::QuietBesideSaturating {
        interval: Duration::from_secs(1),
        requests_each: 5,
    }));
    workloads.extend(growth::all());
    workloads
}

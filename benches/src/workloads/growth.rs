//! Whether what a request costs depends on how much there is beside it.

use asyncserver::server::Limits;

use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::{Shape, held, wire};
use crate::measure::{Probe, process_bytes};
use crate::report::{Results, Spread, Table, server_micros, share};
use crate::server::{Build, ServerProcess, ServerSettings};

pub(super) fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(Beside::Connections),
        Box::new(Beside::Tasks),
        Box::new(Ledger),
    ]
}

/// Ready requests, 16 B, 1×64, with more and more beside them.
enum Beside {
    Connections,
    Tasks,
}

impl Beside {
    const fn counts(&self) -> [usize; 5] {
        match self {
            Self::Connections => [1, 10, 100, 1_000, 9_990],
            Self::Tasks => [10, 100, 1_000, 10_000, 65_536],
        }
    }
}

impl Workload for Beside {
    fn name(&self) -> String {
        match self {
            Self::Connections => "growth/connections".into(),
            Self::Tasks => "growth/tasks".into(),
        }
    }

    fn run(&self, setup: &Setup) -> Results {
        let mut settings = ServerSettings::new(setup.burn);
        let limits = Limits::default();
        let (what, contenders): (_, &[&'static str]) = match self {
            Self::Connections => ("idle connections", &["raw", "auto", "local", "spawn"]),
            Self::Tasks => {
                // The tasks that wait would leave no place for those that are measured.
                settings.task_limit = Some(limits.task_limit + limits.in_flight_limit);
                ("waiting tasks", &["auto", "local", "spawn"])
            }
        };
        let shape = Shape {
            connections: 1,
            in_flight: 64,
            message_bytes: 16,
            handler: Handler::Ready,
            time: setup.round_time,
        };
        let title = format!("1×64 in flight, 16 B, beside {what}: server µs/request");
        let mut table = Table::new(title, ["", "beside", "server µs/request", "÷ the fewest"]);
        for contender in contenders.iter().filter(|name| setup.includes(name)) {
            let points = self.counts().map(|count| {
                let server = ServerProcess::start(contender, Build::Plain, settings);
                let held = match self {
                    Self::Connections => held::connections(&server, count),
                    Self::Tasks => held::tasks(&server, count, limits.in_flight_limit),
                };
                (count, server, held)
            });
            let mut costs = [const { Vec::new() }; 5];
            for round in 0..=setup.rounds {
                for ((_, server, _), costs) in points.iter().zip(&mut costs) {
                    let cost = server_micros(&wire::load(shape, Probe::new(server)));
                    if round > 0 {
                        costs.push(cost);
                    }
                }
            }
            let costs = costs.map(Spread::of);
            for ((count, ..), cost) in points.iter().zip(costs) {
                table.row([
                    (*contender).to_owned(),
                    count.to_string(),
                    cost.show(),
                    share(cost.median / costs[0].median),
                ]);
            }
        }
        if !settings.note().is_empty() {
            table.note(settings.note());
        }
        table.into()
    }
}

/// What listing, finding and cancelling cost on one connection with many
/// tasks, and what these take in memory.
struct Ledger;

impl Workload for Ledger {
    fn name(&self) -> String {
        "growth/ledger".into()
    }

    fn run(&self, setup: &Setup) -> Results {
        let mut table = Table::new(
            "Waiting tasks on one connection",
            [
                "",
                "tasks",
                "bytes each",
                "list, ns a task",
                "find, ns",
                "cancel, ns",
            ],
        );
        let mut settings = ServerSettings::new(setup.burn);
        settings.in_flight_limit = Some(65_536);
        for contender in ["auto", "local", "spawn"] {
            for tasks in [1_024, 8_192, 65_536] {
                if !setup.includes(contender) {
                    continue;
                }
                let server = ServerProcess::start(contender, Build::Plain, settings);
                let before = process_bytes(server.id());
                let _held = held::tasks(&server, tasks, tasks);
                let grown = process_bytes(server.id()).saturating_sub(before);
                let nanos = |question| server.ask(question).parse::<f64>().expect("a number");
                table.row([
                    contender.to_owned(),
                    tasks.to_string(),
                    share(grown as f64 / tasks as f64),
                    share(nanos("list") / tasks as f64),
                    share(nanos("find 1000") / 1000.0),
                    share(nanos("cancel 1000") / 1000.0),
                ]);
            }
        }
        table.note(settings.note());
        table.into()
    }
}

//! Whether what a request costs depends on how much there is beside it.

use asyncserver::server::Limits;

use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::held::{self, Held};
use crate::load::{Shape, wire};
use crate::measure::{Probe, most_connections, process_bytes};
use crate::report::{Kind, Plot, Results, Spread, Table, server_micros, share, unknown};
use crate::server::{Build, ServerProcess, ServerSettings};

pub(super) fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(Grown::IdleConnections),
        Box::new(Grown::WaitingTasks),
        Box::new(Grown::ActiveConnections),
        Box::new(Ledger),
    ]
}

/// Ready requests of 16 B, with more and more of something.
enum Grown {
    /// 1×64 beside connections that do nothing.
    IdleConnections,
    /// 1×64 beside tasks that wait.
    WaitingTasks,
    /// Connections with one request in flight each.
    ActiveConnections,
}

impl Grown {
    /// Of connections no more than the limit of open files allows.
    fn counts(&self) -> [usize; 5] {
        let connections = match self {
            Self::IdleConnections => [1, 10, 100, 1_000, 9_990],
            Self::WaitingTasks => return [10, 100, 1_000, 10_000, 65_536],
            Self::ActiveConnections => [1, 10, 100, 1_000, 10_000],
        };
        connections.map(|count| count.min(most_connections()))
    }

    const fn contenders(&self) -> &[&'static str] {
        match self {
            Self::IdleConnections => &["raw", "auto", "local", "spawn"],
            Self::WaitingTasks => &["auto", "local", "spawn"],
            Self::ActiveConnections => &["raw", "auto", "local"],
        }
    }

    const fn what(&self) -> &'static str {
        match self {
            Self::IdleConnections => "idle connections beside it",
            Self::WaitingTasks => "waiting tasks beside it",
            Self::ActiveConnections => "connections with 1 in flight each",
        }
    }

    fn title(&self) -> String {
        match self {
            Self::ActiveConnections => "More and more connections, 1 in flight each, 16 B".into(),
            beside => format!("1×64 in flight, 16 B, with {}", beside.what()),
        }
    }

    fn settings(&self, setup: &Setup) -> ServerSettings {
        let mut settings = ServerSettings::new(setup.burn);
        let limits = Limits::default();
        match self {
            Self::IdleConnections => {}
            // The tasks that wait would leave no place for those that are measured.
            Self::WaitingTasks => {
                settings.task_limit = Some(limits.task_limit + limits.in_flight_limit);
            }
            // Those of the round before may not all have ended.
            Self::ActiveConnections => {
                settings.connection_limit = Some(2 * limits.connection_limit)
            }
        }
        settings
    }

    fn shape(&self, count: usize, setup: &Setup) -> Shape {
        let (connections, in_flight) = match self {
            Self::ActiveConnections => (count, 1),
            _ => (1, 64),
        };
        Shape {
            connections,
            in_flight,
            message_bytes: 16,
            handler: Handler::Ready,
            time: setup.round_time,
        }
    }

    fn hold(&self, server: &ServerProcess, count: usize) -> Held {
        match self {
            Self::IdleConnections => held::connections(server, count),
            Self::WaitingTasks => held::tasks(server, count, Limits::default().in_flight_limit),
            Self::ActiveConnections => held::connections(server, 0),
        }
    }

    /// What a request costs the server at each count; those of one contender
    /// are measured in turn.
    fn measure(&self, contender: &str, setup: &Setup) -> [Spread; 5] {
        let points = self.counts().map(|count| {
            let server = ServerProcess::start(contender, Build::Plain, self.settings(setup));
            let held = self.hold(&server, count);
            (self.shape(count, setup), server, held)
        });
        let mut costs = [const { Vec::new() }; 5];
        for round in 0..=setup.rounds {
            for ((shape, server, _), costs) in points.iter().zip(&mut costs) {
                let cost = server_micros(&wire::load(*shape, Probe::new(server)));
                // The first round warms up.
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        costs.map(Spread::of)
    }
}

impl Workload for Grown {
    fn name(&self) -> String {
        match self {
            Self::IdleConnections => "growth/connections".into(),
            Self::WaitingTasks => "growth/tasks".into(),
            Self::ActiveConnections => "growth/active".into(),
        }
    }

    fn run(&self, setup: &Setup) -> Results {
        let header = [
            "",
            self.what(),
            "server µs/request",
            "÷ the fewest",
            "÷ limit",
        ];
        let mut table = Table::new(self.title(), header);
        let (mut lines, mut limit) = (Vec::new(), None);
        let included = self.contenders().iter();
        for contender in included.filter(|name| setup.includes(name)) {
            let costs = self.measure(contender, setup);
            if *contender == "raw" {
                limit = Some(costs);
            }
            for (place, count) in self.counts().into_iter().enumerate() {
                let cost = costs[place];
                table.row([
                    (*contender).to_owned(),
                    count.to_string(),
                    cost.show(),
                    share(cost.median / costs[0].median),
                    limit.map_or_else(unknown, |limit| share(cost.median / limit[place].median)),
                ]);
            }
            let points = self.counts().into_iter().zip(costs);
            let points = points.map(|(count, cost)| (count as f64, cost.median));
            lines.push(((*contender).to_owned(), points.collect()));
        }
        let note = self.settings(setup).note();
        if !note.is_empty() {
            table.note(note);
        }
        let plot = Plot {
            name: self.name().replace('/', "-"),
            title: self.title(),
            kind: Kind::Lines {
                x: self.what(),
                y: "server CPU, µs a request",
                lines,
            },
        };
        Results::from(table).with(plot)
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

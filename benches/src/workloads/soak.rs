//! Whether what a request costs depends on how long a server has been running.

use std::time::Duration;

use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::wire::Client;
use crate::load::{Round, Shape};
use crate::measure::{Probe, process_bytes};
use crate::report::{Kind, Plot, Results, Table, server_micros, share, time};
use crate::server::{Build, ServerProcess, ServerSettings};

/// One load without a pause, shown slice by slice.
pub(super) struct Soak {
    pub(super) time: Duration,
}

/// The default of ten minutes is shown minute by minute.
const SLICES: u32 = 10;

/// Of a slice: when it ended, what it came to, and the server's memory at its end.
struct Slice {
    end: Duration,
    round: Round,
    bytes: u64,
}

impl Workload for Soak {
    fn name(&self) -> String {
        "soak".into()
    }

    /// Of asyncserver's modes only `Auto`, unless others are asked for.
    fn run(&self, setup: &Setup) -> Results {
        let mut results = Results::default();
        for contender in ["auto", "local", "spawn", "blocking"] {
            let is_asked = match &*setup.contenders {
                [] => contender == "auto",
                _ => setup.includes(contender),
            };
            if is_asked {
                results.add(self.show(contender, &self.soak(contender, setup)));
            }
        }
        results
    }
}

impl Soak {
    fn soak(&self, contender: &str, setup: &Setup) -> Vec<Slice> {
        let shape = Shape {
            connections: 64,
            in_flight: 16,
            message_bytes: 16,
            handler: Handler::Yield,
            time: self.time / SLICES,
        };
        let settings = ServerSettings::new(setup.burn);
        let server = ServerProcess::start(contender, Build::Plain, settings);
        // The connections last as long as all of it does.
        let mut client = Client::open(shape, server.address());
        let slices = (1..=SLICES).map(|slice| {
            let round = client.load(Probe::new(&server));
            Slice {
                end: shape.time * slice,
                round,
                bytes: process_bytes(server.id()),
            }
        });
        slices.collect()
    }

    fn show(&self, contender: &str, slices: &[Slice]) -> Results {
        let title = format!(
            "{contender} for {}: 64×16 in flight on the same connections, 16 B, {}",
            humantime::format_duration(self.time),
            Handler::Yield.in_words()
        );
        let header = [
            "until",
            "million requests",
            "server µs/request",
            "÷ the first",
            "p50",
            "p99",
            "p99.9",
            "memory, MB",
        ];
        let mut table = Table::new(title.clone(), header);
        let first = slices
            .first()
            .map_or(1.0, |slice| server_micros(&slice.round));
        for Slice { end, round, bytes } in slices {
            let cost = server_micros(round);
            let quantile = |share| time(round.latency.quantile(share).unwrap_or_default());
            table.row([
                humantime::format_duration(*end).to_string(),
                share(round.requests as f64 / 1e6),
                share(cost),
                share(cost / first),
                quantile(0.5),
                quantile(0.99),
                quantile(0.999),
                share(*bytes as f64 / 1e6),
            ]);
        }
        let minutes = |slice: &Slice| slice.end.as_secs_f64() / 60.0;
        let points = slices
            .iter()
            .map(|slice| (minutes(slice), server_micros(&slice.round)));
        let plot = Plot {
            name: format!("soak-{contender}"),
            title,
            kind: Kind::Lines {
                x: "minutes",
                y: "server CPU, µs a request",
                lines: vec![(contender.to_owned(), points.collect())],
            },
        };
        Results::from(table).with(plot)
    }
}

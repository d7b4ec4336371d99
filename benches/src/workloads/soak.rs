//! Whether what a request costs depends on how long a server has been running.

use std::time::Duration;

use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::wire::Client;
use crate::load::{Round, Shape};
use crate::measure::{Probe, process_bytes};
use crate::report::{Results, Table, server_micros, share, time};
use crate::server::{Build, ServerProcess, ServerSettings};

/// One load, shown slice by slice.
pub(super) struct Soak {
    pub(super) time: Duration,
}

/// The default of ten minutes is shown minute by minute.
const SLICES: u32 = 10;

/// A share of each slice belongs to the raw loop: the machine may drift, too.
const LIMIT_SHARE: u32 = 10;

/// What a slice came to.
struct Slice {
    end: Duration,
    round: Round,
    /// What a request cost the raw loop in this slice, in µs.
    limit_micros: f64,
    /// The server's memory at the end.
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
                let slices = self.soak(contender, setup);
                results.add(self.table(contender, &slices).into());
            }
        }
        results
    }
}

impl Soak {
    fn soak(&self, contender: &str, setup: &Setup) -> Vec<Slice> {
        let slice = self.time / SLICES;
        let limit_time = slice / LIMIT_SHARE;
        let settings = ServerSettings::new(setup.burn);
        let start = |contender, time| {
            let shape = Shape {
                connections: 64,
                in_flight: 16,
                message_bytes: 16,
                handler: Handler::Yield,
                time,
            };
            let server = ServerProcess::start(contender, Build::Plain, settings);
            // The connections last as long as all of it does.
            let client = Client::open(shape, server.address());
            (server, client)
        };
        let (limit, mut limit_client) = start("raw", limit_time);
        let (server, mut client) = start(contender, slice - limit_time);
        let slices = (1..=SLICES).map(|number| {
            let of_limit = limit_client.load(Probe::new(&limit));
            let round = client.load(Probe::new(&server));
            Slice {
                end: slice * number,
                round,
                limit_micros: server_micros(&of_limit),
                bytes: process_bytes(server.id()),
            }
        });
        slices.collect()
    }

    fn table(&self, contender: &str, slices: &[Slice]) -> Table {
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
            "÷ limit",
            "p50",
            "p99",
            "p99.9",
            "memory, MB",
        ];
        let mut table = Table::new(title, header);
        let first = slices
            .first()
            .map_or(1.0, |slice| server_micros(&slice.round));
        for Slice {
            end,
            round,
            limit_micros,
            bytes,
        } in slices
        {
            let cost = server_micros(round);
            let quantile = |share| time(round.latency.quantile(share).unwrap_or_default());
            table.row([
                humantime::format_duration(*end).to_string(),
                share(round.requests as f64 / 1e6),
                share(cost),
                share(cost / first),
                share(cost / limit_micros),
                quantile(0.5),
                quantile(0.99),
                quantile(0.999),
                share(*bytes as f64 / 1e6),
            ]);
        }
        table.note("A tenth of the time is the raw loop's, which is the limit.");
        table
    }
}

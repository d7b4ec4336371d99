//! How long small requests wait behind what goes on beside them.

use std::time::Duration;

use super::interleave::each_round;
use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::quiet::Quiet;
use crate::load::{Round, Shape, mixed, quiet};
use crate::measure::Latency;
use crate::report::{Results, Spread, Table, share, time};
use crate::server::ServerSettings;

const CONTENDERS: [&str; 4] = ["raw", "auto", "local", "spawn"];

/// 16 B and 1 MiB on one connection.
pub(super) struct Mixed;

impl Workload for Mixed {
    fn name(&self) -> String {
        "mixed".into()
    }

    fn run(&self, setup: &Setup) -> Results {
        let settings = ServerSettings::new(setup.burn);
        let rows = each_round(setup, &CONTENDERS, settings, |probe| {
            mixed::load(setup.round_time, probe)
        });
        let title = "A 16 B and a 1 MiB echo in flight on one connection: the short ones";
        table(title, "k requests/s", &rows).into()
    }
}

/// Quiet connections beside 4 that saturate the server.
pub(super) struct QuietBesideSaturating {
    /// Between two requests of a quiet connection.
    pub(super) interval: Duration,
    pub(super) requests_each: u32,
}

impl Workload for QuietBesideSaturating {
    fn name(&self) -> String {
        "quiet".into()
    }

    fn run(&self, setup: &Setup) -> Results {
        let quiet = Quiet {
            connections: 100,
            interval: self.interval,
            requests_each: self.requests_each,
        };
        let saturating = Shape {
            connections: 4,
            in_flight: 1024,
            message_bytes: 16,
            handler: Handler::Ready,
            time: Duration::ZERO,
        };
        let settings = ServerSettings::new(setup.burn);
        let rows = each_round(setup, &CONTENDERS, settings, |probe| {
            quiet::load(quiet, saturating, probe)
        });
        let rate = share(1.0 / self.interval.as_secs_f64());
        let title = format!(
            "100 quiet connections, {rate} requests/s each, beside 4×1024 in flight: the quiet ones"
        );
        let mut table = table(&title, "k requests/s of the others", &rows);
        table.note(format!(
            "A round has {} requests of each quiet connection.",
            self.requests_each
        ));
        table.into()
    }
}

/// Latencies, and the ratio of the p99 to the limit's, which is the first row.
fn table(title: &str, rate: &str, rows: &[(&str, Vec<Round>)]) -> Table {
    let header = ["", "p50", "p99", "p99.9", "p99 ÷ limit", rate];
    let mut table = Table::new(title, header);
    let of_all = |rounds: &[Round]| {
        let mut all = Latency::default();
        rounds.iter().for_each(|round| all.add(&round.latency));
        move |share| all.quantile(share).unwrap_or_default()
    };
    let limit = rows.first().map(|(_, rounds)| of_all(rounds)(0.99));
    let limit = limit.unwrap_or_default().as_secs_f64();
    for (contender, rounds) in rows {
        let quantile = of_all(rounds);
        let rates = rounds
            .iter()
            .map(|round| round.requests as f64 / round.cost.elapsed.as_secs_f64() / 1e3);
        table.row([
            (*contender).to_owned(),
            time(quantile(0.5)),
            time(quantile(0.99)),
            time(quantile(0.999)),
            share(quantile(0.99).as_secs_f64() / limit),
            Spread::of(rates).show(),
        ]);
    }
    table
}

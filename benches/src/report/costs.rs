//! The table of a load of equal requests.

use super::plot::Scale;
use super::{Kind, Plot, Table, share, time};
use crate::load::Round;
use crate::workloads::Measured;

/// One row for each contender, and its ratios to the first, which is the limit.
pub(crate) fn cost_table(title: String, rows: &[Measured]) -> Table {
    let mut table = Table::new(
        title,
        [
            "",
            "k requests/s",
            "server µs/request",
            "client µs/request",
            "p50",
            "p99",
            "p99.9",
            "allocations",
            "system calls",
            "server CPU ÷ limit",
            "requests/s ÷ limit",
        ],
    );
    let limit = rows.first().filter(|first| first.is_limit);
    for row in rows {
        let latency = row.latency();
        let quantile = |share| latency.quantile(share).map_or_else(unknown, time);
        table.row([
            row.label.clone(),
            row.spread(kilo_requests_per_second).show(),
            row.spread(server_micros).show(),
            share(row.spread(client_micros).median),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            row.per_request(|cost| cost.allocations)
                .map_or_else(unknown, share),
            row.per_request(|cost| cost.system_calls)
                .map_or_else(unknown, share),
            ratio(row, limit, server_micros),
            ratio(row, limit, kilo_requests_per_second),
        ]);
    }
    table
}

/// What a request costs the server, as bars.
pub(crate) fn cost_plot(name: &str, title: &str, rows: &[Measured]) -> Plot {
    let bars = rows.iter().map(|row| {
        let cost = row.spread(server_micros).median;
        (row.label.clone(), cost)
    });
    Plot {
        name: name.replace('/', "-"),
        title: title.to_owned(),
        kind: Kind::Bars {
            unit: "server CPU, µs a request",
            scale: Scale::Logarithmic,
            bars: bars.collect(),
        },
    }
}

/// The table of long messages: `bytes` are those of one request that move.
pub(crate) fn body_table(title: String, bytes: usize, rows: &[Measured]) -> Table {
    let megabytes = |round: &Round| megabytes_per_second(round, bytes);
    let millis_per_gigabyte = move |round: &Round| {
        round.cost.server_cpu.as_secs_f64() * 1e3 / (round.requests as f64 * bytes as f64 / 1e9)
    };
    let mut table = Table::new(
        title,
        [
            "",
            "MB/s",
            "server ms/GB",
            "p50",
            "allocations",
            "system calls",
            "MB/s ÷ limit",
            "server CPU ÷ limit",
        ],
    );
    let limit = rows.first().filter(|first| first.is_limit);
    for row in rows {
        table.row([
            row.label.clone(),
            row.spread(megabytes).show(),
            row.spread(millis_per_gigabyte).show(),
            row.latency().quantile(0.5).map_or_else(unknown, time),
            row.per_request(|cost| cost.allocations)
                .map_or_else(unknown, share),
            row.per_request(|cost| cost.system_calls)
                .map_or_else(unknown, share),
            ratio(row, limit, megabytes),
            ratio(row, limit, millis_per_gigabyte),
        ]);
    }
    table
}

/// How fast long messages move, as bars.
pub(crate) fn body_plot(name: &str, title: &str, bytes: usize, rows: &[Measured]) -> Plot {
    let bars = rows.iter().map(|row| {
        let rate = row.spread(|round| megabytes_per_second(round, bytes));
        (row.label.clone(), rate.median)
    });
    Plot {
        name: name.replace('/', "-"),
        title: title.to_owned(),
        kind: Kind::Bars {
            unit: "MB/s",
            scale: Scale::Linear,
            bars: bars.collect(),
        },
    }
}

fn megabytes_per_second(round: &Round, bytes: usize) -> f64 {
    (round.requests as f64 * bytes as f64) / round.cost.elapsed.as_secs_f64() / 1e6
}

/// The medians' ratio to the limit's.
fn ratio(row: &Measured, limit: Option<&Measured>, of: impl Fn(&Round) -> f64) -> String {
    limit.map_or_else(unknown, |limit| {
        share(row.spread(&of).median / limit.spread(&of).median)
    })
}

/// What a cell shows that has no value.
pub(crate) fn unknown() -> String {
    "–".into()
}

fn kilo_requests_per_second(round: &Round) -> f64 {
    round.requests as f64 / round.cost.elapsed.as_secs_f64() / 1e3
}

pub(crate) fn server_micros(round: &Round) -> f64 {
    round.cost.server_cpu.as_secs_f64() * 1e6 / round.requests as f64
}

fn client_micros(round: &Round) -> f64 {
    round.cost.client_cpu.as_secs_f64() * 1e6 / round.requests as f64
}

//! The table of a load of equal requests.

use super::{Table, share, time};
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
        let ratio = |of: fn(&Round) -> f64| {
            limit.map_or_else(unknown, |limit| {
                share(row.spread(of).median / limit.spread(of).median)
            })
        };
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
            ratio(server_micros),
            ratio(kilo_requests_per_second),
        ]);
    }
    table
}

fn unknown() -> String {
    "–".into()
}

pub(crate) fn kilo_requests_per_second(round: &Round) -> f64 {
    round.requests as f64 / round.cost.elapsed.as_secs_f64() / 1e3
}

pub(crate) fn server_micros(round: &Round) -> f64 {
    round.cost.server_cpu.as_secs_f64() * 1e6 / round.requests as f64
}

fn client_micros(round: &Round) -> f64 {
    round.cost.client_cpu.as_secs_f64() * 1e6 / round.requests as f64
}

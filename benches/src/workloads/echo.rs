//! Requests that are answered with what they brought, in many shapes.

use asyncserver::server::Limits;

use super::interleave::{Entry, interleave};
use super::{Setup, Workload};
use crate::handler::Handler;
use crate::load::Shape;
use crate::report::{Results, body_plot, body_table, bytes, cost_plot, cost_table};
use crate::server::ServerSettings;

/// Connections, and requests in flight on each.
type InFlight = (usize, usize);

/// Of messages above this the rate in MB/s tells more than that in requests/s.
const MOST_SMALL_BYTES: usize = 64 << 10;

/// Longer messages pass through the raw loop in parts, and not through the floor at all.
const RAW_BUFFER_BYTES: usize = 64 << 10;

struct Echo {
    in_flight: InFlight,
    message_bytes: usize,
    handler: Handler,
    entries: Vec<Entry>,
}

const CONTENDERS: [Entry; 12] = [
    Entry::wire("raw"),
    Entry::wire("floor"),
    Entry::wire("floor-rules"),
    Entry::wire("auto"),
    Entry::wire("local"),
    Entry::wire("floor-spawn"),
    Entry::wire("spawn"),
    Entry::calls("raw"),
    Entry::calls("floor"),
    Entry::calls("auto"),
    Entry::calls("tarpc"),
    Entry::calls("tonic"),
];

/// Without two of the floors: it has two minutes.
pub(super) fn quick() -> Vec<Box<dyn Workload>> {
    let mut contenders = Vec::from(CONTENDERS);
    let left_out = [Entry::wire("floor-rules"), Entry::calls("floor")];
    contenders.retain(|entry| !left_out.contains(entry));
    let in_flight = [(1, 64), (1, 1024), (64, 16)];
    let mut workloads = ready(&in_flight, &[16, 1024], &contenders);
    workloads.push(handled(Handler::Yield, (1, 1024)));
    workloads
}

pub(super) fn all() -> Vec<Box<dyn Workload>> {
    let in_flight = [(1, 1), (1, 64), (1, 1024), (64, 16), (1000, 1)];
    let mut workloads = ready(&in_flight, &[16, 1024, 64 << 10], &CONTENDERS);
    workloads.extend(ready(&[(1, 1)], &[16 << 20], &CONTENDERS));
    workloads.push(handled(Handler::Yield, (1, 1024)));
    workloads.push(handled(Handler::Yield, (64, 16)));
    workloads.push(handled(Handler::Sleep, (1, 1024)));
    workloads.push(handled(Handler::Sleep, (64, 16)));
    workloads.push(handled(Handler::Burn, (1, 64)));
    workloads.push(handled(Handler::Burn, (64, 16)));
    workloads
}

fn ready(in_flight: &[InFlight], sizes: &[usize], contenders: &[Entry]) -> Vec<Box<dyn Workload>> {
    let mut workloads: Vec<Box<dyn Workload>> = Vec::new();
    for &message_bytes in sizes {
        for &in_flight in in_flight {
            workloads.push(Box::new(Echo {
                in_flight,
                message_bytes,
                handler: Handler::Ready,
                entries: contenders.into(),
            }));
        }
    }
    workloads
}

fn handled(handler: Handler, in_flight: InFlight) -> Box<dyn Workload> {
    let mut entries: Vec<_> = CONTENDERS.into();
    if matches!(handler, Handler::Sleep | Handler::Burn) {
        // The raw loop does neither, and threads are for just that.
        entries[0] = Entry::wire("blocking");
        entries.retain(|entry| entry.contender != "raw");
    }
    Box::new(Echo {
        in_flight,
        message_bytes: 16,
        handler,
        entries,
    })
}

impl Echo {
    /// The floor takes no message longer than its buffer, and is shown where there is
    /// a target to compare it with: in place, and for what has to wait in a task each.
    fn includes(&self, contender: &str) -> bool {
        let is_small = self.message_bytes < RAW_BUFFER_BYTES;
        match contender {
            "floor" | "floor-rules" => is_small && self.handler == Handler::Ready,
            "floor-spawn" => is_small && self.handler == Handler::Yield,
            _ => true,
        }
    }
}

impl Workload for Echo {
    fn name(&self) -> String {
        let (connections, in_flight) = self.in_flight;
        let size = bytes(self.message_bytes).replace(' ', "");
        let handler = format!("{:?}", self.handler).to_lowercase();
        format!("{handler}/{connections}x{in_flight}/{size}")
    }

    fn run(&self, setup: &Setup) -> Results {
        let (connections, in_flight) = self.in_flight;
        let shape = Shape {
            connections,
            in_flight,
            message_bytes: self.message_bytes,
            handler: self.handler,
            time: setup.round_time,
        };
        let mut settings = ServerSettings::new(setup.burn);
        if self.message_bytes > Limits::default().message_limit_bytes {
            settings.message_bytes_limit = Some(self.message_bytes);
        }
        let mut entries = self.entries.clone();
        entries.retain(|entry| self.includes(entry.contender));
        if self.message_bytes >= RAW_BUFFER_BYTES {
            // The raw loop answers them before they have ended, which the client library forbids.
            entries.retain(|entry| *entry != Entry::calls("raw"));
        }
        let participants: Vec<_> = entries.iter().map(|entry| entry.with(shape)).collect();
        let measured = interleave(setup, &participants, settings);
        let does = self.handler.in_words();
        let size = bytes(self.message_bytes);
        let title = format!("{connections}×{in_flight} in flight, {size}, {does}");
        let (name, message_bytes) = (self.name(), self.message_bytes);
        let (plot, mut table) = if message_bytes > MOST_SMALL_BYTES {
            (
                body_plot(&name, &title, message_bytes, &measured),
                body_table(title, message_bytes, &measured),
            )
        } else {
            (
                cost_plot(&name, &title, &measured),
                cost_table(title, &measured),
            )
        };
        if !settings.note().is_empty() {
            table.note(settings.note());
        }
        Results::from(table).with(plot)
    }
}

//! Connections that are made for one call each.

use super::interleave::{Entry, Participant, interleave};
use super::{Setup, Workload};
use crate::load::visits;
use crate::report::{Results, cost_plot, cost_table};
use crate::server::ServerSettings;

pub(super) struct ConnectCallClose;

const CONTENDERS: [Entry; 6] = [
    Entry::wire("raw"),
    Entry::wire("auto"),
    Entry::wire("local"),
    Entry::calls("auto"),
    Entry::calls("tarpc"),
    Entry::calls("tonic"),
];

impl Workload for ConnectCallClose {
    fn name(&self) -> String {
        "connect-call-close".into()
    }

    fn run(&self, setup: &Setup) -> Results {
        let participants = CONTENDERS.map(|entry| {
            Participant::new(entry.label(), entry.contender, move |time, probe| {
                entry.client().visit(time, probe)
            })
        });
        let measured = interleave(setup, &participants, ServerSettings::new(setup.burn));
        let title = format!(
            "Connect, one call of 16 B, close: {} at a time, a request is a connection",
            visits::AT_A_TIME
        );
        let plot = cost_plot(&self.name(), &title, &measured);
        let mut table = cost_table(title, &measured);
        table.note(format!(
            "A round ends after {} connections. Times go from the connecting to the answer.",
            visits::MOST
        ));
        Results::from(table).with(plot)
    }
}

//! What happened in a run, for people: as text, and as one page of HTML.

mod page;

use std::fmt::Write as _;

use crate::{Plan, Played};

pub use page::html;

/// The run as text: the plan in short, each connection's history, and what broke.
#[must_use]
pub fn text(plan: &Plan, played: &Played) -> String {
    let mut text = String::new();
    // A String takes whatever is written.
    let _ = writeln!(
        text,
        "seed {:#x}: {} clients, {} servers, {} events, {} faults; {:?} of virtual time",
        plan.seed,
        plan.clients.len(),
        plan.servers,
        plan.events.len(),
        plan.faults.len(),
        played.elapsed
    );
    for fault in &plan.faults {
        let _ = writeln!(
            text,
            "  fault at {} ms: {}",
            fault.at_ms,
            json(&fault.trouble)
        );
    }
    for (name, history) in &played.histories {
        let _ = writeln!(text, "\n{name}\n{}", oracle::timeline::render(history));
    }
    match &played.verdict {
        Some(verdict) => {
            let _ = writeln!(text, "\nBROKEN ({}): {verdict}", verdict.kind);
        }
        None => text.push_str("\nNothing is wrong with it.\n"),
    }
    text
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

//! What happened in a run, for people: as text, and as one page of HTML. All
//! times are those of the run.

mod page;
mod rows;
mod words;

use std::fmt::Write as _;

use crate::{Plan, Played};

pub use page::html;
pub(crate) use page::{Told, page_of};
pub(crate) use words::trouble as trouble_in_words;

/// The run as text: the plan in short, each connection's history, and what broke.
#[must_use]
pub fn text(plan: &Plan, played: &Played) -> String {
    let mut text = story(plan);
    for connection in &played.connections {
        // A String takes whatever is written.
        let _ = writeln!(text, "\n{}", connection.name);
        for row in rows::of(plan, connection, played.verdict.as_ref()) {
            let (at, mark, lane) = (&row.at, row.mark(), row.lane.name());
            let _ = writeln!(text, "{at:>10} {mark} {lane:<8} {}", row.text);
        }
    }
    match &played.verdict {
        Some(verdict) => {
            let told = rows::in_run_time(played, verdict);
            let _ = writeln!(text, "\nBROKEN ({}): {told}", verdict.kind);
        }
        None => text.push_str("\nNothing is wrong with it.\n"),
    }
    text
}

/// What a plan says, a line for each event and fault.
///
/// ```
/// use asyncserver_sim::{Plan, Profile};
/// let story = asyncserver_sim::story(&Plan::generate(7, Profile::Calm));
/// assert!(story.starts_with("seed 0x7: "));
/// ```
#[must_use]
pub fn story(plan: &Plan) -> String {
    let mut text = words::head(plan);
    text.push('\n');
    if !plan.about.is_empty() {
        let _ = writeln!(text, "{}", plan.about);
    }
    for client in &plan.clients {
        let _ = writeln!(text, "  {}", words::client(client));
    }
    for step in words::steps(plan) {
        let (at, who, what) = (step.at_ms, step.who, step.what);
        let _ = writeln!(text, "{at:>8} ms  {who:<9} {what}");
    }
    text
}

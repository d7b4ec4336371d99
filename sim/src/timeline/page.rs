//! The timeline as one self-contained page.

use askama::Template;
use oracle::{Call, Observed, What};

use super::json;
use crate::{Plan, Played};

#[derive(Template)]
#[template(path = "timeline.html")]
struct Page<'a> {
    title: String,
    about: &'a str,
    verdict: Option<String>,
    sections: Vec<Section>,
    config: String,
}

struct Section {
    name: String,
    is_broken: bool,
    rows: Vec<Row>,
}

/// A line of the page: a moment, in one of the lanes.
struct Row {
    at: String,
    gap: &'static str,
    lane: Lane,
    /// What is highlighted together.
    task: String,
    text: String,
    class: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Client,
    Network,
    Server,
    Tasks,
}

impl Row {
    fn of(&self, lane: Lane) -> &str {
        if self.lane == lane { &self.text } else { "" }
    }
}

/// The run as a page of HTML that needs nothing else.
///
/// # Errors
/// When the page cannot be rendered.
pub fn html(plan: &Plan, played: &Played) -> Result<String, askama::Error> {
    let broken = played.verdict.as_ref();
    let shown = |name: &str| broken.and_then(|v| v.connection.as_deref()) == Some(name);
    let mut sections: Vec<_> = played
        .histories
        .iter()
        .map(|(name, history)| Section {
            name: name.clone(),
            is_broken: shown(name),
            rows: rows(
                plan,
                name,
                history,
                broken.filter(|_| shown(name)).map(|v| v.text.as_str()),
            ),
        })
        .collect();
    // What shows the violation comes first.
    sections.sort_by_key(|section| !section.is_broken);
    let page = Page {
        title: format!("seed {:#x}", plan.seed),
        about: &plan.about,
        verdict: broken.map(|verdict| format!("{}: {verdict}", verdict.kind)),
        sections,
        config: json(&plan.config.limits) + "\n" + &json(&plan.config.timeouts),
    };
    page.render()
}

fn rows(plan: &Plan, name: &str, history: &oracle::History, broken: Option<&str>) -> Vec<Row> {
    let lines = oracle::timeline::render(history);
    let mut lines = lines
        .lines()
        .skip(1)
        .filter(|line| !line.contains("a part"));
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for event in &history.events {
        let (lane, task) = place(&event.what);
        let text = match &event.what {
            What::Received(_) => {
                let next = lines.clone().next().unwrap_or_default();
                if !next.contains("<-") {
                    continue;
                }
                lines.next().unwrap_or_default()
            }
            _ => lines.next().unwrap_or_default(),
        };
        let is_shown = broken.is_some_and(|broken| broken.contains(text.trim()));
        let (text, named) = words(text);
        let row = Row {
            at: format!("{:.3}", event.at_us as f64 / 1000.0),
            gap: "",
            lane,
            task: task.or(named).unwrap_or_default(),
            text,
            class: if is_shown { "violation" } else { "" },
        };
        rows.push((event.at_us, row));
    }
    for fault in plan.faults.iter().filter(|fault| concerns(fault, name)) {
        let row = Row {
            at: fault.at_ms.to_string(),
            gap: "",
            lane: Lane::Network,
            task: String::new(),
            text: json(&fault.trouble),
            class: "fault",
        };
        let at_us = fault.at_ms * 1000;
        let place = rows.partition_point(|(at, _)| *at < at_us);
        rows.insert(place, (at_us, row));
    }
    let mut last = 0;
    for (at, row) in &mut rows {
        row.gap = match at.saturating_sub(last) {
            0 => "same",
            1..100_000 => "",
            _ => "long",
        };
        last = *at;
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Whether a fault is one of this connection: of its client, or of its server.
fn concerns(fault: &crate::TimedFault, name: &str) -> bool {
    let (client, server) = name.split_once("->").unwrap_or((name, ""));
    let text = json(&fault.trouble);
    let client = client.split(' ').next().unwrap_or(client);
    let number = server.trim_start_matches("server-");
    let of_client = !text.contains("\"client\"") || text.contains(&format!("\"{client}\""));
    of_client && text.contains(&format!("\"server\":{number}"))
}

/// A line of the oracle's timeline without its time and lane, and the id that it names.
fn words(line: &str) -> (String, Option<String>) {
    let text = line.trim_start();
    let text = text
        .split_once("  ")
        .map_or(text, |(_, rest)| rest.trim_start());
    let text = text
        .split_once(char::is_whitespace)
        .map_or(text, |(_, rest)| rest.trim_start());
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let named = numbers.rfind(|n| !n.is_empty()).map(str::to_owned);
    (text.to_owned(), named)
}

/// The lane of an event, and the task that it is about.
fn place(what: &What) -> (Lane, Option<String>) {
    let (lane, task) = match what {
        What::Sent(_)
        | What::Unsent(_)
        | What::Received(_)
        | What::ClientEnded
        | What::ServerEnded
        | What::ServerReset => (Lane::Client, None),
        What::ClientReset | What::Stalled(_) | What::Flowing(_) => (Lane::Network, None),
        What::Called { what, .. } => match what {
            Call::Cancel { id } => (Lane::Server, Some(*id)),
            _ => (Lane::Server, None),
        },
        What::Observed(
            Observed::Started { id, .. }
            | Observed::Cancelled { id, .. }
            | Observed::Finished { id, .. }
            | Observed::Stuck { id },
        ) => (Lane::Server, Some(*id)),
        What::Returned { .. } | What::Observed(_) | What::Closed(_) | What::Left(_) => {
            (Lane::Server, None)
        }
        What::FunctionStarted { id, .. }
        | What::FunctionEnded { id, .. }
        | What::RunStarted { id, .. } => (Lane::Tasks, Some(*id)),
        What::RunEnded { .. } | What::BodyEnded { .. } | What::BodyDropped { .. } => {
            (Lane::Tasks, None)
        }
    };
    (lane, task.map(|id| id.to_string()))
}

//! The timeline as one self-contained page.

use askama::Template;
use serde::Serialize;

use super::rows::{self, Gap, Kind, Lane, Row};
use super::words::{self, Step};
use crate::{Plan, Played};

#[derive(Template)]
#[template(path = "timeline.html")]
struct Page<'a> {
    title: String,
    about: &'a str,
    verdict: Option<String>,
    head: String,
    clients: Vec<String>,
    steps: Vec<Step>,
    sections: Vec<Section>,
    settings: String,
}

struct Section {
    name: String,
    is_open: bool,
    is_broken: bool,
    rows: Vec<Row>,
}

impl Row {
    const fn class(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "",
            Kind::Fault => " fault",
            Kind::Violation => " violation",
        }
    }

    const fn gap_class(&self) -> &'static str {
        match self.gap {
            Gap::None => "same",
            Gap::Short => "",
            Gap::Long => "long",
        }
    }

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
    let is_shown = broken.is_some_and(|verdict| verdict.connection.is_some());
    let section = |connection: &crate::Recorded| {
        let is_broken = broken.is_some_and(|verdict| rows::shows(connection, verdict));
        Section {
            name: connection.name.clone(),
            is_open: is_broken || !is_shown,
            is_broken,
            rows: rows::of(plan, connection, broken),
        }
    };
    let mut sections: Vec<_> = played.connections.iter().map(section).collect();
    // What shows the violation comes first.
    sections.sort_by_key(|section| !section.is_broken);
    let verdict =
        broken.map(|verdict| format!("{}: {}", verdict.kind, rows::in_run_time(played, verdict)));
    let page = Page {
        title: format!("seed {:#x}", plan.seed),
        about: &plan.about,
        verdict,
        head: words::head(plan),
        clients: plan.clients.iter().map(words::client).collect(),
        steps: words::steps(plan),
        sections,
        settings: json(&plan.config.limits) + "\n" + &json(&plan.config.timeouts),
    };
    page.render()
}

/// A line of a page about something else than a plan.
pub(crate) struct Told {
    pub(crate) at_us: u64,
    pub(crate) lane: &'static str,
    pub(crate) text: String,
    pub(crate) task: String,
    pub(crate) class: &'static str,
}

/// A page of one section. What it is about is a list of times in milliseconds,
/// who, and what.
pub(crate) fn page_of(
    title: &str,
    broken: &str,
    steps: &[(u64, String, String)],
    told: Vec<Told>,
) -> Result<String, askama::Error> {
    let mut rows: Vec<_> = told.into_iter().map(Row::from).collect();
    rows::find_gaps(&mut rows);
    let step = |(at_ms, who, what): &(u64, String, String)| Step {
        at_ms: *at_ms,
        class: if who == "fault" { "fault" } else { "" },
        who: who.clone(),
        what: what.clone(),
    };
    let page = Page {
        title: title.to_owned(),
        about: "",
        verdict: Some(broken.to_owned()),
        head: String::new(),
        clients: Vec::new(),
        steps: steps.iter().map(step).collect(),
        sections: vec![Section {
            name: "the run".to_owned(),
            is_open: true,
            is_broken: true,
            rows,
        }],
        settings: String::new(),
    };
    page.render()
}

impl From<Told> for Row {
    fn from(told: Told) -> Self {
        let lane = match told.lane {
            "client" => Lane::Client,
            "network" => Lane::Network,
            "tasks" => Lane::Tasks,
            _ => Lane::Server,
        };
        let kind = match told.class {
            "fault" => Kind::Fault,
            "violation" => Kind::Violation,
            _ => Kind::Plain,
        };
        rows::row(told.at_us, lane, told.task, told.text, kind)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

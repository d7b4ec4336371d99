//! What was seen of a connection, a row for each event and fault, in run time.

use oracle::timeline::{Entry, entries};

use super::words;
use crate::{Plan, Played, Recorded, TimedFault, Verdict};

/// A moment, in one of the lanes.
pub(super) struct Row {
    at_us: u64,
    /// In milliseconds of the run.
    pub(super) at: String,
    pub(super) gap: Gap,
    pub(super) lane: Lane,
    /// What is highlighted together: names of tasks, a space between them.
    pub(super) tasks: String,
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// The time that passed since the row before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    None,
    Short,
    Long,
}

/// A time without events that is worth a line, in microseconds.
const LONG_US: u64 = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Client,
    Network,
    Server,
    Tasks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Fault,
    /// The oracle names it as what broke a rule.
    Violation,
}

impl Lane {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Network => "network",
            Self::Server => "server",
            Self::Tasks => "tasks",
        }
    }

    fn of(entry: &Entry) -> Self {
        match entry.who {
            "client" => Self::Client,
            "network" => Self::Network,
            "task" => Self::Tasks,
            _ => Self::Server,
        }
    }
}

impl Row {
    pub(super) const fn mark(&self) -> char {
        match self.kind {
            Kind::Plain => ' ',
            Kind::Fault => '!',
            Kind::Violation => 'X',
        }
    }
}

/// The rows of a connection, by time.
pub(super) fn of(plan: &Plan, connection: &Recorded, verdict: Option<&Verdict>) -> Vec<Row> {
    let quoted = verdict.filter(|verdict| shows(connection, verdict));
    let quoted: Vec<&str> = quoted.map_or_else(Vec::new, |v| v.text.lines().collect());
    let opened_us = opened_us(connection);
    let entries = entries(&connection.history).into_iter().map(|entry| {
        let is_quoted = quoted.contains(&entry.line().as_str());
        let kind = if is_quoted {
            Kind::Violation
        } else {
            Kind::Plain
        };
        let (lane, at_us) = (Lane::of(&entry), opened_us + entry.at_us);
        row(at_us, lane, entry.tasks.join(" "), entry.text, kind)
    });
    let mut rows: Vec<_> = entries.collect();
    let end_us = rows.last().map_or(0, |row| row.at_us);
    for fault in plan
        .faults
        .iter()
        .filter(|fault| concerns(fault, connection))
    {
        let (at_us, text) = (fault.at_ms * 1000, words::trouble(&fault.trouble));
        if (opened_us..=end_us).contains(&at_us) {
            let place = rows.partition_point(|row| row.at_us < at_us);
            let fault = row(at_us, Lane::Network, String::new(), text, Kind::Fault);
            rows.insert(place, fault);
        }
    }
    find_gaps(&mut rows);
    rows
}

pub(super) fn find_gaps(rows: &mut [Row]) {
    let mut last = rows.first().map_or(0, |row| row.at_us);
    for row in rows {
        row.gap = match row.at_us.saturating_sub(last) {
            0 => Gap::None,
            1..LONG_US => Gap::Short,
            _ => Gap::Long,
        };
        last = row.at_us;
    }
}

/// The verdict in words. The oracle counts from when the server took the
/// connection: the lines that it quotes get the run's time.
pub(super) fn in_run_time(played: &Played, verdict: &Verdict) -> String {
    let mut shown = played.connections.iter();
    let Some(connection) = shown.find(|connection| shows(connection, verdict)) else {
        return verdict.to_string();
    };
    let entries = entries(&connection.history);
    let retimed = |line: &str| {
        let entry = entries.iter().find(|entry| entry.line() == line)?;
        let at_us = entry.at_us + opened_us(connection);
        let entry = Entry {
            at_us,
            ..entry.clone()
        };
        Some(entry.line())
    };
    let text = verdict.to_string();
    let lines = text.lines();
    let lines: Vec<_> = lines
        .map(|line| retimed(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    lines.join("\n")
}

/// Whether this is the connection that shows what broke.
pub(super) fn shows(connection: &Recorded, verdict: &Verdict) -> bool {
    verdict.connection.as_ref() == Some(&connection.name)
}

fn opened_us(connection: &Recorded) -> u64 {
    u64::try_from(connection.opened_at.as_micros()).unwrap_or(u64::MAX)
}

/// A row; how long after the one before is found later.
pub(super) fn row(at_us: u64, lane: Lane, tasks: String, text: String, kind: Kind) -> Row {
    Row {
        at_us,
        at: format!("{}.{:03}", at_us / 1000, at_us % 1000),
        gap: Gap::None,
        lane,
        tasks,
        text,
        kind,
    }
}

/// Whether a fault is one of this connection: of its server, and of its client
/// where it names one.
fn concerns(fault: &TimedFault, connection: &Recorded) -> bool {
    let (client, server) = connection.name.split_once("->").unwrap_or_default();
    let client = client.split(' ').next().unwrap_or(client);
    let (of_client, of_server) = words::ends(&fault.trouble);
    of_client.is_none_or(|of| of == client) && server == format!("server-{of_server}")
}

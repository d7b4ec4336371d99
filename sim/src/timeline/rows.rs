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
        row(
            at_us,
            lane,
            entry.tasks.join(" "),
            in_short(&entry.text),
            kind,
        )
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
    let mut last = None;
    for row in rows {
        row.gap = match last.map(|last| row.at_us.saturating_sub(last)) {
            Some(0) => Gap::None,
            None | Some(1..LONG_US) => Gap::Short,
            Some(_) => Gap::Long,
        };
        last = Some(row.at_us);
    }
}

/// Of a report or a residue only what is not nothing: `Report { ok: 1, errors: 0 }`
/// is `ok: 1`.
fn in_short(text: &str) -> String {
    let is_one = ["Report {", "Residue {"]
        .iter()
        .any(|name| text.contains(name));
    let inner = text.split_once(" { ").zip(text.strip_suffix(" }"));
    let Some(((head, _), whole)) = inner.filter(|_| is_one) else {
        return text.to_owned();
    };
    let (mut kept, mut depth, mut start) = (Vec::new(), 0_u32, head.len() + 3);
    let body = whole.get(start..).unwrap_or_default();
    let first = start;
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let field = whole[start..first + at].trim();
                let is_nothing = [": 0", ": []", ": false"]
                    .iter()
                    .any(|n| field.ends_with(n));
                if !is_nothing && !field.is_empty() {
                    kept.push(field);
                }
                start = (first + at + 1).min(whole.len());
            }
            _ => {}
        }
    }
    let head = head
        .trim_end_matches(" Report")
        .trim_end_matches(" Residue");
    match kept.is_empty() {
        true => format!("{head} nothing"),
        false => format!("{head} {}", kept.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::in_short;

    #[test]
    fn a_report_is_told_without_what_is_nothing() {
        let report = "closed: Report { reason: End { id: 0, n: [] }, ok: 1, errors: 0, stuck: [] }";
        assert_eq!(
            in_short(report),
            "closed: reason: End { id: 0, n: [] }, ok: 1"
        );
        assert_eq!(
            in_short("left over: Residue { clients: 0, tasks: 0 }"),
            "left over: nothing"
        );
        assert_eq!(
            in_short("Started { id: 0, code: 1 }"),
            "Started { id: 0, code: 1 }"
        );
    }
}

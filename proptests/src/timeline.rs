//! A history as text for people: a line per event, with a lane for the client,
//! one for the server's program and one for its tasks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::history::{Direction, Event, History, What};
use crate::oracle::facts::Moment;
use crate::oracle::{received, sent};

/// The whole history, a line per event.
///
/// ```
/// let history = oracle::History::new(oracle::Config::default());
/// assert!(oracle::timeline::render(&history).starts_with("    time"));
/// ```
#[must_use]
pub fn render(history: &History) -> String {
    let notes = notes(history);
    let mut text = String::from("    time  who      what\n");
    let mut parts = Parts::default();
    for (moment, event) in history.events.iter().enumerate() {
        let is_part = !notes.contains_key(&moment);
        match &event.what {
            What::Received(bytes) if is_part => parts.add(event.at_us, bytes.0.len()),
            _ => {
                parts.flush(&mut text);
                let notes = notes.get(&moment).map_or(&[][..], Vec::as_slice);
                let _ = writeln!(text, "{}", line(event, notes));
            }
        }
    }
    parts.flush(&mut text);
    let _ = writeln!(text, "{}  watched until here", time(history.end_us));
    text
}

/// Pieces of a response that is not whole yet: many may come one after another.
#[derive(Default)]
struct Parts {
    count: usize,
    bytes: usize,
    last_us: u64,
}

impl Parts {
    fn add(&mut self, at_us: u64, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
        self.last_us = at_us;
    }

    fn flush(&mut self, text: &mut String) {
        if self.count > 0 {
            let (time, bytes, count) = (time(self.last_us), self.bytes, self.count);
            let _ = writeln!(
                text,
                "{time}  client   <- {bytes} bytes in {count} pieces: a part"
            );
        }
        *self = Self::default();
    }
}

/// The lines of these events.
pub(crate) fn lines(history: &History, moments: &[Moment]) -> Vec<String> {
    let notes = notes(history);
    let line = |moment: &Moment| {
        let event = history.events.get(*moment)?;
        let notes = notes.get(moment).map_or(&[][..], Vec::as_slice);
        Some(line(event, notes))
    };
    moments.iter().filter_map(line).collect()
}

fn line(event: &Event, notes: &[String]) -> String {
    let (who, what) = words(event, notes);
    format!("{}  {who:<8} {what}", time(event.at_us))
}

fn time(us: u64) -> String {
    format!("{:>5}.{:03}", us / 1000, us % 1000)
}

/// What the bytes of an event mean: the requests and responses that end in it.
fn notes(history: &History) -> BTreeMap<Moment, Vec<String>> {
    let mut notes: BTreeMap<Moment, Vec<String>> = BTreeMap::new();
    let (mut to_server, mut to_client) = (sent::Stream::default(), sent::Stream::default());
    for (moment, event) in history.events.iter().enumerate() {
        match &event.what {
            What::Sent(bytes) => to_server.push(&bytes.0, moment),
            What::Received(bytes) => to_client.push(&bytes.0, moment),
            _ => {}
        }
    }
    let order = history.config.byte_order.into();
    let (requests, partial) = sent::parse(&to_server, order);
    for request in requests {
        let name = name(request.code);
        let note = format!("{name} {} ({} bytes)", request.id, request.message.len());
        notes.entry(request.end).or_default().push(note);
    }
    if let Some(partial) = partial {
        let came = partial.bytes.end - partial.bytes.start;
        let note = format!("the first {came} bytes of a request");
        notes.entry(partial.first).or_default().push(note);
    }
    for response in received::parse(&to_client, order).0 {
        notes
            .entry(response.last)
            .or_default()
            .push(response.reply.name());
    }
    notes
}

fn name(code: u8) -> String {
    const NAMES: [&str; 16] = [
        "code 0", "echo", "sleep", "fail", "produce", "panic", "none", "reject", "break", "tear",
        "digest", "first", "tidy", "tasks", "block", "limited",
    ];
    match code {
        250 => "KeepAlive".into(),
        251 => "Cancel".into(),
        252 => "Negotiate".into(),
        _ => NAMES
            .get(usize::from(code))
            .map_or_else(|| format!("code {code}"), ToString::to_string),
    }
}

/// The lane of an event, and its words.
fn words(event: &Event, notes: &[String]) -> (&'static str, String) {
    let meaning = if notes.is_empty() {
        "a part".to_string()
    } else {
        notes.join(", ")
    };
    let direction = |direction: &Direction| match direction {
        Direction::ToServer => "requests",
        Direction::ToClient => "responses",
    };
    match &event.what {
        What::Sent(bytes) => ("client", format!("-> {} bytes: {meaning}", bytes.0.len())),
        What::Received(bytes) => ("client", format!("<- {} bytes: {meaning}", bytes.0.len())),
        What::Unsent(bytes) => (
            "client",
            format!("-> the last {bytes} bytes were not taken"),
        ),
        What::ClientEnded => ("client", "-> end of stream".into()),
        What::ClientReset => ("client", "-> reset".into()),
        What::ServerEnded => ("client", "<- end of stream".into()),
        What::ServerReset => ("client", "<- the connection failed".into()),
        What::Stalled(of) => ("network", format!("{} stall", direction(of))),
        What::Flowing(of) => ("network", format!("{} flow", direction(of))),
        What::Called { what, .. } => ("program", format!("calls {what:?}")),
        What::Returned { what, .. } => ("program", format!("returned {what:?}")),
        What::FunctionStarted { id, code } => {
            ("task", format!("function of {} {id} begins", name(*code)))
        }
        What::FunctionEnded { id, how, .. } => ("task", format!("function of {id} ends: {how:?}")),
        What::RunStarted { run, id, code } => {
            ("task", format!("run {run} of {} {id} begins", name(*code)))
        }
        What::RunEnded { run, how } => ("task", format!("run {run} ends: {how:?}")),
        What::BodyEnded { run, how } => ("task", format!("body of run {run} ends: {how:?}")),
        What::BodyDropped { run } => ("task", format!("body of run {run} is dropped")),
        What::Observed(what) => ("observer", format!("{what:?}")),
        What::Closed(None) => ("server", "closed".into()),
        What::Closed(Some(report)) => ("server", format!("closed: {report:?}")),
        What::Left(residue) => ("server", format!("left over: {residue:?}")),
    }
}

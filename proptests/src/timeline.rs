//! A history as text for people: a line per event, with a lane for the client,
//! one for the server's program and one for its tasks.

mod tasks;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::history::{Direction, Event, History, What};
use crate::oracle::facts::Moment;
use crate::oracle::received::Reply;
use crate::oracle::{received, sent};
use tasks::Tasks;

/// A line of the timeline.
///
/// ```
/// let history = oracle::Handmade::new().sends(7, oracle::Ask::Echo(2)).ok(7, &[0, 1]).history();
/// let entries = oracle::timeline::entries(&history);
/// assert!(entries.iter().all(|entry| entry.tasks == ["7"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds from the connection's start.
    pub at_us: u64,
    /// Who does or sees it: `client`, `network`, `program`, `task`, `observer` or `server`.
    pub who: &'static str,
    /// What.
    pub text: String,
    /// The tasks that it is about, each by its id: `7/2` is the second one with the id 7.
    pub tasks: Vec<String>,
}

impl Entry {
    /// The entry as it stands in the text, and in what the oracle says.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}  {:<8} {}", time(self.at_us), self.who, self.text)
    }
}

/// The whole history, a line per event.
///
/// ```
/// let history = oracle::History::new(oracle::Config::default());
/// assert!(oracle::timeline::render(&history).starts_with("    time"));
/// ```
#[must_use]
pub fn render(history: &History) -> String {
    let mut text = String::from("    time  who      what\n");
    for entry in entries(history) {
        let _ = writeln!(text, "{}", entry.line());
    }
    let _ = writeln!(text, "{}  watched until here", time(history.end_us));
    text
}

/// The whole history, an entry per event; pieces of one request or response
/// that follow each other are one entry.
#[must_use]
pub fn entries(history: &History) -> Vec<Entry> {
    let notes = notes(history);
    let (mut entries, mut tasks) = (Vec::new(), Tasks::default());
    let mut parts = Parts::default();
    for (moment, event) in history.events.iter().enumerate() {
        let notes = notes.get(&moment).map_or(&[][..], Vec::as_slice);
        match &event.what {
            What::Sent(bytes) if notes.is_empty() => {
                entries.extend(parts.add("->", event.at_us, bytes.0.len()));
            }
            What::Received(bytes) if notes.is_empty() => {
                entries.extend(parts.add("<-", event.at_us, bytes.0.len()));
            }
            _ => {
                entries.extend(parts.take());
                let (who, text) = words(event, notes);
                entries.push(Entry {
                    at_us: event.at_us,
                    who,
                    text,
                    tasks: tasks.of(&event.what, notes),
                });
            }
        }
    }
    entries.extend(parts.take());
    entries
}

/// Pieces of a message that is not whole yet: many may come one after another.
#[derive(Default)]
struct Parts {
    direction: &'static str,
    count: usize,
    bytes: usize,
    last_us: u64,
}

impl Parts {
    /// Adds a piece; what went in the other direction before is done with.
    fn add(&mut self, direction: &'static str, at_us: u64, bytes: usize) -> Option<Entry> {
        let before = if self.direction == direction {
            None
        } else {
            self.take()
        };
        self.direction = direction;
        self.count += 1;
        self.bytes += bytes;
        self.last_us = at_us;
        before
    }

    fn take(&mut self) -> Option<Entry> {
        let parts = std::mem::take(self);
        let (direction, bytes, count) = (parts.direction, parts.bytes, parts.count);
        let text = match count {
            0 => return None,
            1 => format!("{direction} {bytes} bytes: a part"),
            _ => format!("{direction} {bytes} bytes in {count} pieces: a part"),
        };
        Some(Entry {
            at_us: parts.last_us,
            who: "client",
            text,
            tasks: Vec::new(),
        })
    }
}

/// What a message means that ends in an event.
enum Note {
    /// Of a request: its code, its id, and how many bytes its message has.
    Request(u8, u32, usize),
    /// Of a request that was not sent whole: how many of its bytes.
    Partial(u64),
    /// Of a response.
    Reply(Reply),
}

impl Note {
    fn words(&self) -> String {
        match self {
            Self::Request(code, id, bytes) => format!("{} {id} ({bytes} bytes)", name(*code)),
            Self::Partial(came) => format!("the first {came} bytes of a request"),
            Self::Reply(reply) => reply.name(),
        }
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

fn line(event: &Event, notes: &[Note]) -> String {
    let (who, what) = words(event, notes);
    format!("{}  {who:<8} {what}", time(event.at_us))
}

fn time(us: u64) -> String {
    format!("{:>5}.{:03}", us / 1000, us % 1000)
}

/// What the bytes of an event mean: the requests and responses that end in it.
fn notes(history: &History) -> BTreeMap<Moment, Vec<Note>> {
    let mut notes: BTreeMap<Moment, Vec<Note>> = BTreeMap::new();
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
        let note = Note::Request(request.code, request.id, request.message.len());
        notes.entry(request.end).or_default().push(note);
    }
    if let Some(partial) = partial {
        let note = Note::Partial(partial.bytes.end - partial.bytes.start);
        notes.entry(partial.first).or_default().push(note);
    }
    for response in received::parse(&to_client, order).0 {
        let note = Note::Reply(response.reply);
        notes.entry(response.last).or_default().push(note);
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
fn words(event: &Event, notes: &[Note]) -> (&'static str, String) {
    let meaning = if notes.is_empty() {
        "a part".to_string()
    } else {
        let words: Vec<_> = notes.iter().map(Note::words).collect();
        words.join(", ")
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

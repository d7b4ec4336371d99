//! What is wrong with a run: the first thing, in the oracle's words where it has some.

use std::collections::BTreeMap;
use std::fmt;

use oracle::{Oracle, Reason, Report, What};

use super::altered;
use super::connections::{Judged, Seen};
use super::stage::Witness;
use super::together;
use crate::{Failure, Plan, Run};

/// What was wrong with a run.
///
/// ```
/// fn show(verdict: &asyncserver_sim::Verdict) { println!("{verdict}"); }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What kind of thing.
    pub kind: VerdictKind,
    /// Which rule, or in which way: equal for equal bugs, as far as can be told.
    pub signature: String,
    /// The connection that shows it, where one does.
    pub connection: Option<String>,
    /// What broke.
    pub text: String,
}

/// What kind of thing is wrong.
///
/// ```
/// assert_eq!(asyncserver_sim::VerdictKind::Panic.to_string(), "panic");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictKind {
    /// A panic that nobody asked for.
    Panic,
    /// Something was polled for ever.
    Livelock,
    /// The oracle rejects what was seen of a connection.
    Rejected,
    /// A client of the library broke a rule, or had a wrong answer.
    Client,
    /// Something never ended.
    Hang,
    /// Something was left over.
    Residue,
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panic",
            Self::Livelock => "livelock",
            Self::Rejected => "rejected",
            Self::Client => "client",
            Self::Hang => "hang",
            Self::Residue => "residue",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(connection) = &self.connection {
            write!(f, "{connection}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl Verdict {
    fn new(kind: VerdictKind, signature: &str, text: impl Into<String>) -> Self {
        Self {
            kind,
            signature: format!("{kind}: {signature}"),
            connection: None,
            text: text.into(),
        }
    }

    fn of(mut self, connection: &str) -> Self {
        self.connection = Some(connection.to_owned());
        self
    }
}

/// The first thing that is wrong.
pub(crate) fn judge(
    plan: &Plan,
    run: &Run<()>,
    witness: &Witness,
    seen: &[Seen],
) -> Option<Verdict> {
    panics(run, witness, seen)
        .or_else(|| rejected(seen))
        .or_else(|| rejected_together(seen))
        .or_else(|| clients(plan, witness, seen))
        .or_else(|| left_over(run, witness))
}

fn panics(run: &Run<()>, witness: &Witness, seen: &[Seen]) -> Option<Verdict> {
    match &run.outcome {
        Ok(()) => {}
        Err(failure @ Failure::Livelock(_)) => {
            let text = failure.to_string();
            return Some(Verdict::new(VerdictKind::Livelock, "polls", text));
        }
        Err(failure @ Failure::TimeLimit(_)) => {
            let text = failure.to_string();
            return Some(Verdict::new(VerdictKind::Hang, "time", text));
        }
        Err(failure) => {
            let text = failure.to_string();
            return Some(Verdict::new(VerdictKind::Panic, "task", text));
        }
    }
    let programs = witness.programs.iter().flat_map(harness::World::faults);
    let of_connections = seen.iter().flat_map(|c| c.faults.clone());
    let fault = programs.chain(of_connections).next()?;
    Some(Verdict::new(VerdictKind::Panic, "future", fault))
}

fn rejected(seen: &[Seen]) -> Option<Verdict> {
    seen.iter().find_map(|connection| {
        let oracle = Oracle::new(&connection.history);
        let violations = match connection.judged {
            Judged::ToTheEnd => oracle.violations(),
            Judged::SoFar => oracle.judge().err().into_iter().collect(),
            Judged::Not => Vec::new(),
        };
        let violation = violations.into_iter().next()?;
        let rule = violation.rule.to_string();
        let verdict = Verdict::new(VerdictKind::Rejected, &rule, violation.to_string());
        Some(verdict.of(&connection.name))
    })
}

fn rejected_together(seen: &[Seen]) -> Option<Verdict> {
    let servers = together::servers(seen);
    let violation = servers.iter().find_map(|of| of.judge_shared().err())?;
    let rule = violation.rule.to_string();
    Some(Verdict::new(
        VerdictKind::Rejected,
        &rule,
        violation.to_string(),
    ))
}

fn clients(plan: &Plan, witness: &Witness, seen: &[Seen]) -> Option<Verdict> {
    let calls = witness.calls.all();
    for call in calls.values() {
        let of_client = seen.iter().filter(|c| c.client == call.client);
        let altered: Vec<_> = of_client.filter(|c| c.altered.is_any()).collect();
        if let Some(text) = call.complaint(&plan.config, &altered) {
            return Some(Verdict::new(VerdictKind::Client, "answer", text));
        }
        if call.ending.is_none() {
            let text = format!(
                "a call of task {} by {} never ended",
                call.code, call.client
            );
            return Some(Verdict::new(VerdictKind::Hang, "call", text));
        }
    }
    let callers = seen.iter().filter(|c| c.client.starts_with("caller"));
    let mut runs: BTreeMap<(String, Vec<u8>), u32> = BTreeMap::new();
    // Whoever got something else than was said may do something else.
    let misled = |client: &str| {
        let mut of_client = seen.iter().filter(|c| c.client == client);
        of_client.any(|c| c.altered.is_any())
    };
    let faithful = callers.filter(|c| c.judged != Judged::Not && !misled(&c.client));
    for connection in faithful {
        if let Some(Reason::DuplicateTaskId { id }) = reason(connection) {
            let text = format!("PROTOCOL N7 is broken: the client used the live id {id} again");
            return Some(Verdict::new(VerdictKind::Client, "N7", text).of(&connection.name));
        }
        for message in run_messages(connection) {
            let key = (connection.client.clone(), message);
            let call = calls
                .values()
                .find(|call| !call.idempotent && call.client == key.0 && call.message == key.1);
            let times = runs.entry(key).or_default();
            *times += 1;
            let Some(call) = call.filter(|_| *times > 1) else {
                continue;
            };
            let text = format!(
                "PROTOCOL C3 is broken: a call of task {} that must not be repeated ran twice",
                call.code
            );
            return Some(Verdict::new(VerdictKind::Client, "C3", text).of(&connection.name));
        }
    }
    None
}

fn reason(connection: &Seen) -> Option<Reason> {
    connection
        .history
        .events
        .iter()
        .find_map(|event| match &event.what {
            What::Closed(Some(Report { reason, .. })) => Some(*reason),
            _ => None,
        })
}

/// The messages of the requests whose run functions started.
fn run_messages(connection: &Seen) -> Vec<Vec<u8>> {
    let (mut sent, mut messages) = (Vec::new(), Vec::new());
    for event in &connection.history.events {
        match &event.what {
            What::Sent(bytes) => sent.extend(&bytes.0),
            What::RunStarted { id, code, .. } => {
                messages.extend(last_message(&sent, *code, *id));
            }
            _ => {}
        }
    }
    messages
}

/// The message of the last whole request with this code and id.
fn last_message(mut rest: &[u8], code: u8, id: u32) -> Option<Vec<u8>> {
    let mut found = None;
    while let Some((header, behind)) = rest.split_at_checked(5) {
        rest = behind;
        let Some(message) = altered::message(&mut rest) else {
            break;
        };
        if header[0] == code && header[1..] == id.to_be_bytes() {
            found = Some(message);
        }
    }
    found
}

fn left_over(run: &Run<()>, witness: &Witness) -> Option<Verdict> {
    let hang = witness.hang.lock().ok().and_then(|hang| hang.clone());
    if let Some(text) = hang {
        return Some(Verdict::new(VerdictKind::Hang, "rest", text));
    }
    let is_left = !run.residue.is_empty();
    let text = || format!("left over: {:?}", run.residue);
    is_left.then(|| Verdict::new(VerdictKind::Residue, "world", text()))
}

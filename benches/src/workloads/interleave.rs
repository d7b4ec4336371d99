//! Contenders measured side by side, round by round.

use std::time::Duration;

use crate::contenders;
use crate::load::{ClientLoads, Round, Shape, wire};
use crate::measure::{Cost, Latency, Probe};
use crate::server::{Build, ServerProcess, ServerSettings};
use crate::workloads::Setup;

/// One that takes part: a server, and what puts load on it for a time.
pub(super) struct Participant<'a> {
    label: String,
    contender: &'static str,
    load: Box<dyn Fn(Duration, Probe<'_>) -> Round + 'a>,
}

/// The label of the one to which the others are compared.
const LIMIT: &str = "raw";

impl<'a> Participant<'a> {
    pub(super) fn new(
        label: impl Into<String>,
        contender: &'static str,
        load: impl Fn(Duration, Probe<'_>) -> Round + 'a,
    ) -> Self {
        Self {
            label: label.into(),
            contender,
            load: Box::new(load),
        }
    }
}

/// A server, and which client keeps equal requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) contender: &'static str,
    pub(super) load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// The cheap client of our wire.
    Wire,
    /// The contender's own client, a task for each call.
    Calls,
}

impl Entry {
    pub(super) const fn wire(contender: &'static str) -> Self {
        Self {
            contender,
            load: Load::Wire,
        }
    }

    pub(super) const fn calls(contender: &'static str) -> Self {
        Self {
            contender,
            load: Load::Calls,
        }
    }

    /// Its client for what is not a load of equal requests.
    pub(super) fn client(&self) -> &'static dyn ClientLoads {
        match self.load {
            Load::Wire => contenders::BARE,
            Load::Calls => {
                let contender = contenders::find(self.contender);
                contender.expect("it is in the list").client()
            }
        }
    }

    pub(super) fn label(&self) -> String {
        match self.load {
            Load::Wire => self.contender.to_owned(),
            Load::Calls if matches!(self.contender, "tarpc" | "tonic") => self.contender.to_owned(),
            Load::Calls => format!("{} + client", self.contender),
        }
    }

    /// Takes part with requests of this shape.
    pub(super) fn with(self, shape: Shape) -> Participant<'static> {
        let load = move |time, probe: Probe<'_>| {
            let shape = Shape { time, ..shape };
            match self.load {
                Load::Wire => wire::load(shape, probe),
                Load::Calls => self.client().keep_in_flight(shape, probe),
            }
        };
        Participant::new(self.label(), self.contender, load)
    }
}

/// What came of one participant.
pub(crate) struct Measured {
    pub(crate) label: String,
    pub(crate) is_limit: bool,
    pub(crate) rounds: Vec<Round>,
    /// The round in which allocations and system calls were counted.
    pub(crate) counted: Round,
}

impl Measured {
    pub(crate) fn spread(&self, of: impl Fn(&Round) -> f64) -> crate::report::Spread {
        crate::report::Spread::of(self.rounds.iter().map(of))
    }

    /// Of all rounds.
    pub(crate) fn latency(&self) -> Latency {
        let mut all = Latency::default();
        for round in &self.rounds {
            all.add(&round.latency);
        }
        all
    }

    /// What was counted, a request; `None` where it could not be.
    pub(crate) fn per_request(&self, of: impl Fn(&Cost) -> Option<u64>) -> Option<f64> {
        Some(of(&self.counted.cost)? as f64 / self.counted.requests as f64)
    }
}

/// Measures all participants that are part of this run.
pub(super) fn interleave(
    setup: &Setup,
    participants: &[Participant<'_>],
    settings: ServerSettings,
) -> Vec<Measured> {
    let included = participants.iter();
    let included = included.filter(|participant| setup.includes(participant.contender));
    let start = |participant: &Participant<'_>, build| {
        ServerProcess::start(participant.contender, build, settings)
    };
    let mut measured: Vec<_> = included
        .map(|participant| (participant, start(participant, Build::Plain), Vec::new()))
        .collect();
    for round in 0..=setup.rounds {
        for (participant, server, rounds) in &mut measured {
            let measured = (participant.load)(setup.round_time, Probe::new(server));
            // The first round warms up.
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    let measured = measured.into_iter();
    // The timed servers are gone before anything is counted.
    let measured: Vec<_> = measured
        .map(|(participant, _, rounds)| (participant, rounds))
        .collect();
    let measured = measured.into_iter().map(|(participant, rounds)| {
        let server = start(participant, Build::Counting);
        let count = || (participant.load)(setup.round_time / COUNTED, Probe::new(&server));
        // Here, too, the first one warms up.
        count();
        Measured {
            label: participant.label.clone(),
            is_limit: participant.label == LIMIT,
            rounds,
            counted: count(),
        }
    });
    measured.collect()
}

/// Counts do not waver: a fraction of a round's time is enough for them.
const COUNTED: u32 = 4;

/// Runs a load of its own kind on each contender that takes part, round by
/// round; nothing is counted.
pub(super) fn each_round(
    setup: &Setup,
    contenders: &[&'static str],
    settings: ServerSettings,
    load: impl Fn(Probe<'_>) -> Round,
) -> Vec<(&'static str, Vec<Round>)> {
    let included = contenders.iter().filter(|name| setup.includes(name));
    let mut measured: Vec<_> = included
        .map(|name| {
            let server = ServerProcess::start(name, Build::Plain, settings);
            (*name, server, Vec::new())
        })
        .collect();
    for round in 0..=setup.rounds {
        for (_, server, rounds) in &mut measured {
            let measured = load(Probe::new(server));
            // The first round warms up.
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    let measured = measured.into_iter();
    measured.map(|(name, _, rounds)| (name, rounds)).collect()
}

//! Contenders measured side by side, round by round.

use crate::contenders;
use crate::load::{Round, Shape, wire};
use crate::measure::{Cost, Latency, Probe};
use crate::server::{Build, ServerProcess, ServerSettings};
use crate::workloads::Setup;

/// One that takes part: a server, and what puts load on it.
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

    fn label(&self) -> String {
        match self.load {
            Load::Wire => self.contender.to_owned(),
            Load::Calls if matches!(self.contender, "tarpc" | "tonic") => self.contender.to_owned(),
            Load::Calls => format!("{} + client", self.contender),
        }
    }

    fn run(&self, shape: Shape, server: &ServerProcess) -> Round {
        let probe = Probe::new(server);
        match self.load {
            Load::Wire => wire::load(shape, probe),
            Load::Calls => contenders::find(self.contender)
                .expect("it is in the list")
                .call(shape, probe),
        }
    }
}

/// What came of one entry.
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

/// Measures all entries that take part in this run.
pub(super) fn interleave(
    setup: &Setup,
    entries: &[Entry],
    settings: ServerSettings,
    shape: Shape,
) -> Vec<Measured> {
    let entries: Vec<_> = entries
        .iter()
        .filter(|entry| setup.includes(entry.contender))
        .collect();
    let mut rounds: Vec<_> = entries.iter().map(|_| Vec::new()).collect();
    let start = |entry: &&Entry, build| ServerProcess::start(entry.contender, build, settings);
    let servers: Vec<_> = entries
        .iter()
        .map(|entry| start(entry, Build::Plain))
        .collect();
    for round in 0..=setup.rounds {
        for ((entry, server), rounds) in entries.iter().zip(&servers).zip(&mut rounds) {
            let measured = entry.run(shape, server);
            // The first round warms up.
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    drop(servers);
    let counted = entries.iter().map(|entry| {
        let server = start(entry, Build::Counting);
        entry.run(shape, &server);
        entry.run(shape, &server)
    });
    let counted: Vec<_> = counted.collect();
    let measured = entries.iter().zip(rounds).zip(counted);
    measured
        .map(|((entry, rounds), counted)| Measured {
            label: entry.label(),
            is_limit: **entry == Entry::wire("raw"),
            rounds,
            counted,
        })
        .collect()
}

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

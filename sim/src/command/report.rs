//! What a run of many seeds came to, as data.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use oracle::Reached;
use serde::{Deserialize, Serialize};

use super::{About, Seeds, Trouble, junit, version};

/// What came of seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    /// Which seeds: one part, or those of the reports that were merged.
    pub(crate) parts: Vec<Part>,
    /// The kept scenarios that ran.
    pub(crate) kept: Vec<String>,
    pub(crate) seeds: u64,
    /// Of real time; of all machines where reports were merged.
    pub(crate) seconds: f64,
    pub(crate) virtual_seconds: f64,
    pub(crate) polls: u64,
    pub(crate) failures: Vec<Failed>,
    /// How often each state was reached.
    pub(crate) reached: BTreeMap<String, u64>,
}

/// Which seeds a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) profile: String,
    pub(crate) from: u64,
    /// Of all shards together, where that was said.
    pub(crate) seeds: Option<u64>,
    pub(crate) shard: (u64, u64),
    /// How many of this shard's seeds ran.
    pub(crate) ran: u64,
}

impl Part {
    pub(crate) fn of(seeds: &Seeds, ran: u64) -> Self {
        Self {
            profile: seeds.about.profile.name().to_owned(),
            from: seeds.from,
            seeds: seeds.count(),
            shard: seeds.shard,
            ran,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |part: &Self| (part.profile.clone(), part.from, part.shard);
        key(self) == key(other)
    }
}

/// A plan that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// Its seed, where it is not from a file.
    pub(crate) seed: Option<u64>,
    /// What `replay` is given: a seed with what makes a plan of it, or a file.
    pub(crate) what: String,
    /// The version at which it failed.
    pub(crate) at: String,
    pub(crate) signature: String,
    pub(crate) text: String,
}

impl Failed {
    pub(crate) fn of_seed(seed: u64, about: About, signature: &str, text: &str) -> Self {
        Self {
            seed: Some(seed),
            ..Self::of_file(format!("{seed:#x}{}", about.words()), signature, text)
        }
    }

    pub(crate) fn of_file(what: String, signature: &str, text: &str) -> Self {
        Self {
            seed: None,
            what,
            at: version().to_owned(),
            signature: signature.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The line to paste.
    pub(crate) fn line(&self) -> String {
        let (what, at) = (&self.what, &self.at);
        format!("cargo run --release -p asyncserver-sim -- replay {what} --at {at}")
    }

    /// The line to paste, and what broke.
    pub(crate) fn told(&self) -> String {
        format!("{}\n{}\n", self.line(), self.text.trim_end())
    }
}

impl Report {
    pub(crate) fn count(&mut self, reached: &[Reached]) {
        for state in reached {
            *self.reached.entry(format!("{state:?}")).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        if self.version.is_empty() {
            self.version = other.version;
        }
        self.parts.extend(other.parts);
        self.kept.extend(other.kept);
        self.seeds += other.seeds;
        self.seconds += other.seconds;
        self.virtual_seconds += other.virtual_seconds;
        self.polls += other.polls;
        self.failures.extend(other.failures);
        for (state, times) in other.reached {
            *self.reached.entry(state).or_default() += times;
        }
    }

    /// The states that no seed has reached.
    pub(crate) fn missing(&self) -> Vec<&'static Reached> {
        let all = Reached::ALL.iter();
        all.filter(|state| !self.reached.contains_key(&format!("{state:?}")))
            .collect()
    }

    pub(crate) fn print(&self) {
        if !self.kept.is_empty() {
            println!("{} kept scenarios", self.kept.len());
        }
        println!(
            "{} seeds in {:.1} s: {:.0} a second; {:.0} s of virtual time and {} polls a seed",
            self.seeds,
            self.seconds,
            self.seeds as f64 / self.seconds.max(0.001),
            self.virtual_seconds / self.seeds.max(1) as f64,
            self.polls / self.seeds.max(1),
        );
        let (missing, all) = (self.missing(), Reached::ALL.len());
        let reached = all - missing.len();
        let end = if missing.is_empty() { "" } else { "; never:" };
        println!("{reached} of {all} states reached{end}");
        let mut line = String::from(" ");
        for state in missing {
            let word = format!(" {state:?}");
            if line.len() + word.len() > 100 {
                println!("{line}");
                line = String::from(" ");
            }
            line += &word;
        }
        if !line.trim().is_empty() {
            println!("{line}");
        }
        println!("{} failures", self.failures.len());
    }

    pub(crate) fn write(&self, json: Option<&Path>, xml: Option<&Path>) -> Result<(), Trouble> {
        let write = |file: &Path, text: String| {
            std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
        };
        if let Some(file) = json {
            write(file, serde_json::to_string_pretty(self)?)?;
        }
        if let Some(file) = xml {
            write(file, junit::document(self))?;
        }
        Ok(())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(!self.failures.is_empty()))
    }

    /// Why the parts are not one whole, if they are not.
    fn overlap(&self) -> Option<String> {
        let twice = |(number, part): (usize, &Part)| {
            let (i, n) = part.shard;
            let before = &self.parts[..number];
            let text = format!("shard {i}/{n} of {} is there twice", part.profile);
            before
                .iter()
                .any(|other| other.is_same(part))
                .then_some(text)
        };
        self.parts.iter().enumerate().find_map(twice)
    }

    /// The shards that are not there.
    fn absent(&self) -> Vec<String> {
        let mut absent = Vec::new();
        for part in &self.parts {
            let of = part.shard.1;
            for index in 1..=of {
                let shard = (index, of);
                let is_there = |other: &Part| {
                    other.is_same(&Part {
                        shard,
                        ..part.clone()
                    })
                };
                let name = format!("{index}/{of}");
                if !self.parts.iter().any(is_there) && !absent.contains(&name) {
                    absent.push(name);
                }
            }
        }
        absent
    }
}

/// Puts reports together.
pub(crate) fn merge<F: AsRef<Path>>(
    files: &[F],
    json: Option<&Path>,
    junit: Option<&Path>,
) -> Result<ExitCode, Trouble> {
    let mut whole = Report::default();
    for file in files {
        let name = file.as_ref().display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let part: Report =
            serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        if !whole.version.is_empty() && whole.version != part.version {
            let (one, other) = (&whole.version, &part.version);
            eprintln!("sim: reports of different versions: {one} and {other}");
        }
        whole.add(part);
    }
    if let Some(overlap) = whole.overlap() {
        return Err(overlap.into());
    }
    for failed in &whole.failures {
        println!("{}", failed.told());
    }
    let absent = whole.absent();
    if !absent.is_empty() {
        println!("these shards are not there: {}", absent.join(" "));
    }
    println!("{} reports", files.len());
    whole.print();
    whole.write(json, junit)?;
    Ok(whole.exit_code())
}

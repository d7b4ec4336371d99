//! What the command line can say.

mod junit;
mod many;
mod progress;
mod report;
mod run;
mod show;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use asyncserver_sim::{Plan, Profile};
use clap::{Args, Parser, Subcommand};

/// What went wrong with the command itself.
pub(crate) type Trouble = Box<dyn std::error::Error>;

/// Simulated servers and clients of asyncserver: every fault from a seed.
///
/// Exits with 1 where a plan breaks, and with 2 where the command itself cannot
/// be carried out.
#[derive(Parser)]
#[command(name = "sim", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds, the kept scenarios first.
    Run(Seeds),
    /// Runs a seed or a file again.
    Replay(Replay),
    /// Makes what fails smaller, until everything in it is needed.
    Shrink {
        #[command(flatten)]
        what: Chosen,
        /// Where the smaller plan goes, from the first step on: it can be interrupted.
        #[arg(short, long, default_value = "small.json")]
        output: PathBuf,
        /// What the smaller plan says about itself; what breaks in it where it is absent.
        #[arg(long)]
        about: Option<String>,
    },
    /// Says which states are reached, by profile.
    Stats {
        /// How many seeds of each profile.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value = "0", value_parser = number)]
        from: u64,
        /// How many run at the same time; one for each core where it is absent.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Puts reports of shards together.
    Merge {
        /// Reports that `run --json` has written.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the whole report goes.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Where the whole report goes, for continuous integration.
        #[arg(long)]
        junit: Option<PathBuf>,
    },
    /// Prints a line with the hash of its trace for each seed: equal in every process.
    Digest(Seeds),
}

/// Which seeds are run, and where the results go.
#[derive(Args, Clone)]
pub(crate) struct Seeds {
    /// How many seeds; 1000, or with --time as many as there is time for.
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value = "0", value_parser = number)]
    pub(crate) from: u64,
    /// Only every n-th seed, from the i-th: 3/16. The first shard has the kept scenarios.
    #[arg(long, default_value = "1/1", value_parser = shard)]
    pub(crate) shard: (u64, u64),
    /// How many run at the same time; one for each core where it is absent.
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Stops after this time: 10m.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) about: About,
    /// Stops at this many failures.
    #[arg(long, default_value_t = 10)]
    pub(crate) failures: usize,
    /// Leaves the kept scenarios out.
    #[arg(long)]
    pub(crate) fresh_only: bool,
    /// The folder of the kept scenarios.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    pub(crate) scenarios: PathBuf,
    /// Writes a report for `merge`.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Writes a report for continuous integration.
    #[arg(long)]
    pub(crate) junit: Option<PathBuf>,
}

/// What makes a plan of a seed.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct About {
    /// What a seed's plan is about.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) profile: Profile,
    /// How much virtual time may pass without progress once faults are over: 2m.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) budget: Option<Duration>,
}

/// A plan.
#[derive(Args)]
pub(crate) struct Chosen {
    /// A seed, as 0x…, or a file.
    what: String,
    #[command(flatten)]
    about: About,
    /// The version that it failed at: another one may make another plan of a seed.
    #[arg(long)]
    at: Option<String>,
}

#[derive(Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) what: Chosen,
    /// Prints every poll, byte count and event.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Writes a page of HTML.
    #[arg(long)]
    pub(crate) timeline: Option<PathBuf>,
    /// Prints the plan and what was seen of each connection.
    #[arg(long)]
    pub(crate) text: bool,
    /// Writes the plan.
    #[arg(long)]
    pub(crate) plan: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<ExitCode, Trouble> {
        match self.command {
            Command::Run(seeds) => run::run(&seeds),
            Command::Replay(replay) => show::replay(&replay),
            Command::Shrink {
                what,
                output,
                about,
            } => show::shrink(&what, &output, about),
            Command::Stats { seeds, from, jobs } => stats::stats(seeds, from, jobs),
            Command::Merge { files, json, junit } => {
                report::merge(&files, json.as_deref(), junit.as_deref())
            }
            Command::Digest(seeds) => stats::digest(&seeds),
        }
    }
}

impl Seeds {
    /// How many seeds all shards have together, where that is known before.
    pub(crate) const fn count(&self) -> Option<u64> {
        match (self.seeds, self.time) {
            (None, None) => Some(1000),
            (seeds, _) => seeds,
        }
    }

    /// The seed with this number of this shard, from 0.
    pub(crate) fn nth(&self, number: u64) -> Option<u64> {
        let (index, of) = self.shard;
        let offset = number.checked_mul(of)?.checked_add(index - 1)?;
        let is_one = self.count().is_none_or(|count| offset < count);
        is_one.then(|| self.from.wrapping_add(offset))
    }

    /// How many seeds this shard has, where that is known before.
    pub(crate) fn count_of_shard(&self) -> Option<u64> {
        let (index, of) = self.shard;
        Some((self.count()? + of - index) / of)
    }
}

impl About {
    pub(crate) fn plan(self, seed: u64) -> Plan {
        self.apply(Plan::generate(seed, self.profile))
    }

    pub(crate) fn apply(self, mut plan: Plan) -> Plan {
        if let Some(budget) = self.budget {
            plan.phases.budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
        }
        plan
    }

    /// The same as arguments, a space before each.
    pub(crate) fn words(self) -> String {
        let mut words = String::new();
        if self.profile != Profile::Default {
            words += &format!(" --profile {}", self.profile.name());
        }
        if let Some(budget) = self.budget {
            words += &format!(" --budget {}ms", budget.as_millis());
        }
        words
    }
}

impl Chosen {
    pub(crate) fn plan(&self) -> Result<Plan, Trouble> {
        if let Some(at) = self.at.as_ref().filter(|at| *at != version()) {
            eprintln!("sim: this is {}, and it failed at {at}", version());
        }
        if let Ok(seed) = number(&self.what) {
            return Ok(self.about.plan(seed));
        }
        let hint = match u64::from_str_radix(&self.what, 16) {
            Ok(seed) => format!(" (the seed would be {seed:#x})"),
            Err(_) => String::new(),
        };
        let text = std::fs::read_to_string(&self.what);
        let text = text.map_err(|error| format!("{}: {error}{hint}", self.what))?;
        let plan = Plan::from_json(&text).map_err(|error| format!("{}: {error}", self.what))?;
        Ok(self.about.apply(plan))
    }
}

/// What this is built from, as far as it can be known.
pub(crate) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let git = std::process::Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let described = git.ok().filter(|output| output.status.success());
        let described = described.and_then(|output| String::from_utf8(output.stdout).ok());
        described.map_or_else(
            || env!("CARGO_PKG_VERSION").to_owned(),
            |described| described.trim().to_owned(),
        )
    })
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix("0x")
        .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16))
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let (index, of) = text.split_once('/').ok_or("a shard is i/n")?;
    let parse = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
    let (index, of): (u64, u64) = (parse(index)?, parse(of)?);
    if (1..=of).contains(&index) {
        Ok((index, of))
    } else {
        Err(format!("there is no shard {index} of {of}"))
    }
}

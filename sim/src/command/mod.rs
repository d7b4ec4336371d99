//! What the command line can say.

mod report;
mod run;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use asyncserver_sim::{Plan, Profile};
use clap::{Args, Parser, Subcommand};

/// What went wrong with the command itself.
pub(crate) type Trouble = Box<dyn std::error::Error>;

/// Simulated servers and clients of asyncserver: every fault from a seed.
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
        /// Where the smaller plan goes.
        #[arg(short, long, default_value = "small.json")]
        output: PathBuf,
    },
    /// Says which states are reached, by profile.
    Stats {
        /// How many seeds of each profile.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value = "0", value_parser = number)]
        from: u64,
    },
    /// Puts reports of shards together.
    Merge {
        /// Reports that `run --json` has written.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the whole report goes.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Prints a line with the hash of its trace for each seed: equal in every process.
    Digest(Seeds),
}

/// Which seeds are run, and where the results go.
#[derive(Args)]
pub(crate) struct Seeds {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value = "0", value_parser = number)]
    pub(crate) from: u64,
    /// Only every n-th seed, from the i-th: 3/16.
    #[arg(long, default_value = "1/1", value_parser = shard)]
    pub(crate) shard: (u64, u64),
    /// How many run at the same time; one for each core where it is absent.
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Stops after this time, however many seeds are left: 10m.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// What the plans are about.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) profile: Profile,
    /// Stops at this many failures.
    #[arg(long, default_value_t = 10)]
    pub(crate) failures: usize,
    /// Leaves the kept scenarios out.
    #[arg(long)]
    pub(crate) fresh_only: bool,
    /// Writes a report for `merge`.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Writes a report for continuous integration.
    #[arg(long)]
    pub(crate) junit: Option<PathBuf>,
}

/// A plan.
#[derive(Args)]
pub(crate) struct Chosen {
    /// A seed, as 0x…, or a file.
    what: String,
    /// What the seed's plan is about.
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
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
    /// Prints the histories.
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
            Command::Shrink { what, output } => show::shrink(&what, &output),
            Command::Stats { seeds, from } => run::stats(seeds, from),
            Command::Merge { files, json } => report::merge(&files, json.as_deref()),
            Command::Digest(seeds) => run::digest(&seeds),
        }
    }
}

impl Chosen {
    pub(crate) fn plan(&self) -> Result<Plan, Trouble> {
        if let Some(at) = self.at.as_ref().filter(|at| **at != version()) {
            eprintln!("sim: this is {}, and it failed at {at}", version());
        }
        match number(&self.what) {
            Ok(seed) => Ok(Plan::generate(seed, self.profile)),
            Err(_) => {
                let text = std::fs::read_to_string(&self.what);
                let text = text.map_err(|error| format!("{}: {error}", self.what))?;
                Ok(Plan::from_json(&text).map_err(|error| format!("{}: {error}", self.what))?)
            }
        }
    }
}

/// What this is built from, as far as it can be known.
pub(crate) fn version() -> String {
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

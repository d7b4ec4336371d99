//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};

use crate::server::ServerSettings;

/// Measures asyncserver beside a raw loop, tarpc and tonic.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The essential workloads in short rounds, within two minutes; nothing is written.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Whether costs depend on what else there is, alone; nothing is written.
    #[arg(long)]
    pub(crate) growth: bool,
    /// One load for so long, alone, shown in ten slices; nothing is written.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) soak: Option<Duration>,
    /// Only workloads whose name contains one of these.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Only these contenders; the raw loop, which is the limit, always runs.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) contenders: Vec<String>,
    /// The names of workloads and contenders.
    #[arg(long)]
    pub(crate) list: bool,
    /// Rounds that count, of each contender; one more goes before, to warm up.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// How long a round puts load on a server.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) round_time: Option<Duration>,
    /// Writes the file and the plots of any run, into another folder: to try them.
    #[arg(long, hide = true)]
    pub(crate) write_to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

impl Arguments {
    /// Whether all is measured, as it is meant to be: only that becomes the results.
    pub(crate) const fn is_full_run(&self) -> bool {
        !self.quick
            && !self.growth
            && self.soak.is_none()
            && self.only.is_empty()
            && self.contenders.is_empty()
            && self.rounds.is_none()
            && self.round_time.is_none()
    }
}

/// What the program tells its server processes.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Be the server of this contender.
    #[arg(long, hide = true)]
    pub(crate) serve: Option<String>,
    #[command(flatten)]
    pub(crate) settings: ServerSettings,
}

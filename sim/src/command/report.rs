//! What a run of many seeds came to, as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use asyncserver_sim::{Profile, Verdict};
use oracle::Reached;
use serde::{Deserialize, Serialize};

use super::{Trouble, version};

/// What came of seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) seeds: u64,
    pub(crate) seconds: f64,
    pub(crate) virtual_seconds: f64,
    pub(crate) polls: u64,
    pub(crate) failures: Vec<Failed>,
    /// How often each state was reached.
    pub(crate) reached: BTreeMap<String, u64>,
}

/// A plan that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// The seed or the file.
    pub(crate) what: String,
    pub(crate) profile: String,
    pub(crate) kind: String,
    pub(crate) signature: String,
    pub(crate) text: String,
}

impl Failed {
    pub(crate) fn new(what: String, profile: Profile, verdict: &Verdict) -> Self {
        Self {
            what,
            profile: profile.name().to_owned(),
            kind: verdict.kind.to_string(),
            signature: verdict.signature.clone(),
            text: verdict.to_string(),
        }
    }

    /// The line to paste.
    pub(crate) fn line(&self) -> String {
        let profile = match self.profile.as_str() {
            "default" => String::new(),
            profile => format!(" --profile {profile}"),
        };
        let (what, at) = (&self.what, version());
        format!("cargo run --release -p asyncserver-sim -- replay {what}{profile} --at {at}")
    }
}

impl Report {
    pub(crate) fn count(&mut self, reached: &[Reached]) {
        for state in reached {
            *self.reached.entry(format!("{state:?}")).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.version = other.version;
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
    pub(crate) fn missing(&self) -> Vec<String> {
        let all = Reached::ALL.iter().map(|state| format!("{state:?}"));
        all.filter(|state| !self.reached.contains_key(state))
            .collect()
    }

    pub(crate) fn print(&self) {
        println!(
            "{} seeds in {:.1} s: {:.0} a second; {:.0} s of virtual time and {} polls a seed",
            self.seeds,
            self.seconds,
            self.seeds as f64 / self.seconds.max(0.001),
            self.virtual_seconds / self.seeds.max(1) as f64,
            self.polls / self.seeds.max(1),
        );
        let (reached, all) = (
            Reached::ALL.len() - self.missing().len(),
            Reached::ALL.len(),
        );
        println!(
            "{reached} of {all} states reached; never: {}",
            self.missing().join(" ")
        );
        println!("{} failures", self.failures.len());
    }

    pub(crate) fn write_json(&self, file: &Path) -> Result<(), Trouble> {
        Ok(std::fs::write(file, serde_json::to_string_pretty(self)?)?)
    }

    pub(crate) fn write_junit(&self, file: &Path) -> Result<(), Trouble> {
        let failures = self.failures.len();
        let mut xml = format!(
            "<testsuite name=\"sim\" tests=\"{}\" failures=\"{failures}\" time=\"{:.3}\">\n",
            self.seeds, self.seconds
        );
        for failed in &self.failures {
            let (what, signature) = (escaped(&failed.what), escaped(&failed.signature));
            let text = escaped(&format!("{}\n{}", failed.line(), failed.text));
            writeln!(
                xml,
                "<testcase name=\"{what}\" classname=\"{}\"><failure message=\"{signature}\">{text}</failure></testcase>",
                failed.profile
            )?;
        }
        xml.push_str("</testsuite>\n");
        Ok(std::fs::write(file, xml)?)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Puts reports together.
pub(crate) fn merge<F: AsRef<Path>>(files: &[F], json: Option<&Path>) -> Result<ExitCode, Trouble> {
    let mut whole = Report::default();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        whole.add(serde_json::from_str(&text)?);
    }
    for failed in &whole.failures {
        println!("{}\n{}\n", failed.line(), failed.text);
    }
    whole.print();
    if let Some(file) = json {
        whole.write_json(file)?;
    }
    Ok(ExitCode::from(u8::from(!whole.failures.is_empty())))
}

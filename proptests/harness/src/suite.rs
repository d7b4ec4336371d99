//! Suites: cases by chance from a fixed seed, shrunk and kept when they fail.
//!
//! Every run takes the same cases, so that it says the same each time.
//! `PROPTEST_CASES` sets how many, `ASYNCSERVER_SEED` takes others;
//! `PROPTEST_MAX_SHRINK_ITERS` bounds how long a failure is made smaller.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};
use std::path::{Path, PathBuf};

use oracle::Scenario;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::{Failure, Outcome};

/// How long a failing case is made smaller, at most.
const SHRINK_MS: u32 = 60_000;

/// A suite's name, which is part of its seed, and how many cases a gate runs.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// How many cases it runs if nothing else is said.
    pub cases: u32,
}

impl Suite {
    /// Runs the suite over what `strategy` makes.
    ///
    /// # Errors
    /// The smallest value found that `check` rejects, and why.
    pub fn run<S: Strategy>(
        &self,
        strategy: &S,
        check: impl Fn(&S::Value) -> Result<(), String>,
    ) -> Result<u32, (String, S::Value)>
    where
        S::Value: Clone + Debug,
    {
        let cases = number("PROPTEST_CASES").map_or(self.cases, |cases| cases as u32);
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_time: SHRINK_MS,
            max_shrink_iters: shrink_steps(),
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &self.seed());
        let mut runner = TestRunner::new_with_rng(config, rng);
        // Those up to the first that fails; what shrinking tries does not count.
        let (tried, has_failed) = (Cell::new(0_u64), Cell::new(false));
        let judged = runner.run(strategy, |value| {
            tried.set(tried.get() + u64::from(!has_failed.get()));
            let checked = check(&value);
            has_failed.set(has_failed.get() || checked.is_err());
            checked.map_err(TestCaseError::fail)
        });
        match judged {
            Ok(()) => Ok(cases),
            Err(TestError::Fail(why, value)) => {
                println!("{}: failed after {} cases", self.name, tried.get());
                Err((why.message().to_owned(), value))
            }
            Err(TestError::Abort(why)) => panic!("{}: {why}", self.name),
        }
    }

    /// As [`run`](Self::run), over scenarios; a failure is kept as a file.
    ///
    /// # Panics
    /// When a scenario fails, with its timeline and the file's name.
    pub fn run_scenarios(
        &self,
        strategy: &impl Strategy<Value = Scenario>,
        check: impl Fn(&Scenario) -> Result<(), String>,
    ) -> u32 {
        match self.run(strategy, check) {
            Ok(cases) => cases,
            Err((why, mut scenario)) => {
                scenario.about = format!("{}: {}", self.name, first_line(&why));
                let shown = show(&crate::run(&scenario));
                if shrink_steps() == 0 {
                    panic!("{why}\n{shown}");
                }
                let file = keep(&scenario, self.name);
                panic!("{why}\n{shown}kept as {}", file.display());
            }
        }
    }

    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        let number = number("ASYNCSERVER_SEED").unwrap_or(1);
        seed[..8].copy_from_slice(&number.to_le_bytes());
        for (place, byte) in seed[8..].iter_mut().zip(self.name.bytes()) {
            *place = byte;
        }
        seed
    }
}

/// `PROPTEST_MAX_SHRINK_ITERS=0`: the first failure is enough, and is not kept.
fn shrink_steps() -> u32 {
    number("PROPTEST_MAX_SHRINK_ITERS").map_or(5000, |steps| steps as u32)
}

fn number(variable: &str) -> Option<u64> {
    let set = std::env::var(variable).ok()?;
    let number = set.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {set}")))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Where scenarios are kept.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Every kept scenario with its file's name, in the order of the names.
///
/// # Panics
/// When a file cannot be read or is no scenario.
#[must_use]
pub fn kept() -> Vec<(String, Scenario)> {
    let files = std::fs::read_dir(directory()).expect("the directory of scenarios");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|is| is == "json"));
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        (name.into_owned(), read(&file))
    };
    files.into_iter().map(read).collect()
}

/// Reads a scenario.
///
/// # Panics
/// When the file cannot be read or is no scenario.
#[must_use]
pub fn read(file: &Path) -> Scenario {
    let text = std::fs::read_to_string(file);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let scenario = Scenario::from_json(&text);
    scenario.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Keeps a scenario under a name that its contents determine.
///
/// # Panics
/// When it cannot be written.
pub fn keep(scenario: &Scenario, suite: &str) -> PathBuf {
    let text = scenario.to_json();
    // FNV-1a: stable, and good enough for names.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let name = format!("found_{suite}_{:08x}.json", hash >> 32);
    let file = directory().join(name);
    std::fs::write(&file, text).expect("a place for the scenario");
    file
}

/// An outcome for people: its timeline, every fault and every violation.
#[must_use]
pub fn show(outcome: &Outcome) -> String {
    let mut text = outcome.timeline();
    for fault in &outcome.faults {
        let _ = writeln!(text, "FAULT: {fault}");
    }
    for violation in outcome.seen.violations() {
        let _ = writeln!(text, "REJECTED: {}", Failure::Rejected(violation));
    }
    if outcome.verdict().is_ok() {
        text.push_str("ACCEPTED: PROTOCOL allows all of it\n");
    }
    text
}

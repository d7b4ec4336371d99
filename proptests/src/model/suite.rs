//! How a suite runs: scenarios first, then generated cases; what was reached is
//! counted, a failure is shrunk, kept as a scenario and told as a timeline.
//!
//! The cases of a gate run are always the same. `PROPTEST_CASES=10` runs ten
//! times as many, from a seed that is drawn and printed; `PROPTEST_SEED` sets it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde::{Serialize, de::DeserializeOwned};

/// A suite of generated cases.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name, with which its scenarios' file names begin.
    pub name: &'static str,
    /// Cases of a gate run.
    pub cases: u32,
    /// States that a gate run must reach.
    pub reach: &'static [&'static str],
}

/// How library and model differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// They do.
    Found(String),
    /// What follows is a bug of the library that is known, and has a scenario.
    Known(&'static str),
}

/// What a comparison came to.
pub type Compared = Result<(), Difference>;

/// One run of one case.
#[derive(Debug, Default)]
pub struct Run {
    timeline: Option<Vec<String>>,
    reached: BTreeMap<&'static str, u64>,
    /// Known bugs are not excused: a scenario shows them.
    is_strict: bool,
}

impl Run {
    /// A line for the timeline.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(timeline) = &mut self.timeline {
            timeline.push(line());
        }
    }

    /// An interesting state was reached.
    pub fn reach(&mut self, name: &'static str) {
        *self.reached.entry(name).or_default() += 1;
    }

    /// The same, under a condition.
    pub fn reach_if(&mut self, condition: bool, name: &'static str) {
        if condition {
            self.reach(name);
        }
    }

    /// From here on the library is known to be wrong: ends the case, unless a
    /// scenario is to show the bug.
    ///
    /// # Errors
    /// Always, but in a scenario.
    pub fn known_bug(&mut self, name: &'static str) -> Compared {
        if self.is_strict {
            self.note(|| format!("known bug: {name}"));
            return Ok(());
        }
        Err(Difference::Known(name))
    }
}

/// Compares what the model says with what the library says.
///
/// # Errors
/// When they differ.
pub fn same<T: Debug + PartialEq>(rule: &str, model: &T, library: &T) -> Compared {
    if model == library {
        return Ok(());
    }
    Err(Difference::Found(format!(
        "{rule}\n    model:   {model:?}\n    library: {library:?}"
    )))
}

/// What a scenario's file holds.
#[derive(Debug, Serialize, serde::Deserialize)]
struct Scenario<C> {
    /// What it shows.
    about: String,
    /// Set while the library is wrong: the bug that it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_bug: Option<String>,
    case: C,
}

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/models")
}

/// Runs the suite.
///
/// # Panics
/// When library and model differ, or a state of the list was never reached.
pub fn run<C>(
    suite: &Suite,
    strategy: impl Strategy<Value = C>,
    check: impl Fn(&C, &mut Run) -> Compared,
) where
    C: Serialize + DeserializeOwned + Clone + Debug,
{
    replay_scenarios(suite, &check);
    let (cases, seed) = size_and_seed(suite.cases);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: shrink_steps(),
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes(seed));
    let reached = RefCell::new(BTreeMap::new());
    // Those up to the first that fails; what shrinking tries does not count.
    let (tried, has_failed) = (Cell::new(0_u64), Cell::new(false));
    let began = std::time::Instant::now();
    let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |case| {
        let mut run = Run::default();
        let compared = checked(&check, &case, &mut run);
        tried.set(tried.get() + u64::from(!has_failed.get()));
        has_failed.set(has_failed.get() || matches!(compared, Err(Difference::Found(_))));
        for (name, count) in run.reached {
            *reached.borrow_mut().entry(name).or_insert(0) += count;
        }
        match compared {
            Ok(()) => Ok(()),
            Err(Difference::Known(bug)) => {
                *reached.borrow_mut().entry(bug).or_insert(0) += 1;
                Ok(())
            }
            Err(Difference::Found(what)) => Err(TestCaseError::fail(what)),
        }
    });
    let spent = began.elapsed().as_secs_f64();
    println!(
        "{}: {cases} cases in {spent:.1} s, {:.0} a second, seed {seed}",
        suite.name,
        f64::from(cases) / spent
    );
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(_, case)) => {
            println!("{}: failed after {} cases", suite.name, tried.get());
            fail(suite, &check, case)
        }
        Err(TestError::Abort(why)) => panic!("{}: {why}", suite.name),
    }
    tell_reach(suite, &reached.into_inner());
}

/// `PROPTEST_MAX_SHRINK_ITERS=0`: the first failure is enough, and is not kept.
fn shrink_steps() -> u32 {
    let set = std::env::var("PROPTEST_MAX_SHRINK_ITERS").ok();
    set.and_then(|set| set.parse().ok()).unwrap_or(20_000)
}

fn size_and_seed(cases: u32) -> (u32, u64) {
    let number = |name| {
        let value: Option<u64> = std::env::var(name).ok()?.parse().ok();
        value
    };
    let times = number("PROPTEST_CASES");
    let drawn = times.map(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| since.as_nanos() as u64)
    });
    let seed = number("PROPTEST_SEED").or(drawn).unwrap_or(1);
    let times = u32::try_from(times.unwrap_or(1)).unwrap_or(u32::MAX);
    (cases.saturating_mul(times), seed)
}

fn seed_bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

thread_local! {
    /// Whether a panic on this thread is caught, and told by the timeline.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Shrinking would print each panic again.
fn hush_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                tell(panic);
            }
        }));
    });
}

/// A panic of the library is a difference too.
fn checked<C>(check: &impl Fn(&C, &mut Run) -> Compared, case: &C, run: &mut Run) -> Compared {
    hush_caught_panics();
    IS_CAUGHT.set(true);
    let compared = catch_unwind(AssertUnwindSafe(|| check(case, run)));
    IS_CAUGHT.set(false);
    compared.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        let words = words.unwrap_or("no words");
        Err(Difference::Found(format!("panicked: {words}")))
    })
}

/// Runs a case once more and says what happened.
fn timeline_of<C>(check: &impl Fn(&C, &mut Run) -> Compared, case: &C) -> (String, Compared) {
    let mut run = Run {
        timeline: Some(Vec::new()),
        is_strict: true,
        ..Run::default()
    };
    let compared = checked(check, case, &mut run);
    let mut text = String::new();
    for line in run.timeline.unwrap_or_default() {
        let _ = writeln!(text, "  {line}");
    }
    (text, compared)
}

fn fail<C: Serialize + Clone + Debug>(
    suite: &Suite,
    check: &impl Fn(&C, &mut Run) -> Compared,
    case: C,
) -> ! {
    let (timeline, compared) = timeline_of(check, &case);
    let what = match compared {
        Err(Difference::Found(what)) => what,
        other => format!("not reproduced: {other:?}"),
    };
    let scenario = Scenario {
        about: what.clone(),
        open_bug: None,
        case,
    };
    let path = scenarios().join(format!("{}-found.json", suite.name));
    let text = serde_json::to_string_pretty(&scenario).unwrap_or_default();
    let kept = match (shrink_steps() > 0).then(|| std::fs::write(&path, text)) {
        None => "not kept".to_owned(),
        Some(Ok(())) => format!("kept as {}", path.display()),
        Some(Err(error)) => format!("could not be kept: {error}"),
    };
    panic!("{}: {what}\n{timeline}{kept}", suite.name);
}

fn replay_scenarios<C>(suite: &Suite, check: &impl Fn(&C, &mut Run) -> Compared)
where
    C: Serialize + DeserializeOwned,
{
    let mut paths: Vec<PathBuf> = std::fs::read_dir(scenarios())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let own = format!("{}-", suite.name);
            name.is_some_and(|name| name.starts_with(&own) && name.ends_with(".json"))
        })
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        let scenario: Scenario<C> =
            serde_json::from_str(&text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        let (timeline, compared) = timeline_of(check, &scenario.case);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("kept scenario {name}: {}\n{timeline}", scenario.about);
        match (compared, scenario.open_bug) {
            (Ok(()), None) => {}
            (Ok(()), Some(bug)) => {
                panic!("{path:?}: the bug is gone; take the mark away: {bug}")
            }
            (Err(what), Some(bug)) => println!("  open bug: {bug}: {what:?}"),
            (Err(Difference::Found(what)), None) => panic!("{path:?}: {what}\n{timeline}"),
            (Err(Difference::Known(bug)), None) => panic!("{path:?}: {bug}"),
        }
    }
}

fn tell_reach(suite: &Suite, reached: &BTreeMap<&'static str, u64>) {
    for (name, count) in reached {
        println!("  {count:>8}  {name}");
    }
    let missed: Vec<_> = suite
        .reach
        .iter()
        .filter(|name| !reached.contains_key(*name))
        .collect();
    assert!(
        missed.is_empty(),
        "{}: never reached: {missed:?}",
        suite.name
    );
}

/// One of some strategies by weight; those of weight 0 are left out, so that a
/// case's swarm can do without some kinds of step.
///
/// # Panics
/// When nothing is left.
pub fn swarm<T: Debug + 'static>(
    options: Vec<(u32, proptest::strategy::BoxedStrategy<T>)>,
) -> impl Strategy<Value = T> {
    let kept = options.into_iter().filter(|(weight, _)| *weight > 0);
    proptest::strategy::Union::new_weighted(kept.collect())
}

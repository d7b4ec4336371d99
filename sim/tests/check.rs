//! Checks of a user's own server: what breaks a case, and what a case is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asyncserver::client::{Client, ClientBuilder};
use asyncserver::server::{Server, ServerBuilder};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{Broken, Check, Rng, Simulated, Weather};
use bytes::Bytes;

const WORK: TaskCode = TaskCode(1);

/// What is wrong with a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// More than two tasks work at the same time.
    TooMany,
    /// A client panics when it is told that there is no work.
    PanicsAtZero,
    /// A step of this size never ends.
    Hangs(u64),
}

/// Servers that work for as many milliseconds as the message has bytes.
struct Workers {
    bug: Bug,
    busy: AtomicU64,
    answers: AtomicU64,
}

impl Workers {
    const fn new(bug: Bug) -> Self {
        Self {
            bug,
            busy: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        }
    }

    async fn work(self: Arc<Self>, message: Bytes) -> Bytes {
        let _busy = Busy::start(&self);
        tokio::time::sleep(Duration::from_millis(message.len() as u64)).await;
        message
    }
}

struct Busy(Arc<Workers>);

impl Busy {
    fn start(workers: &Arc<Workers>) -> Self {
        workers.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(workers))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Simulated for Workers {
    type Step = u64;

    fn server(self: Arc<Self>, builder: ServerBuilder) -> Server {
        let work = move |_, message| {
            let working = Arc::clone(&self).work(message);
            async move { Ok(working.await) }
        };
        builder.task(WORK, "work", work).build()
    }

    fn client(&self, builder: ClientBuilder) -> Client {
        builder.retries(2).build()
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        rng.below(200)
    }

    fn simpler(&self, step: &u64) -> Vec<u64> {
        if *step > 0 {
            vec![0, step / 2, step - 1]
        } else {
            Vec::new()
        }
    }

    async fn act(self: Arc<Self>, client: Client, ms: u64) {
        assert!(
            self.bug != Bug::PanicsAtZero || ms > 150,
            "no work for {ms}"
        );
        if self.bug == Bug::Hangs(ms) {
            std::future::pending::<()>().await;
        }
        if client.call(WORK, vec![0; ms as usize]).await.is_ok() {
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn always(&self) -> Result<(), String> {
        let busy = self.busy.load(Ordering::Relaxed);
        match self.bug {
            Bug::TooMany if busy > 2 => Err(format!("{busy} work at the same time")),
            _ => Ok(()),
        }
    }

    fn at_rest(&self) -> Result<(), String> {
        let busy = self.busy.load(Ordering::Relaxed);
        (busy == 0)
            .then_some(())
            .ok_or_else(|| "not at rest".to_owned())
    }
}

fn check(bug: Bug) -> Check<Workers> {
    Check::new(move || Workers::new(bug))
}

fn broken(bug: Bug) -> Box<Broken<u64>> {
    check(bug).run().unwrap_err()
}

#[test]
fn an_invariant_that_breaks_on_the_way_is_made_small() {
    let broken = broken(Bug::TooMany);
    assert_eq!(broken.why, "3 work at the same time");
    // Three work, and the fourth step is when it is looked at.
    assert!((3..=4).contains(&broken.small.len()), "{broken}");
    assert_eq!(broken.small.clients.len(), 1, "{broken}");
}

#[test]
fn a_panic_of_a_step_breaks_a_case() {
    let broken = broken(Bug::PanicsAtZero);
    assert_eq!(broken.why, "a panic: no work for 0");
    assert_eq!(broken.small.len(), 1, "{broken}");
}

#[test]
fn a_step_that_never_ends_breaks_a_case() {
    let case = check(Bug::None).case(0);
    let broken = broken(Bug::Hangs(case.steps[0].step));
    assert!(broken.why.starts_with("no progress for 120s"), "{broken}");
    assert_eq!(broken.small.len(), 1, "{broken}");
}

#[test]
fn a_server_without_a_bug_passes_in_any_weather() {
    for weather in [
        Weather::Calm,
        Weather::Delays,
        Weather::Network,
        Weather::Storm,
    ] {
        let check = check(Bug::None).weather(weather).servers(2).seeds(0..60);
        let passed = check.run().unwrap();
        assert_eq!(passed.cases, 60);
        assert!(passed.virtual_time > Duration::from_secs(30), "{passed:?}");
    }
}

#[test]
fn storms_have_crashes_and_calm_cases_no_faults_at_all() {
    let kinds = |weather| {
        let check = check(Bug::None).weather(weather);
        let cases = (0..100).map(|seed| check.case(seed));
        let faults = cases.flat_map(|case| case.faults);
        faults.map(|fault| fault.trouble.kind()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(Weather::Calm), Vec::<&str>::new());
    assert!(!kinds(Weather::Network).contains(&"crash"));
    for kind in ["crash", "restart", "cut", "strike", "door", "fail_accepts"] {
        assert!(kinds(Weather::Storm).contains(&kind), "{kind}");
    }
}

#[test]
fn a_case_is_the_same_each_time_and_so_is_what_comes_of_it() {
    assert_eq!(check(Bug::None).case(9), check(Bug::None).case(9));
    assert_ne!(check(Bug::None).case(9), check(Bug::None).case(10));
    let (one, other) = (broken(Bug::TooMany), broken(Bug::TooMany));
    assert_eq!(one.to_string(), other.to_string());
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn one_seed() {
    let passed = check(Bug::None).seeds(0..50).run().unwrap();
    println!("{} cases", passed.cases);
}

#[test]
fn a_seed_in_the_environment_is_run_alone() {
    let run = |seed: Option<&str>| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "one_seed", "--nocapture"]);
        if let Some(seed) = seed {
            command.env("ASYNCSERVER_SIM_SEED", seed);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(run(None).contains("50 cases"), "{}", run(None));
    assert!(
        run(Some("0x7")).contains("\n1 cases"),
        "{}",
        run(Some("0x7"))
    );
    assert!(run(Some("seven")).contains("FAILED"));
}

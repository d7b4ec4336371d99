//! The course of a case.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use asyncserver::client::Client;
use tokio::sync::oneshot;

use super::log::{Lane, Line, Log, Watching};
use super::trouble::Troubles;
use super::{Case, CaseStep, Check, Simulated};
use crate::timeline::trouble_in_words;
use crate::{Failure, LinkPlan, Run, ServerHost, Trace, World};

/// What came of a case.
pub(super) struct Played {
    pub(super) why: Option<Why>,
    pub(super) log: Vec<Line>,
    pub(super) polls: u64,
    pub(super) elapsed: Duration,
    pub(super) trace_hash: u64,
}

/// Why a case is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    kind: &'static str,
    pub(super) text: String,
}

impl Why {
    const fn new(kind: &'static str, text: String) -> Self {
        Self { kind, text }
    }

    /// Whether both are broken in the same way: the words up to the first
    /// number or list are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let words = |why: &Self| {
            let end = why
                .text
                .find(|c: char| c.is_ascii_digit() || "[{(\"".contains(c));
            why.text[..end.unwrap_or(why.text.len())].to_owned()
        };
        self.kind == other.kind && words(self) == words(other)
    }
}

impl<S: Simulated> Check<S> {
    pub(super) fn play(&self, case: &Case<S::Step>) -> Played {
        let links: BTreeMap<String, LinkPlan> = (0..)
            .zip(&case.clients)
            .map(|(number, client)| (client_name(number), client.link.clone()))
            .collect();
        let mut log = None;
        let place = &mut log;
        let mut why = None;
        let found = &mut why;
        let run: Run<()> = World::builder(case.seed)
            .interleaving(case.interleaving)
            .trace(Trace::digest_only())
            .poll_limit(300_000)
            .plan_links(move |route, _| links.get(&route.client).cloned().unwrap_or_default())
            .run(async move |world| {
                let log = Log::new(world.probe());
                *place = Some(log.clone());
                let mut stage = Stage::set(self, case, world, log);
                stage.play().await;
                *found = stage.first_broken();
            });
        let log = log.map(|log: Log| log.lines()).unwrap_or_default();
        Played {
            why: failure(&run).or(why).or_else(|| left_over(&run)),
            log,
            polls: run.polls,
            elapsed: run.elapsed,
            trace_hash: run.trace.digest().hash,
        }
    }
}

fn failure(run: &Run<()>) -> Option<Why> {
    let (kind, text) = match run.outcome.as_ref().err()? {
        Failure::TaskPanicked(panic) => ("panic", format!("a panic: {}", panic.message)),
        failure => ("failure", failure.to_string()),
    };
    Some(Why::new(kind, text))
}

fn left_over(run: &Run<()>) -> Option<Why> {
    let text = || format!("left over: {:?}", run.residue);
    (!run.residue.is_empty()).then(|| Why::new("residue", text()))
}

fn client_name(number: u32) -> String {
    format!("client-{number}")
}

struct Stage<'c, S: Simulated> {
    subject: Arc<S>,
    case: &'c Case<S::Step>,
    budget: Duration,
    world: World,
    log: Log,
    servers: Vec<ServerHost>,
    clients: Vec<Client>,
    steps: Vec<oneshot::Receiver<()>>,
    broken: Arc<Mutex<Option<Why>>>,
}

impl<'c, S: Simulated> Stage<'c, S> {
    fn set(check: &Check<S>, case: &'c Case<S::Step>, world: World, log: Log) -> Self {
        let subject = Arc::new((check.make)());
        let names: Vec<_> = (0..case.servers.max(1))
            .map(|number| format!("server-{number}"))
            .collect();
        let server = |name: &String| {
            let (subject, log, server) = (Arc::clone(&subject), log.clone(), name.clone());
            world.server(name, move |builder| {
                let (log, server) = (log.clone(), server.clone());
                let builder = builder.observer(Arc::new(Watching { log, server }));
                Arc::clone(&subject).server(builder)
            })
        };
        let servers: Vec<_> = names.iter().map(server).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let client = |number| subject.client(world.client(&client_name(number), &names));
        Self {
            clients: (0..case.clients.len() as u32).map(client).collect(),
            budget: check.budget,
            subject,
            case,
            world,
            log,
            servers,
            steps: Vec::new(),
            broken: Arc::default(),
        }
    }

    /// Everything that the case says, at its time; then everything ends.
    async fn play(&mut self) {
        let mut troubles = Troubles::new(&self.world, &self.servers);
        let mut faults = self.case.faults.iter().peekable();
        for step in &self.case.steps {
            while let Some(fault) = faults.next_if(|fault| fault.at_ms <= step.at_ms) {
                self.until(fault.at_ms).await;
                self.fault(&mut troubles, fault);
            }
            self.until(step.at_ms).await;
            // What happens at one time meets in several ways.
            let mut rng = self.world.seed().child("step", step.id.into()).stream();
            for _ in 0..rng.below(16) {
                tokio::task::yield_now().await;
            }
            self.begin(step);
        }
        for fault in faults {
            self.until(fault.at_ms).await;
            self.fault(&mut troubles, fault);
        }
        self.until(self.case.calm_at_ms).await;
        troubles.end().await;
        self.world.network().calm();
        self.log
            .note(Lane::Network, "network", "faults are over".into());
        self.end().await;
    }

    fn fault(&self, troubles: &mut Troubles, fault: &crate::TimedFault) {
        let what = trouble_in_words(&fault.trouble);
        self.log.note(Lane::Network, "fault", what);
        troubles.begin(&fault.trouble);
    }

    async fn until(&self, at_ms: u64) {
        let at = Duration::from_millis(at_ms);
        tokio::time::sleep(at.saturating_sub(self.world.probe().elapsed())).await;
    }

    fn begin(&mut self, step: &CaseStep<S::Step>) {
        let name = client_name(step.client);
        let Some(client) = self.clients.get(step.client as usize) else {
            return;
        };
        let (log, witness) = (self.log.clone(), self.witness());
        witness.look();
        log.note(Lane::Client, &name, format!("{:?}", step.step));
        let act = Arc::clone(&self.subject).act(client.clone(), step.step.clone());
        let (over, is_over) = oneshot::channel();
        self.steps.push(is_over);
        let (host, what) = (self.world.host(&name), format!("{:?}", step.step));
        let patience = step.gives_up_after_ms.map(Duration::from_millis);
        host.executor().spawn_as("step", async move {
            let ended = match patience {
                None => {
                    act.await;
                    "is done with"
                }
                Some(patience) => tokio::select! {
                    biased;
                    () = act => "is done with",
                    () = tokio::time::sleep(patience) => "gives up",
                },
            };
            log.note(Lane::Client, &name, format!("{ended} {what}"));
            witness.look();
            over.send(()).ok();
        });
    }

    fn witness(&self) -> InvariantWitness<S> {
        InvariantWitness {
            subject: Arc::clone(&self.subject),
            log: self.log.clone(),
            broken: Arc::clone(&self.broken),
        }
    }

    async fn end(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let ending = async {
            for step in steps {
                // It may have panicked, which is judged by itself.
                drop(step.await);
            }
            for client in &self.clients {
                client.close(Duration::from_secs(1)).await;
            }
            for server in &self.servers {
                server.shutdown(Duration::from_secs(2)).await;
            }
        };
        let ended = self.world.while_progressing(self.budget, ending).await;
        let rest = match ended {
            Ok(()) => self.world.at_rest(self.budget).await,
            Err(stalled) => Err(stalled),
        };
        let witness = self.witness();
        witness.look();
        match rest {
            Ok(()) => witness.note("at rest", self.subject.at_rest()),
            Err(stalled) => witness.note("stalled", Err(stalled.to_string())),
        }
    }

    fn first_broken(&self) -> Option<Why> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.clone()
    }
}

/// Looks at the invariants, and keeps the first that does not hold.
struct InvariantWitness<S> {
    subject: Arc<S>,
    log: Log,
    broken: Arc<Mutex<Option<Why>>>,
}

impl<S: Simulated> InvariantWitness<S> {
    fn look(&self) {
        self.note("always", self.subject.always());
    }

    fn note(&self, kind: &'static str, judged: Result<(), String>) {
        let Err(text) = judged else { return };
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            self.log.note(Lane::Server, BROKEN, text.clone());
            *broken = Some(Why::new(kind, text));
        }
    }
}

/// Who it is in the log that says what broke.
pub(super) const BROKEN: &str = "BROKEN";

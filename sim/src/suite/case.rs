//! A case: everything that happens in a run, as data; cases from seeds.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Check, Simulated};
use crate::{Crash, Door, Fault, Interleaving, LinkFaults, LinkPlan, Rng, Seed, TimedFault};
use crate::{Trouble, Writer};

/// Everything that happens in a run of a [`Check`]. What is random in the run
/// itself comes from streams that are keyed by its seed and stable ids: without
/// one of its steps, the others stay as they are.
///
/// ```
/// use asyncserver_sim::Case;
/// let case: Case<String> = serde_json::from_str(r#"{
///     "seed": 7, "servers": 1, "calm_at_ms": 50,
///     "clients": [{}],
///     "steps": [{"id": 0, "at_ms": 5, "client": 0, "step": "buy", "gives_up_after_ms": 3}]
/// }"#).unwrap();
/// assert_eq!(case.steps[0].step, "buy");
/// assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case<T> {
    /// Its story in one line, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Where what is random in the run comes from.
    pub seed: u64,
    /// How many servers there are: `server-0` and so on.
    pub servers: u32,
    /// The clients: `client-0` and so on.
    pub clients: Vec<CaseClient>,
    /// What they do, by time.
    pub steps: Vec<CaseStep<T>>,
    /// What goes wrong, by time.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<TimedFault>,
    /// How tasks of a host are interleaved.
    #[serde(default)]
    pub interleaving: Interleaving,
    /// When faults are over, in milliseconds.
    pub calm_at_ms: u64,
}

/// A client of a case.
///
/// ```
/// assert_eq!(serde_json::to_string(&asyncserver_sim::CaseClient::default()).unwrap(), "{}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseClient {
    /// How its connections behave.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub link: LinkPlan,
}

fn is_plain(link: &LinkPlan) -> bool {
    *link == LinkPlan::default()
}

/// Something that a client does.
///
/// ```
/// use asyncserver_sim::CaseStep;
/// let step: CaseStep<u8> = serde_json::from_str(r#"{"id": 1, "at_ms": 0, "client": 0, "step": 9}"#).unwrap();
/// assert_eq!(step.gives_up_after_ms, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseStep<T> {
    /// Its stable id.
    pub id: u32,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// Whose it is, by number.
    pub client: u32,
    /// What.
    pub step: T,
    /// When the client drops it, in milliseconds from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_up_after_ms: Option<u64>,
}

/// How much goes wrong in the cases of a [`Check`].
///
/// ```
/// use asyncserver_sim::Weather;
/// assert!(Weather::Calm < Weather::Storm);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// Nothing; clients give up all the same.
    Calm,
    /// Bytes are split and take their time.
    Delays,
    /// Connections are cut, reset, stalled and refused, too.
    Network,
    /// Servers crash and are restarted, too.
    Storm,
}

impl<T> Case<T> {
    /// Reads a case.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn from_json(text: &str) -> serde_json::Result<Self>
    where
        T: DeserializeOwned,
    {
        serde_json::from_str(text)
    }

    /// The case as text, for a file that is [kept](Check::kept).
    ///
    /// # Panics
    /// When a step cannot be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String
    where
        T: Serialize,
    {
        serde_json::to_string_pretty(self).expect("the steps have to be JSON")
    }

    /// How many steps and faults it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.steps.len() + self.faults.len()
    }

    /// Whether nothing happens in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: Simulated> Check<S> {
    /// The case of a seed: the same on every machine.
    pub fn case(&self, seed: u64) -> Case<S::Step> {
        let seeds = Seed(seed);
        let mut rng = seeds.child("case", 0).stream();
        let clients = rng.between(1, u64::from(self.clients.max(1)));
        let (clients, steps) = (clients as u32, self.draw_steps(clients as u32, &mut rng));
        let last = steps.last().map_or(0, |step| step.at_ms);
        let most = match self.weather {
            Weather::Calm | Weather::Delays => 0,
            Weather::Network | Weather::Storm => rng.below(4) as u32,
        };
        let mut fault = |id| TimedFault {
            id,
            at_ms: rng.between(0, last.max(100)),
            trouble: self.trouble(clients, &mut rng),
        };
        let mut faults: Vec<_> = (0..most).map(&mut fault).collect();
        faults.sort_by_key(|fault| fault.at_ms);
        let link = |number| {
            let rng = &mut seeds.child("client", u64::from(number)).stream();
            let link = match self.weather {
                Weather::Calm => LinkPlan::default(),
                _ if rng.chance(500) => LinkPlan::default(),
                _ => LinkPlan {
                    to_server: LinkFaults::random_delays(rng),
                    to_client: LinkFaults::random_delays(rng),
                },
            };
            CaseClient { link }
        };
        Case {
            about: String::new(),
            seed,
            servers: self.servers.max(1),
            clients: (0..clients).map(link).collect(),
            steps,
            faults,
            interleaving: Interleaving {
                put_off_permille: *rng.pick(&[0, 100, 300, 450]),
                ..Interleaving::default()
            },
            calm_at_ms: last + rng.between(0, 2000),
        }
    }

    fn draw_steps(&self, clients: u32, rng: &mut Rng) -> Vec<CaseStep<S::Step>> {
        let subject = (self.make)();
        let count = rng.between(1, u64::from(self.steps.max(1)));
        let gives_up = *rng.pick(&[0, 250, 600]);
        let mut at_ms = 0;
        let mut step = |id| {
            // Often at the same time, so that things meet.
            at_ms += if rng.chance(500) { 0 } else { rng.size(500) };
            CaseStep {
                id,
                at_ms,
                client: rng.below(u64::from(clients)) as u32,
                step: subject.draw(rng),
                gives_up_after_ms: rng.chance(gives_up).then(|| rng.size(500) - 1),
            }
        };
        (0..count as u32).map(&mut step).collect()
    }

    fn trouble(&self, clients: u32, rng: &mut Rng) -> Trouble {
        let client = format!("client-{}", rng.below(u64::from(clients)));
        let server = rng.below(u64::from(self.servers.max(1))) as u32;
        let writer = *rng.pick(&[Writer::Client, Writer::Server]);
        let for_ms = rng.size(3000);
        let kinds = if self.weather == Weather::Storm { 8 } else { 6 };
        match rng.below(kinds) {
            0 | 1 => Trouble::Cut {
                client,
                server,
                writer: *rng.pick(&[None, Some(writer)]),
                for_ms,
            },
            2 => Trouble::Door {
                server,
                door: *rng.pick(&[Door::Refusing, Door::Hanging]),
                for_ms,
            },
            3 => Trouble::FailAccepts {
                server,
                count: rng.between(1, 3) as u32,
            },
            4 => Trouble::Strike {
                client,
                server,
                writer,
                fault: Fault::Reset,
            },
            5 => Trouble::Strike {
                client,
                server,
                writer,
                fault: Fault::random(rng),
            },
            6 => Trouble::Crash {
                server,
                how: *rng.pick(&[Crash::Process, Crash::Power]),
                for_ms,
            },
            _ => Trouble::Restart {
                server,
                within_ms: rng.below(1000),
                for_ms: for_ms / 4,
            },
        }
    }
}

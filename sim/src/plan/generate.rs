//! Plans from seeds, swarm style: each seed switches a random subset of
//! operations and faults on, and picks its own settings, small limits often.

use super::events::{caller_events, interruptions, wire_events};
use super::patterns::Pattern;
use super::settings::config;
use super::troubles::{at_bytes, budget_ms, faults, slow_surprises};
use super::{ClientKind, ClientPlan, Phases, Plan};
use crate::{Interleaving, LinkFaults, LinkPlan, Rng, Seed};

/// What plans are about.
///
/// ```
/// use asyncserver_sim::Profile;
/// assert_eq!("tiny-limits".parse(), Ok(Profile::TinyLimits));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Profile {
    /// A bit of everything.
    #[default]
    Default,
    /// Nothing goes wrong.
    Calm,
    /// Everything goes wrong.
    Storm,
    /// Disconnects and shutdowns of all kinds.
    Drain,
    /// Cancels of all kinds.
    Cancel,
    /// The smallest limits and timeouts.
    TinyLimits,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 6] = [
        Self::Default,
        Self::Calm,
        Self::Storm,
        Self::Drain,
        Self::Cancel,
        Self::TinyLimits,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Calm => "calm",
            Self::Storm => "storm",
            Self::Drain => "drain",
            Self::Cancel => "cancel",
            Self::TinyLimits => "tiny-limits",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| format!("{name} is no profile"))
    }
}

impl Plan {
    /// The plan of a seed: the same on every machine.
    #[must_use]
    pub fn generate(seed: u64, profile: Profile) -> Self {
        let seeds = Seed(seed);
        let mut rng = seeds.child("plan", 0).stream();
        let mut clients = clients(seeds, profile, &mut rng);
        let servers = if clients.iter().any(|c| c.kind != ClientKind::Wire) {
            rng.between(1, 2) as u32
        } else {
            1
        };
        let patterns = Pattern::pick(profile, &mut seeds.child("patterns", 0).stream());
        let mut config = config(seeds, profile, &mut rng);
        for (number, pattern) in (1..).zip(&patterns) {
            pattern.set(&mut config, &mut seeds.child("patterns", number).stream());
        }
        let mut events = Vec::new();
        for (number, client) in (0..).zip(&clients) {
            match client.kind {
                ClientKind::Wire => {
                    let seeds = seeds.child("events", number);
                    events.extend(wire_events(client, profile, seeds, &patterns, &config));
                }
                ClientKind::Caller { .. } => {
                    let rng = &mut seeds.child("events", number).stream();
                    caller_events(client, rng, &mut events);
                }
            }
        }
        events.sort_by_key(|event| event.at_ms);
        let last = events.last().map_or(0, |event| event.at_ms);
        let mut faults = faults(&clients, servers, profile, last, &mut rng);
        faults.extend(interruptions(seeds, &clients, servers, profile, &events));
        faults.sort_by_key(|fault| fault.at_ms);
        at_bytes(&mut clients, profile, seeds);
        slow_surprises(&mut clients, &events);
        let budget_ms = budget_ms(&clients);
        let interleaving = Interleaving {
            put_off_permille: *rng.pick(&[0, 100, 300, 450]),
            ..Interleaving::default()
        };
        Self {
            about: String::new(),
            seed,
            config,
            servers,
            clients,
            events,
            faults,
            interleaving,
            phases: Phases {
                calm_at_ms: last + rng.between(0, 2000),
                budget_ms,
            },
        }
    }
}

fn clients(seeds: Seed, profile: Profile, rng: &mut Rng) -> Vec<ClientPlan> {
    let count = rng.between(2, 4);
    let alone = rng.chance(400);
    let client = |number: u64| {
        let rng = &mut seeds.child("client", number).stream();
        let is_wire = alone || rng.chance(500);
        let (name, kind) = if is_wire {
            (format!("wire-{number}"), ClientKind::Wire)
        } else {
            let kind = ClientKind::Caller {
                retries: rng.below(4) as u32,
                negotiates: rng.chance(800),
            };
            (format!("caller-{number}"), kind)
        };
        let calm = match profile {
            Profile::Calm => 1000,
            Profile::Storm => 150,
            _ => 500,
        };
        let link = if rng.chance(calm) {
            LinkPlan::default()
        } else {
            LinkPlan {
                to_server: LinkFaults::random_delays(rng),
                to_client: LinkFaults::random_delays(rng),
            }
        };
        let name = if alone { "wire-0".to_owned() } else { name };
        ClientPlan {
            name,
            kind,
            server: 0,
            link,
        }
    };
    (0..if alone { 1 } else { count }).map(client).collect()
}

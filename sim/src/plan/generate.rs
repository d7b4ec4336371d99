//! Plans from seeds, swarm style: each seed switches a random subset of
//! operations and faults on, and picks its own settings, small limits often.

use oracle::{
    Ask, Config, Does, Limits, Neighbours, OnHalfClose, TaskSpec, Timeouts, scripted_tasks,
};

use super::requests::{ASKS, OPS, Wire, op, pause_ms};
use super::troubles::{at_bytes, budget_ms, faults};
use super::{Action, ClientKind, ClientPlan, Event, Phases, Plan};
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
        let config = config(profile, &mut rng);
        let mut events = Vec::new();
        for (number, client) in (0..).zip(&clients) {
            let rng = &mut seeds.child("events", number).stream();
            match client.kind {
                ClientKind::Wire => wire_events(client, profile, rng, &mut events),
                ClientKind::Caller { .. } => caller_events(client, rng, &mut events),
            }
        }
        events.sort_by_key(|event| event.at_ms);
        let last = events.last().map_or(0, |event| event.at_ms);
        let faults = faults(&clients, servers, profile, last, &mut rng);
        at_bytes(&mut clients, profile, seeds);
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

fn config(profile: Profile, rng: &mut Rng) -> Config {
    let small = match profile {
        Profile::Calm => 100,
        Profile::TinyLimits => 900,
        _ => 300,
    };
    let mut config = Config {
        on_half_close: *rng.pick(&[OnHalfClose::Leave, OnHalfClose::Drain]),
        tasks: tasks(),
        // A client that connects again has tasks of its last connection beside it.
        neighbours: Neighbours::Some,
        ..Config::default()
    };
    config.limits = limits(small, rng);
    config.timeouts = timeouts(small, rng);
    config
}

/// All but `block`: its message may come out of garbage and ask for a month of a
/// thread, which nothing can end. The scripted tasks have threads, too.
fn tasks() -> Vec<TaskSpec> {
    let tasks = scripted_tasks().into_iter();
    tasks.filter(|task| task.does != Does::Block).collect()
}

fn limits(small: u16, rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    let mut or = |place: &mut usize, choices: &[usize]| {
        if rng.chance(small) {
            *place = *rng.pick(choices);
        }
    };
    or(&mut limits.message_bytes, &[10, 300, 5000]);
    or(&mut limits.in_flight, &[1, 2, 3]);
    or(&mut limits.tasks, &[0, 1, 2, 3]);
    or(&mut limits.unsent_bytes, &[1, 100, 5000]);
    or(&mut limits.held_bytes, &[1, 30, 1000]);
    or(&mut limits.server_held_bytes, &[0, 30, 1000]);
    limits
}

fn timeouts(small: u16, rng: &mut Rng) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for place in [
        &mut timeouts.wait_ms,
        &mut timeouts.read_ms,
        &mut timeouts.write_ms,
        &mut timeouts.grace_ms,
        &mut timeouts.linger_ms,
        &mut timeouts.body_ms,
        &mut timeouts.processing_ms,
    ] {
        if rng.chance(small) {
            *place = rng.between(50, 800);
        }
    }
    timeouts
}

/// The operations that a profile always has.
const fn always(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Drain => &["disconnect", "server_disconnect", "disconnect"],
        Profile::Cancel => &["cancel", "cancel", "cancel_all"],
        Profile::Default | Profile::Calm | Profile::Storm | Profile::TinyLimits => &[],
    }
}

fn wire_events(client: &ClientPlan, profile: Profile, rng: &mut Rng, events: &mut Vec<Event>) {
    let mut kinds = vec!["send", "send", "send", "complete"];
    kinds.extend(always(profile));
    for _ in 0..rng.between(0, 7) {
        kinds.push(*rng.pick::<&str>(&OPS));
    }
    let mut wire = Wire {
        asks: (0..rng.between(1, 5)).map(|_| rng.below(ASKS)).collect(),
        longest_pause_ms: *rng.pick(&[0, 50, 700, 9000]),
        most_bytes: most_bytes(&client.link),
    };
    if profile == Profile::Cancel {
        wire.asks.extend([0, 14, 19]);
    }
    let (mut at_ms, mut negotiated) = (0, rng.chance(600));
    for number in 0..rng.between(5, 25) {
        at_ms += pause_ms(rng, wire.longest_pause_ms);
        let action = if std::mem::take(&mut negotiated) {
            Action::Wire(negotiate(rng))
        } else if rng.chance(20) {
            Action::Reconnect
        } else {
            let kind = *rng.pick(&kinds);
            Action::Wire(op(rng, kind, &wire))
        };
        push(events, client, number, at_ms, action);
    }
}

/// Where bytes move in grains, long messages cost much and show nothing new.
fn most_bytes(link: &LinkPlan) -> usize {
    let grain = |faults: &LinkFaults| {
        let sizes = [faults.write_at_most_bytes, faults.read_at_most_bytes];
        let least = sizes.into_iter().flatten().min();
        least.map_or(faults.buffer_bytes, |least| least.min(faults.buffer_bytes))
    };
    match grain(&link.to_server).min(grain(&link.to_client)) {
        0..32 => 4096,
        _ => usize::MAX,
    }
}

fn negotiate(rng: &mut Rng) -> oracle::Op {
    let ask = Ask::Negotiate {
        version: 1,
        features: rng.below(4) as u32,
        bytes: 5,
    };
    oracle::Op::Send {
        request: oracle::Request::new(u32::MAX - 7, ask),
        pieces: Vec::new(),
    }
}

/// The stable id of a client's event: its client's number, and its own.
fn push(events: &mut Vec<Event>, client: &ClientPlan, number: u64, at_ms: u64, action: Action) {
    let host = client.name.rsplit('-').next().and_then(|n| n.parse().ok());
    events.push(Event {
        id: host.unwrap_or(0_u32) * 1000 + number as u32,
        at_ms,
        client: client.name.clone(),
        action,
    });
}

fn caller_events(client: &ClientPlan, rng: &mut Rng, events: &mut Vec<Event>) {
    let longest = *rng.pick(&[50, 700, 3000]);
    let (mut at_ms, mut calls) = (0, Vec::new());
    let base = client.name.rsplit('-').next().and_then(|n| n.parse().ok());
    let base = base.unwrap_or(0_u32) * 1000;
    for number in 0..rng.between(4, 15) {
        at_ms += pause_ms(rng, longest);
        let earlier = calls.last().copied().filter(|_| rng.chance(250));
        let action = match (earlier, rng.below(24)) {
            (Some(call), 0..12) => Action::DropCall(call),
            (Some(call), _) => Action::CancelCall(call),
            (None, 0) => Action::KeepAlive,
            (None, 1) if number > 8 => Action::CloseClient {
                within_ms: rng.below(800),
            },
            _ => {
                calls.push(base + number as u32);
                call(rng, base + number as u32)
            }
        };
        push(events, client, number, at_ms, action);
    }
}

/// A call whose message has a length of its own: that is how it is known again.
fn call(rng: &mut Rng, number: u32) -> Action {
    let rest = number as usize % 4096 + 10;
    let ask = match rng.below(8) {
        0 => Ask::Echo(rest),
        1 => Ask::Digest(rest),
        2 => Ask::Scripted {
            code: rng.between(20, 22) as u8,
            bytes: rest,
        },
        3 => Ask::First(rest),
        _ => Ask::Sleep {
            ms: rng.size(2000) as u32,
            rest,
        },
    };
    Action::Call {
        ask,
        idempotent: rng.chance(250),
        timeout_ms: rng.chance(200).then(|| rng.between(1, 1500)),
    }
}

//! What the clients of a plan do, by time.

use oracle::{Ask, Config, Op, Request};

use super::patterns::{Pattern, negotiate};
use super::requests::{ASKS, OPS, Wire, op, pause_ms};
use super::{Action, ClientKind, ClientPlan, Event, Profile, TimedFault, Trouble, Writer};
use crate::{Fault, LinkFaults, LinkPlan, Rng, Seed};

/// The operations that a profile always has.
const fn always(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Drain => &["disconnect", "server_disconnect", "disconnect"],
        Profile::Cancel => &["cancel", "cancel", "cancel_all"],
        Profile::Default | Profile::Calm | Profile::Storm | Profile::TinyLimits => &[],
    }
}

/// What a wire client does: operations by chance, and [patterns](Pattern) between them.
pub(super) fn wire_events(
    client: &ClientPlan,
    profile: Profile,
    seeds: Seed,
    patterns: &[Pattern],
    config: &Config,
) -> Vec<Event> {
    let mut rng = seeds.stream();
    let wire = Wire::pick(client, profile, &mut rng);
    let mut rng_of_patterns = seeds.child("patterns", 0).stream();
    let patterns: Vec<_> = (0..)
        .zip(patterns)
        .filter(|_| rng_of_patterns.chance(700))
        .collect();
    let noise = match patterns.len() {
        0 => Noise::Loud,
        _ => *rng_of_patterns.pick(&[Noise::Loud, Noise::Quiet]),
    };
    let mut events = by_chance(client, profile, &wire, noise, &mut rng);
    let last = events.last().map_or(0, |event| event.at_ms);
    for (number, pattern) in patterns {
        let rng = &mut seeds.child("pattern", number).stream();
        // Early ones meet a connection that nothing has happened to.
        let mut at_ms = *rng.pick(&[0, 0, last / 4, last]);
        at_ms = rng.below(at_ms + 1);
        let first_id = 100 + 20 * number as u32;
        let steps = pattern.steps(config, &wire, rng, first_id);
        for (step, (pause_ms, op)) in (0..).zip(steps) {
            at_ms += pause_ms;
            let number = 100 * (number + 1) + step;
            push(&mut events, client, number, at_ms, Action::Wire(op));
        }
    }
    events.sort_by_key(|event| event.at_ms);
    aim(&mut events);
    events
}

/// How much happens besides the patterns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noise {
    Loud,
    /// So little that a pattern comes to its end.
    Quiet,
}

fn by_chance(
    client: &ClientPlan,
    profile: Profile,
    wire: &Wire,
    noise: Noise,
    rng: &mut Rng,
) -> Vec<Event> {
    let mut kinds = vec!["send", "send", "send", "complete"];
    kinds.extend(always(profile));
    for _ in 0..rng.between(0, 7) {
        kinds.push(*rng.pick::<&str>(&OPS));
    }
    let mut events = Vec::new();
    let (mut at_ms, mut negotiated) = (0, rng.chance(600));
    let count = match noise {
        Noise::Loud => rng.between(5, 25),
        Noise::Quiet => rng.below(4),
    };
    for number in 0..count {
        at_ms += pause_ms(rng, wire.longest_pause_ms);
        let action = if std::mem::take(&mut negotiated) {
            let ask = negotiate(rng.below(4) as u32);
            Action::Wire(Op::Send {
                request: Request::new(u32::MAX - 7, ask),
                pieces: Vec::new(),
            })
        } else if rng.chance(20) {
            Action::Reconnect
        } else {
            let kind = *rng.pick(&kinds);
            Action::Wire(op(rng, kind, wire))
        };
        push(&mut events, client, number, at_ms, action);
    }
    events
}

/// Ids below this one are what chance has drawn: see [`aim`].
const AIMED: u32 = 6;

/// Most cancels and ends are for ids that had been sent before: a small id stands
/// for one of the last of them, and the last small one for itself, so that cancels
/// of nothing happen.
fn aim(events: &mut [Event]) {
    let ops = events
        .iter_mut()
        .filter_map(|event| match &mut event.action {
            Action::Wire(op) => Some(op),
            _ => None,
        });
    oracle::aim(ops, aimed);
}

fn aimed(id: u32, sent: &[u32]) -> u32 {
    let is_aimed = id + 1 < AIMED && !sent.is_empty();
    let back = (id as usize + 1).min(sent.len());
    if is_aimed {
        sent[sent.len() - back]
    } else {
        id
    }
}

impl Wire {
    fn pick(client: &ClientPlan, profile: Profile, rng: &mut Rng) -> Self {
        let mut wire = Self {
            asks: (0..rng.between(1, 5)).map(|_| rng.below(ASKS)).collect(),
            longest_pause_ms: *rng.pick(&[0, 50, 700, 9000]),
            most_bytes: most_bytes(&client.link),
        };
        if profile == Profile::Cancel {
            wire.asks.extend([0, 14, 19]);
        }
        wire
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

pub(super) fn caller_events(client: &ClientPlan, rng: &mut Rng, events: &mut Vec<Event>) {
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

/// The ids of the faults that interrupt calls begin here.
const INTERRUPTIONS: u32 = 1000;

/// Resets of callers' connections while a call is under way (C3).
pub(super) fn interruptions(
    seeds: Seed,
    clients: &[ClientPlan],
    servers: u32,
    profile: Profile,
    events: &[Event],
) -> Vec<TimedFault> {
    let mut faults = Vec::new();
    for (number, client) in (0..).zip(clients) {
        let rng = &mut seeds.child("interruption", number).stream();
        let is_call = |event: &&Event| {
            event.client == client.name && matches!(event.action, Action::Call { .. })
        };
        let calls: Vec<_> = events.iter().filter(is_call).collect();
        let is_caller = client.kind != ClientKind::Wire && !calls.is_empty();
        if profile == Profile::Calm || !is_caller || !rng.chance(400) {
            continue;
        }
        let call = rng.pick(&calls);
        faults.push(TimedFault {
            id: INTERRUPTIONS + number as u32,
            at_ms: call.at_ms + rng.size(100),
            trouble: Trouble::Strike {
                client: client.name.clone(),
                server: rng.below(u64::from(servers)) as u32,
                writer: *rng.pick(&[Writer::Client, Writer::Server]),
                fault: Fault::Reset,
            },
        });
    }
    faults
}

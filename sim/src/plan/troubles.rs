//! What goes wrong in a plan besides what its links do, by chance.

use oracle::Op;

use super::requests::after_ms;
use super::{Action, ClientPlan, Event, Profile, TimedFault, Trouble, Writer};
use crate::{Crash, Door, Fault, FaultAtByte, LinkFaults, Rng, Seed};

pub(super) fn faults(
    clients: &[ClientPlan],
    servers: u32,
    profile: Profile,
    last: u64,
    rng: &mut Rng,
) -> Vec<TimedFault> {
    let most = match profile {
        Profile::Calm => 0,
        Profile::Storm => 8,
        _ if rng.chance(600) => 0,
        _ => 3,
    };
    let kinds: Vec<u64> = (0..rng.between(1, 3)).map(|_| rng.below(8)).collect();
    let mut faults = Vec::new();
    for id in 0..rng.between(0, most) as u32 {
        let kind = if profile == Profile::Drain {
            1
        } else {
            *rng.pick(&kinds)
        };
        let client = rng.pick(clients);
        let server = rng.below(u64::from(servers)) as u32;
        faults.push(TimedFault {
            id,
            at_ms: rng.between(0, last.max(100)),
            trouble: trouble(rng, kind, &client.name, server),
        });
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn trouble(rng: &mut Rng, kind: u64, client: &str, server: u32) -> Trouble {
    let client = client.to_owned();
    let for_ms = rng.size(3000);
    match kind {
        0 => Trouble::Crash {
            server,
            how: *rng.pick(&[Crash::Process, Crash::Power]),
            for_ms,
        },
        1 => Trouble::Restart {
            server,
            within_ms: after_ms(rng).min(3000),
            for_ms: for_ms / 4,
        },
        2 | 3 => Trouble::Cut {
            client,
            server,
            writer: *rng.pick(&[None, Some(Writer::Client), Some(Writer::Server)]),
            for_ms,
        },
        4 => Trouble::Door {
            server,
            door: *rng.pick(&[Door::Refusing, Door::Hanging]),
            for_ms,
        },
        5 => Trouble::FailAccepts {
            server,
            count: rng.between(1, 3) as u32,
        },
        _ => Trouble::Strike {
            client,
            server,
            writer: *rng.pick(&[Writer::Client, Writer::Server]),
            fault: fault(rng),
        },
    }
}

/// Faults at a byte of each connection of a client: from a stream of its own, so
/// that a plan without them is the same.
pub(super) fn at_bytes(clients: &mut [ClientPlan], profile: Profile, seed: Seed) {
    let chance = match profile {
        Profile::Calm => 0,
        Profile::Storm => 350,
        _ => 120,
    };
    for (number, client) in (0..).zip(clients) {
        let rng = &mut seed.child("at bytes", number).stream();
        if !rng.chance(chance) {
            continue;
        }
        let which = rng.below(3);
        if which != 0 {
            strike_at_bytes(&mut client.link.to_server, rng);
        }
        if which != 1 {
            strike_at_bytes(&mut client.link.to_client, rng);
        }
    }
}

/// A changed byte, or garbage, may ask for much more than was planned: that takes its
/// time, and is no livelock.
pub(super) fn slow_surprises(clients: &mut [ClientPlan], events: &[Event]) {
    let is_garbage = |event: &&Event| matches!(event.action, Action::Wire(Op::Garbage { .. }));
    let sends_garbage = |client: &ClientPlan| {
        let mut garbage = events.iter().filter(is_garbage);
        garbage.any(|event| event.client == client.name)
    };
    for client in clients {
        if changes_a_byte(&client.link.to_server) || sends_garbage(client) {
            let to_client = &mut client.link.to_client;
            to_client.buffer_bytes = to_client.buffer_bytes.max(64);
            to_client.latency_ms = to_client.latency_ms.max(1);
        }
    }
}

/// What nothing may take longer than. A call whose response was changed may have to
/// wait until its timeout (PROTOCOL C4).
pub(super) fn budget_ms(clients: &[ClientPlan]) -> u64 {
    let mut links = clients.iter().map(|client| &client.link);
    if links.any(|link| changes_a_byte(&link.to_server) || changes_a_byte(&link.to_client)) {
        400_000
    } else {
        120_000
    }
}

fn changes_a_byte(link: &LinkFaults) -> bool {
    let mut at_bytes = link.at_bytes.iter();
    at_bytes.any(|at_byte| matches!(at_byte.fault, Fault::Corrupt { .. }))
}

fn strike_at_bytes(link: &mut LinkFaults, rng: &mut Rng) {
    let (most, count) = (*rng.pick(&[16, 400, 8192]), *rng.pick(&[1, 1, 2, 3]));
    for _ in 0..count {
        let fault = match rng.below(4) {
            0 => Fault::Corrupt {
                xor: rng.between(1, 255) as u8,
            },
            _ => fault(rng),
        };
        let byte = rng.size(most) - 1;
        link.at_bytes.push(FaultAtByte { byte, fault });
    }
    link.at_bytes.sort_by_key(|fault| fault.byte);
}

fn fault(rng: &mut Rng) -> Fault {
    match rng.below(10) {
        0..3 => Fault::Reset,
        3 => Fault::HalfClose,
        4 => Fault::Truncate,
        5 => Fault::SilentDeath,
        6 => Fault::Stall {
            ms: rng.between(1, 3000) as u32,
        },
        7 => Fault::SlowReader {
            bytes_per_second: rng.between(100, 20_000) as u32,
        },
        8 => *rng.pick(&[Fault::FlushFails, Fault::ShutdownFails]),
        _ => Fault::SpuriousWake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;

    fn at_bytes_of(plan: &Plan) -> Vec<FaultAtByte> {
        let links = plan.clients.iter().map(|client| client.link.clone());
        links
            .flat_map(|link| [link.to_server.at_bytes, link.to_client.at_bytes].concat())
            .collect()
    }

    #[test]
    fn faults_at_a_byte_come_wherever_something_goes_wrong() {
        for profile in Profile::ALL {
            let plans = (0..300).map(|seed| Plan::generate(seed, profile));
            let plans = plans.filter(|plan| !at_bytes_of(plan).is_empty()).count();
            let is_calm = profile == Profile::Calm;
            assert_eq!(plans == 0, is_calm, "{} of {profile:?}", plans);
            assert!(is_calm || plans > 30, "{plans} of {profile:?}");
        }
    }

    #[test]
    fn every_direction_has_them_in_the_order_of_their_bytes() {
        for seed in 0..300 {
            for client in Plan::generate(seed, Profile::Storm).clients {
                for faults in [client.link.to_server, client.link.to_client] {
                    assert!(faults.at_bytes.is_sorted_by_key(|fault| fault.byte));
                }
            }
        }
    }

    #[test]
    fn bytes_are_changed_at_a_byte_and_time_is_given_for_it() {
        let plans = (0..300).map(|seed| Plan::generate(seed, Profile::Storm));
        let corrupts =
            |fault: &FaultAtByte| matches!(fault.fault, Fault::Corrupt { xor } if xor != 0);
        let (with, without): (Vec<_>, Vec<_>) =
            plans.partition(|plan| at_bytes_of(plan).iter().any(corrupts));
        assert!(with.len() > 20, "{}", with.len());
        assert!(with.iter().all(|plan| plan.phases.budget_ms > 300_000));
        assert!(without.iter().all(|plan| plan.phases.budget_ms == 120_000));
    }

    /// Forty-four bytes of garbage were a request for 841 MB once, over a link that took
    /// them one by one and at once.
    #[test]
    fn what_garbage_asks_for_takes_its_time() {
        let mut senders = 0;
        for plan in (0..300).map(|seed| Plan::generate(seed, Profile::Storm)) {
            let garbage = plan.events.iter();
            let garbage =
                garbage.filter(|event| matches!(event.action, Action::Wire(Op::Garbage { .. })));
            for event in garbage {
                let mut clients = plan.clients.iter();
                let sender = clients.find(|client| client.name == event.client);
                let link = &sender.expect("it is one of them").link.to_client;
                assert!(link.latency_ms >= 1 && link.buffer_bytes >= 64, "{link:?}");
                senders += 1;
            }
        }
        assert!(senders > 30, "{senders}");
    }
}

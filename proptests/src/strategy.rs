//! Scenarios by chance, swarm style: each picks a few kinds of steps, so that
//! a case does much of little; ids are few, so that they collide and are used
//! again; limits are often small, so that they are reached.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;

mod aim;
mod ops;
mod requests;
mod settings;
mod themes;

use self::aim::{SMALL_BUFFER, aim, shorten};
use self::ops::op;
pub use self::ops::run_ends;
use self::requests::{AskStrategy, asks};
pub use self::requests::{ids, requests};
pub use self::settings::configs;
pub use self::themes::Theme;
use crate::Config;
use crate::op::{Neighbour, Op, Scenario, Step};

/// Every kind of [`Op`] from which a scenario picks.
pub const KINDS: [&str; 26] = [
    "send",
    "send_together",
    "cut",
    "garbage",
    "half_close",
    "leave",
    "reset",
    "stop_reading",
    "read_slowly",
    "read_all",
    "stall_writing",
    "stall_reading",
    "unstall",
    "transport_error",
    "list",
    "cancel",
    "cancel_all",
    "disconnect",
    "server_disconnect",
    "end_context",
    "close",
    "drop_connection",
    "shutdown",
    "complete",
    "complete_body",
    "pass",
];

/// Whole scenarios of at most `steps` steps: of any kind, or of a [`Theme`].
pub fn scenarios(steps: usize) -> impl Strategy<Value = Scenario> {
    let themed = Theme::ALL.map(|theme| (1, theme.scenarios(steps).boxed()));
    let any = (4, any_scenarios(steps).boxed());
    Union::new_weighted(themed.into_iter().chain([any]).collect())
}

/// Scenarios of any few kinds of steps and requests.
pub fn any_scenarios(steps: usize) -> impl Strategy<Value = Scenario> {
    let swarm = subsequence(KINDS.to_vec(), 1..=8);
    (configs(), swarm, subsequence(asks(), 1..=6)).prop_flat_map(move |(config, kinds, asks)| {
        // Without requests nothing happens.
        let kinds = [kinds, vec!["send"; 3], vec!["complete"]].concat();
        let few = prop_oneof![7 => Just(0), 1 => Just(1usize)];
        connections(kinds, asks, steps, few.boxed())
            .prop_map(move |connections| scenario(config.clone(), connections))
    })
}

/// When a connection comes, and its steps, each with the pause before it.
type Connection = (u64, Vec<(u64, Op)>);

/// What happens to a first connection, and to so many others. Every second of
/// them begins as the first one does, so that ids meet.
fn connections(
    kinds: Vec<&'static str>,
    asks: Vec<AskStrategy>,
    steps: usize,
    others: BoxedStrategy<usize>,
) -> impl Strategy<Value = Vec<Connection>> {
    let op = select(kinds).prop_flat_map(move |kind| op(kind, &asks));
    let step = (pauses(), op).boxed();
    let first = vec(step.clone(), 1..=steps).prop_map(|steps| (0, steps));
    let comes = prop_oneof![4 => Just(0), 1 => 1..50u64, 1 => 50..700u64];
    let begins = select(vec![Begins::AsTheFirst, Begins::ByItself]);
    let other = (begins, comes, vec(step, 1..=steps.div_ceil(2))).boxed();
    let others = others.prop_flat_map(move |others| vec(other.clone(), others));
    (first, others).prop_map(|(first, others)| {
        let other = |(begins, at_ms, mut steps): (Begins, u64, Vec<_>)| {
            if begins == Begins::AsTheFirst {
                steps.splice(..0, first.1.first().cloned());
            }
            (at_ms, steps)
        };
        let others: Vec<Connection> = others.into_iter().map(other).collect();
        [vec![first], others].concat()
    })
}

/// How another connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    AsTheFirst,
    ByItself,
}

fn scenario(config: Config, connections: Vec<Connection>) -> Scenario {
    let few_bytes = config.transport_buffer_bytes < SMALL_BUFFER;
    let mut connections = connections.into_iter().map(|(at_ms, timed)| {
        let mut steps = in_time(at_ms, timed);
        aim(&mut steps);
        if few_bytes {
            steps.iter_mut().for_each(|step| shorten(&mut step.op));
        }
        Neighbour { at_ms, steps }
    });
    let first = connections.next().unwrap_or_default();
    Scenario {
        about: String::new(),
        config,
        steps: first.steps,
        neighbours: connections.collect(),
    }
}

fn in_time(mut at_ms: u64, timed: Vec<(u64, Op)>) -> Vec<Step> {
    let step = |(pause, op)| {
        at_ms += pause;
        Step { at_ms, op }
    };
    timed.into_iter().map(step).collect()
}

/// Pauses between steps, in milliseconds: mostly none, so that things meet.
fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0), 3 => 1..50u64, 2 => 50..700u64, 1 => 700..9000u64]
}

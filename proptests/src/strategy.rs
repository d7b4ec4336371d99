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
use crate::op::{Op, Scenario, Step};

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
        timed(kinds, asks, steps).prop_map(move |timed| scenario(config.clone(), timed))
    })
}

/// Steps of these kinds with these requests.
fn timed(
    kinds: Vec<&'static str>,
    asks: Vec<AskStrategy>,
    steps: usize,
) -> impl Strategy<Value = Vec<(u64, Op)>> {
    let op = select(kinds).prop_flat_map(move |kind| op(kind, &asks));
    vec((pauses(), op), 1..=steps)
}

fn scenario(config: Config, timed: Vec<(u64, Op)>) -> Scenario {
    let mut steps = in_time(timed);
    aim(&mut steps);
    if config.transport_buffer_bytes < SMALL_BUFFER {
        steps.iter_mut().for_each(|step| shorten(&mut step.op));
    }
    Scenario {
        about: String::new(),
        config,
        steps,
    }
}

fn in_time(timed: Vec<(u64, Op)>) -> Vec<Step> {
    let mut at_ms = 0;
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

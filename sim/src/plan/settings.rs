//! A plan's settings, small limits often.

use oracle::{
    Config, Does, Limits, Neighbours, OnHalfClose, PLACES, TaskSpec, Timeouts, place,
    scripted_tasks,
};

use super::Profile;
use crate::{Rng, Seed};

pub(super) fn config(seeds: Seed, profile: Profile, rng: &mut Rng) -> Config {
    let small = match profile {
        Profile::Calm => 100,
        Profile::TinyLimits => 900,
        _ => 300,
    };
    let mut config = Config {
        on_half_close: *rng.pick(&[OnHalfClose::Leave, OnHalfClose::Drain]),
        tasks: tasks(&mut seeds.child("tasks", 0).stream()),
        // A client that connects again has tasks of its last connection beside it.
        neighbours: Neighbours::Some,
        ..Config::default()
    };
    config.limits = limits(small, rng);
    let of_connections = &mut seeds.child("limits", 0).stream();
    if of_connections.chance(small / 4) {
        config.limits.connections = *of_connections.pick(&[1, 2]);
    }
    config.timeouts = timeouts(small, rng);
    config
}

/// All but `block`: its message may come out of garbage and ask for a month of a
/// thread, which nothing can end. The scripted tasks have threads, too.
fn tasks(rng: &mut Rng) -> Vec<TaskSpec> {
    let mut tasks = scripted_tasks();
    tasks.retain(|task| task.does != Does::Block);
    place(&mut tasks, *rng.pick(&PLACES));
    tasks
}

fn limits(small: u16, rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    let mut or = |place: &mut usize, choices: &[usize]| {
        if rng.chance(small) {
            *place = *rng.pick(choices);
        }
    };
    or(&mut limits.message_bytes, &[0, 10, 300, 5000]);
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

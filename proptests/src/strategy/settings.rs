//! Settings by chance.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{
    Config, Limits, Neighbours, OnHalfClose, Order, PLACES, TaskSpec, Timeouts, Tolerance, place,
    scripted_tasks,
};

/// Settings: often PROTOCOL's own, often small ones.
pub fn configs() -> impl Strategy<Value = Config> {
    let order = select(vec![Order::Big, Order::Little]);
    let half_close = select(vec![OnHalfClose::Leave, OnHalfClose::Drain]);
    let buffer = select(vec![1, 7, 64, 1024, 1024, 1 << 16, 1 << 16]);
    (
        order,
        half_close,
        option::of(0..4u32),
        limits(),
        timeouts(),
        (buffer, tasks()),
    )
        .prop_map(
            |(byte_order, on_half_close, negotiate, limits, timeouts, (buffer, tasks))| Config {
                byte_order,
                on_half_close,
                negotiate,
                limits,
                timeouts,
                tasks,
                transport_buffer_bytes: buffer,
                neighbours: Neighbours::None,
                tolerance: Tolerance::default(),
            },
        )
}

/// All tasks, in places of all kinds.
fn tasks() -> impl Strategy<Value = Vec<TaskSpec>> {
    select(PLACES.to_vec()).prop_map(|places| {
        let mut tasks = scripted_tasks();
        place(&mut tasks, places);
        tasks
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let d = Limits::default();
    fn or(default: usize, small: Vec<usize>) -> impl Strategy<Value = usize> {
        prop_oneof![2 => Just(default), 1 => select(small)]
    }
    (
        or(d.message_bytes, vec![0, 10, 300, 5000]),
        or(d.in_flight, vec![1, 2, 3]),
        or(d.tasks, vec![0, 1, 2, 3]),
        or(d.unsent_bytes, vec![1, 100, 5000]),
        or(d.held_bytes, vec![1, 30, 1000]),
        or(d.server_held_bytes, vec![0, 30, 1000]),
    )
        .prop_map(
            move |(message, in_flight, tasks, unsent, held, server_held)| Limits {
                message_bytes: message,
                in_flight,
                tasks,
                unsent_bytes: unsent,
                held_bytes: held,
                server_held_bytes: server_held,
                ..d
            },
        )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let d = Timeouts::default();
    let or = |default: u64| prop_oneof![2 => Just(default), 1 => 50..800u64];
    (
        (or(d.wait_ms), or(d.read_ms), or(d.write_ms), or(d.grace_ms)),
        (or(d.linger_ms), or(d.body_ms), or(d.processing_ms)),
    )
        .prop_map(
            move |((wait, read, write, grace), (linger, body, processing))| Timeouts {
                wait_ms: wait,
                read_ms: read,
                write_ms: write,
                grace_ms: grace,
                linger_ms: linger,
                body_ms: body,
                processing_ms: processing,
                ..d
            },
        )
}

//! The world's streams against real ones: what each transport does, expectation
//! by expectation. What they do differently, and must, is in the table, and
//! asserted there: neither side can drift.

mod closing;
mod reading;
mod resetting;
mod table;
mod transports;
mod words;
mod writing;

use table::{Sizes, TABLE};
use transports::Transport;

/// Compares everything that a transport does with the table.
fn conforms(transport: Transport) {
    let mut wrong = Vec::new();
    for expectation in TABLE {
        if matches!(transport, Transport::Delayed(_)) && expectation.sizes == Sizes::Matter {
            continue;
        }
        let (expected, seen) = (
            expectation.of(transport),
            transport.show_to(expectation.observe),
        );
        if expected != seen {
            let name = expectation.name;
            wrong.push(format!("{name}\n  expected {expected}\n  seen     {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{transport:?}:\n{}", wrong.join("\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn tcp_does_what_the_table_says() {
    conforms(Transport::Tcp);
}

#[test]
fn duplex_does_what_the_table_says() {
    conforms(Transport::Duplex);
}

#[test]
fn the_simulated_stream_does_what_the_table_says() {
    conforms(Transport::Simulated);
}

#[test]
fn the_simulated_stream_does_the_same_with_delays_and_sizes_at_random() {
    for seed in 0..8 {
        conforms(Transport::Delayed(seed));
    }
}

#[test]
fn a_wrapped_stream_does_what_the_table_says() {
    conforms(Transport::Wrapped);
}

#[test]
fn turmoils_stream_does_what_the_table_says() {
    conforms(Transport::Turmoil);
}

#[test]
fn turmoils_stream_wrapped_does_what_the_table_says() {
    conforms(Transport::Adapted);
}

#[test]
fn every_difference_in_the_table_is_one() {
    for expectation in TABLE {
        for difference in expectation.differences {
            assert_ne!(difference.seen, expectation.tcp, "{}", expectation.name);
            assert!(!difference.why.is_empty(), "{}", expectation.name);
        }
    }
}

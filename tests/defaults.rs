//! What is set where nobody sets anything: PROTOCOL section 7's defaults, and
//! E5's.

use std::time::Duration;

use asyncserver::server::{Limits, Timeouts};

#[test]
fn default_limits_are_those_of_section_7() {
    let limits = Limits::default();
    let expected = [
        ("L4", limits.message_limit_bytes, 4_194_304),
        ("L5", limits.in_flight_limit, 1_024),
        ("L6", limits.task_limit, 65_536),
        ("L7", limits.unsent_limit_bytes, 1_048_576),
        (
            "L7, server",
            limits.server_unsent_limit_bytes,
            1_073_741_824,
        ),
        ("L8", limits.connection_limit, 10_000),
        ("L16", limits.held_limit_bytes, 16_777_216),
        ("L16, server", limits.server_held_limit_bytes, 1_073_741_824),
    ];
    for (rule, found, expected) in expected {
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn default_timeouts_are_those_of_section_7() {
    let timeouts = Timeouts::default();
    let expected = [
        ("L1", timeouts.wait, 1_800),
        ("L2", timeouts.read, 5),
        ("L3", timeouts.write, 5),
        ("L9", timeouts.handshake, 10),
        ("L10", timeouts.grace, 10),
        ("L11", timeouts.linger, 2),
        ("L14", timeouts.task_function, 5),
        ("L15", timeouts.body, 30),
        ("E5", timeouts.processing_interval, 15),
    ];
    for (rule, found, seconds) in expected {
        assert_eq!(found, Duration::from_secs(seconds), "{rule}");
    }
}

//! A seed means one run: two processes write the same trace, byte for byte, and
//! whatever leaks into one of them from outside is caught.

mod workload;

use std::collections::{HashMap, hash_map::RandomState};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use asyncserver_sim::{Divergence, Trace};

const SEEDS: u64 = 8;
const FILE: &str = "SIM_TEST_TRACE_FILE";
const PLANTED: &str = "SIM_TEST_PLANTED_LEAK";

/// Not a test by itself: what the tests below run, each time in a process of its own.
#[test]
#[ignore = "run by the tests below, in processes of their own"]
fn one_process() {
    let file = std::env::var_os(FILE).expect("run by the tests below");
    let planted = std::env::var(PLANTED).unwrap_or_default();
    let mut text = String::new();
    for seed in 0..SEEDS {
        let (mut numbers, mut pause) = ((0..8).collect::<Vec<usize>>(), Duration::ZERO);
        match planted.as_str() {
            "hash map" => {
                let map: HashMap<usize, (), RandomState> =
                    numbers.iter().map(|n| (*n, ())).collect();
                numbers = map.keys().copied().collect();
            }
            "wall clock" => {
                let wall = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap();
                pause = Duration::from_millis(u64::from(wall.subsec_nanos() % 997));
            }
            _ => {}
        }
        let run = workload::run(seed, Trace::full(), numbers, pause);
        text.push_str(&format!("seed {seed}\n{}", run.trace.text()));
        text.push_str(&format!("{:?} after {:?}\n", run.outcome, run.elapsed));
    }
    std::fs::write(file, text).unwrap();
}

fn trace_of_a_process(name: &str, planted: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "one_process"])
        .env(FILE, &file)
        .env(PLANTED, planted)
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn two_processes_write_the_same_trace() {
    let (one, other) = (
        trace_of_a_process("one", ""),
        trace_of_a_process("other", ""),
    );
    assert!(
        one.lines().count() > 10_000,
        "{} events",
        one.lines().count()
    );
    if let Some(divergence) = Divergence::between(&one, &other) {
        panic!("{divergence}");
    }
}

#[test]
fn a_trace_names_nothing_of_its_process() {
    let trace = trace_of_a_process("alone", "");
    for word in ["0x", "ThreadId", "Instant"] {
        let leak = trace.lines().find(|line| line.contains(word));
        assert_eq!(leak, None, "{word}");
    }
}

#[test]
fn the_order_of_a_hash_map_is_caught_at_the_first_event_that_differs() {
    let trace = |name| trace_of_a_process(name, "hash map");
    let divergence = Divergence::between(&trace("map-1"), &trace("map-2")).unwrap();
    assert!(divergence.left.contains("client-") || divergence.right.contains("client-"));
    assert!(divergence.event < 50, "{divergence}");
}

#[test]
fn a_look_at_the_wall_clock_is_caught() {
    let trace = |name| trace_of_a_process(name, "wall clock");
    let divergence = Divergence::between(&trace("wall-1"), &trace("wall-2")).unwrap();
    assert_ne!(divergence.left, divergence.right);
}

//! A check means the same in every process; what leaks into its cases from
//! outside makes its traces differ.

#[path = "../examples/reservations.rs"]
mod example;

use std::collections::{HashMap, hash_map::RandomState};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use asyncserver::client::Client;
use asyncserver::server::{Server, ServerBuilder};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{Check, Rng, Simulated, Weather};
use example::OnCancel;

const LEAK: &str = "SIM_TEST_LEAK";

/// A server whose task takes as long as the first key of a `HashMap` says.
struct Leaking;

impl Simulated for Leaking {
    type Step = u8;

    fn server(self: Arc<Self>, builder: ServerBuilder) -> Server {
        let task = async |_, message: bytes::Bytes| {
            let keys = (0..64).map(|key| (key, ()));
            let map: HashMap<u64, (), RandomState> = keys.collect();
            let first = map.keys().next().copied();
            tokio::time::sleep(Duration::from_millis(first.unwrap_or(0))).await;
            Ok(message)
        };
        builder.task(TaskCode(1), "leak", task).build()
    }

    fn draw(&self, rng: &mut Rng) -> u8 {
        rng.below(9) as u8
    }

    async fn act(self: Arc<Self>, client: Client, step: u8) {
        drop(client.call(TaskCode(1), vec![step]).await);
    }
}

/// Not a test by itself: what the tests below run, each time in a process of its own.
#[test]
#[ignore = "run by the tests below, in processes of their own"]
fn one_process() {
    let hash = match std::env::var_os(LEAK) {
        Some(_) => {
            Check::new(|| Leaking)
                .seeds(0..10)
                .run()
                .unwrap()
                .trace_hash
        }
        None => {
            let check = example::check(OnCancel::Release).seeds(0..60);
            check.weather(Weather::Storm).run().unwrap().trace_hash
        }
    };
    println!("trace hash {hash:016x}");
}

fn hash_of_a_process(leak: Option<&str>) -> String {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--ignored", "--exact", "one_process", "--nocapture"]);
    process.envs(leak.map(|leak| (LEAK, leak)));
    let output = process.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let hash = text
        .lines()
        .find_map(|line| line.split("trace hash ").nth(1));
    hash.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn two_processes_run_the_same_cases() {
    assert_eq!(hash_of_a_process(None), hash_of_a_process(None));
}

#[test]
fn the_order_of_a_hash_map_makes_two_processes_differ() {
    let leak = Some("hash map");
    assert_ne!(hash_of_a_process(leak), hash_of_a_process(leak));
}

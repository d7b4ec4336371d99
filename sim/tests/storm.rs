//! Everything at once: calls of all kinds, given up at random; servers that are
//! shut down, killed, cut off and started again; small limits. What must hold
//! whatever happens: every call ends, no answer is wrong, every report adds up,
//! a shutdown returns in time, and nothing is left over.
//!
//! `SIM_SEEDS=100000 cargo test --release --test storm` looks further.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use asyncserver::client::{CallError, Client, Negotiation};
use asyncserver::runtime::Endpoints;
use asyncserver::server::{
    ClientHandle, ConnectionReport, Execution, Limits, Observer, OnCancel, Registration, Server,
    ServerBuilder, Task, TaskContext, TaskFunction, Timeouts,
};
use asyncserver::server::{MessageReader, Request, TaskFunctionError};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{Crash, Door, End, Fault, LinkFaults, LinkPlan, Rng, Run, ServerHost, World};
use bytes::Bytes;

const ECHO: TaskCode = TaskCode(1);
const SLEEP: TaskCode = TaskCode(2);
const COOPERATE: TaskCode = TaskCode(3);
const BLOCK: TaskCode = TaskCode(4);
const COUNT: TaskCode = TaskCode(5);
const PANIC: TaskCode = TaskCode(6);
const SPAWNED: TaskCode = TaskCode(7);
const UNKNOWN: TaskCode = TaskCode(99);

/// Reports of connections, as they come.
#[derive(Debug, Default)]
struct Reports(Mutex<Vec<ConnectionReport>>);

impl Observer for Reports {
    fn wants_task_events(&self) -> bool {
        true
    }
    fn connection_refused(&self, _: &Endpoints, report: &ConnectionReport) {
        self.0.lock().unwrap().push(report.clone());
    }
    fn connection_closed(&self, _: &ClientHandle, report: &ConnectionReport) {
        self.0.lock().unwrap().push(report.clone());
    }
}

struct Count;

impl TaskFunction for Count {
    async fn read(
        &self,
        _: Request,
        message: &mut MessageReader,
    ) -> Result<Task, TaskFunctionError> {
        let mut length = 0_u32;
        while let Some(chunk) = message.chunk().await {
            length += u32::try_from(chunk.len())?;
        }
        Ok(Task::run(async move |_| {
            tokio::task::yield_now().await;
            Ok(length.to_be_bytes().to_vec())
        }))
    }
}

async fn sleep(_: TaskContext, message: Bytes) -> Result<Bytes, asyncserver::server::TaskError> {
    tokio::time::sleep(Duration::from_millis(message.len() as u64)).await;
    Ok(message)
}

fn limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    let mut size = |most: u64| usize::try_from(rng.size(most)).unwrap();
    limits.in_flight_limit = size(16);
    limits.task_limit = size(64);
    limits.unsent_limit_bytes = size(4096);
    limits.server_unsent_limit_bytes = size(64 << 10);
    limits.held_limit_bytes = size(8192);
    limits.message_limit_bytes = 300 + size(2000);
    limits.connection_limit = 1 + size(8);
    limits
}

fn timeouts(rng: &mut Rng) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let mut some = |most: u64| Duration::from_millis(rng.between(1, most));
    timeouts.wait = some(5_000);
    timeouts.read = some(3_000);
    timeouts.write = some(3_000);
    timeouts.linger = some(1_000);
    timeouts.processing_interval = some(300);
    timeouts
}

fn build(builder: ServerBuilder, seed: asyncserver_sim::Seed, reports: Arc<Reports>) -> Server {
    let mut rng = seed.child("server", 0).stream();
    let builder = if rng.chance(600) {
        builder.limits(limits(&mut rng))
    } else {
        builder
    };
    let builder = if rng.chance(600) {
        builder.timeouts(timeouts(&mut rng))
    } else {
        builder
    };
    let grace = Duration::from_millis(rng.between(1, 400));
    builder
        .observer(reports)
        .task(ECHO, "echo", async |_, message| Ok(message))
        .register(SLEEP, "sleep", Registration::task(sleep))
        .register(
            COOPERATE,
            "cooperate",
            Registration::task(async |task: TaskContext, message: Bytes| {
                let after = Duration::from_millis(message.len() as u64);
                let cancelled = tokio::time::timeout(after, task.cancelled()).await.is_ok();
                if cancelled {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(message)
            })
            .on_cancel(OnCancel::Cooperate { grace }),
        )
        .register(
            BLOCK,
            "block",
            Registration::blocking(|_: TaskContext, message: Bytes| Ok(message)),
        )
        .task_function(COUNT, "count", Count)
        .task(PANIC, "panic", async |_, message: Bytes| {
            tokio::task::yield_now().await;
            if message.len() < 1_000_000 {
                panic!("as asked");
            }
            Ok(message)
        })
        .register(
            SPAWNED,
            "spawned",
            Registration::task(sleep).execution(Execution::Spawn),
        )
        .build()
}

/// One call, perhaps given up; panics if its answer is wrong.
async fn call(client: Client, mut rng: Rng) -> &'static str {
    tokio::time::sleep(rng.up_to_ms(2000)).await;
    let codes = [
        ECHO, SLEEP, COOPERATE, BLOCK, COUNT, PANIC, SPAWNED, UNKNOWN,
    ];
    let code = *rng.pick(&codes);
    let message = vec![code.0; usize::try_from(rng.size(600)).unwrap() - 1];
    let mut request = client.request(code).message(message.clone());
    if rng.chance(300) {
        request = request.idempotent();
    }
    if rng.chance(200) {
        request = request.response_timeout(rng.up_to_ms(1500));
    }
    let mut pending = request.submit();
    let patience = rng.up_to_ms(800);
    let answer = if rng.chance(250) {
        match tokio::time::timeout(patience, &mut pending).await {
            Ok(answer) => answer,
            Err(_) => return "given up",
        }
    } else {
        pending.await
    };
    match answer {
        Ok(answer) if code == COUNT => {
            assert_eq!(
                answer,
                u32::try_from(message.len()).unwrap().to_be_bytes().to_vec()
            );
            "answered"
        }
        Ok(answer) => {
            assert_eq!(answer, message, "{code}");
            assert!(code != PANIC && code != UNKNOWN);
            "answered"
        }
        Err(CallError::Protocol { violation }) => panic!("{violation}"),
        Err(_) => "failed",
    }
}

async fn chaos(world: World, servers: [ServerHost; 2], mut rng: Rng) {
    for _ in 0..rng.below(6) {
        tokio::time::sleep(rng.up_to_ms(800)).await;
        let server = rng.pick(&servers).clone();
        let name = server.host().name().to_owned();
        let client = format!("client-{}", rng.below(3));
        let pause = rng.up_to_ms(3000);
        let network = world.network();
        match rng.below(9) {
            0 => {
                let within = rng.up_to_ms(1500);
                let before = world.probe().elapsed();
                drop(server.shutdown(within).await);
                let took = world.probe().elapsed().saturating_sub(before);
                assert!(
                    took <= within + Duration::from_secs(1),
                    "a shutdown took {took:?}"
                );
                tokio::time::sleep(pause / 4).await;
                server.restart();
            }
            1 | 2 => {
                let crash = *rng.pick(&[Crash::Process, Crash::Power]);
                server.host().crash(crash).await;
                tokio::time::sleep(pause).await;
                server.restart();
            }
            3 => {
                network.cut(&client, &name);
                tokio::time::sleep(pause).await;
                network.heal(&client, &name);
            }
            4 => {
                network.cut_both_ways(&client, &name);
                tokio::time::sleep(pause).await;
                network.heal_both_ways(&client, &name);
            }
            5 => {
                network.set_door(&name, *rng.pick(&[Door::Refusing, Door::Hanging]));
                tokio::time::sleep(pause).await;
                network.set_door(&name, Door::Open);
            }
            6 => network.fail_accepts(&name, 2),
            7 => server.server().disconnect(rng.up_to_ms(500)),
            _ => {
                let writer = *rng.pick(&[End::Client, End::Server]);
                let faults = [
                    Fault::Reset,
                    Fault::Stall { ms: 700 },
                    Fault::HalfClose,
                    Fault::FlushFails,
                    Fault::ShutdownFails,
                    Fault::SpuriousWake,
                    Fault::SlowReader {
                        bytes_per_second: 3000,
                    },
                ];
                network.strike(&client, &name, writer, *rng.pick(&faults));
            }
        }
    }
}

fn run(seed: u64) -> Run<Vec<&'static str>> {
    World::builder(seed)
        .time_limit(Duration::from_secs(1800))
        .poll_limit(100_000)
        .plan_links(|_, rng| LinkPlan {
            to_server: LinkFaults::random_failures(rng),
            to_client: LinkFaults::random_failures(rng),
        })
        .run(async |world| {
            let reports = Arc::new(Reports::default());
            let servers = ["server-1", "server-2"].map(|name| {
                let (seed, reports) = (world.host(name).seed(), Arc::clone(&reports));
                world.server(name, move |builder| {
                    build(builder, seed, Arc::clone(&reports))
                })
            });
            let clients: Vec<_> = (0..3)
                .map(|number| {
                    let name = format!("client-{number}");
                    let mut rng = world.host(&name).seed().child("set up", 0).stream();
                    let mut client = world.client(&name, &["server-1", "server-2"]).retries(2);
                    if rng.chance(300) {
                        client = client.negotiation(Negotiation::Skip);
                    }
                    (name, client.build())
                })
                .collect();
            let mut calls = Vec::new();
            for (name, client) in &clients {
                let host = world.host(name);
                for number in 0..15 {
                    let rng = host.seed().child("call", number).stream();
                    calls.push(host.executor().run_as("call", call(client.clone(), rng)));
                }
            }
            let rng = world.seed().child("chaos", 0).stream();
            let chaos = world
                .host("chaos")
                .executor()
                .run_as("chaos", chaos(world.clone(), servers.clone(), rng));
            chaos.await.expect("chaos does not panic");
            world.network().calm();
            let mut ended = Vec::new();
            for call in calls {
                ended.push(call.await.expect("a call's task panicked"));
            }
            for (_, client) in clients {
                client.close(Duration::from_secs(1)).await;
            }
            for server in &servers {
                server.shutdown(Duration::from_secs(2)).await;
            }
            for report in &*reports.0.lock().unwrap() {
                assert!(report.counts.add_up(), "{report:?}");
                let interrupted = report.interrupted.len() as u64;
                assert_eq!(report.counts.interrupted, interrupted, "{report:?}");
            }
            ended
        })
}

#[test]
fn whatever_happens_every_call_ends_and_nothing_is_left_over() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("as asked") {
            eprintln!("{text}");
        }
    }));
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text: String| text.parse().ok())
    };
    let from: u64 = number("SIM_FROM").unwrap_or(0);
    let seeds: u64 = number("SIM_SEEDS").unwrap_or(30);
    let (mut tally, mut failures) = (std::collections::BTreeMap::new(), Vec::new());
    for seed in from..from + seeds {
        let run = run(seed);
        if !run.residue.is_empty() {
            failures.push(format!("seed {seed}: {:?}", run.residue));
        }
        match run.outcome {
            Ok(ended) => ended
                .into_iter()
                .for_each(|word| *tally.entry(word).or_insert(0) += 1),
            Err(failure) => failures.push(format!("seed {seed}: {failure}")),
        }
    }
    println!("{tally:?}");
    assert!(
        failures.is_empty(),
        "{} of {seeds}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(tally["answered"] > tally["failed"], "{tally:?}");
}

//! Two servers and eight clients under random faults: every call ends, and
//! nothing is left over.

use std::time::Duration;

use asyncserver::client::CallError;
use asyncserver::server::{Registration, Server, ServerBuilder, TaskContext};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{LinkFaults, LinkPlan, Run, World};
use bytes::Bytes;

const ECHO: TaskCode = TaskCode(1);
const SLEEP: TaskCode = TaskCode(2);

fn build(builder: ServerBuilder) -> Server {
    builder
        .task(ECHO, "echo", async |_, message| Ok(message))
        .register(
            SLEEP,
            "sleep",
            Registration::task(async |_: TaskContext, message: Bytes| {
                tokio::time::sleep(Duration::from_millis(message.len() as u64)).await;
                Ok(message)
            }),
        )
        .build()
}

/// Calls that ended, well or not.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    failed: usize,
}

async fn one_client(world: World, name: String, servers: [&'static str; 2]) -> Tally {
    let client = world.client(&name, &servers).retries(3).build();
    let mut rng = world.host(&name).seed().child("calls", 0).stream();
    let mut tally = Tally::default();
    for _ in 0..3 {
        let batch: Vec<_> = (0..rng.between(1, 6))
            .map(|_| {
                let code = *rng.pick(&[ECHO, SLEEP]);
                let message = vec![7; usize::try_from(rng.size(400)).unwrap()];
                (message.clone(), client.submit(code, message))
            })
            .collect();
        for (message, call) in batch {
            match call.await {
                Ok(answer) => {
                    assert_eq!(answer, message);
                    tally.answered += 1;
                }
                Err(CallError::Protocol { violation }) => panic!("{violation}"),
                Err(_) => tally.failed += 1,
            }
        }
        tokio::time::sleep(rng.up_to_ms(200)).await;
    }
    client.close(Duration::from_secs(1)).await;
    tally
}

fn run(seed: u64) -> Run<Tally> {
    World::builder(seed)
        .plan_links(|_, rng| LinkPlan {
            to_server: LinkFaults::random_failures(rng),
            to_client: LinkFaults::random_failures(rng),
        })
        .run(async |world| {
            let servers = ["server-1", "server-2"].map(|name| world.server(name, build));
            let names = [["server-1", "server-2"], ["server-2", "server-1"]];
            let clients: Vec<_> = (0..8)
                .map(|number| {
                    let name = format!("client-{number}");
                    let executor = world.host(&name).executor().clone();
                    executor.run_as("user", one_client(world.clone(), name, names[number % 2]))
                })
                .collect();
            let mut tally = Tally::default();
            for client in clients {
                let one = client.await.expect("no client panics");
                tally.answered += one.answered;
                tally.failed += one.failed;
            }
            world.network().calm();
            for server in servers {
                server.shutdown(Duration::from_secs(5)).await;
            }
            tally
        })
}

#[test]
fn every_call_ends_and_nothing_is_left_over() {
    let mut sum = Tally::default();
    for seed in 0..20 {
        let tally = run(seed).expect_clean();
        sum.answered += tally.answered;
        sum.failed += tally.failed;
    }
    println!("{sum:?}");
    assert!(sum.answered > 100, "{sum:?}");
    assert!(sum.failed > 0, "{sum:?}");
}

//! Two servers and eight clients that call tasks at random, under random faults.

use std::time::Duration;

use asyncserver::client::CallError;
use asyncserver::server::{Registration, Server, ServerBuilder, TaskContext};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{LinkFaults, LinkPlan, Run, Trace, World};
use bytes::Bytes;

const ECHO: TaskCode = TaskCode(1);
const SLEEP: TaskCode = TaskCode(2);

/// Answers each message after as many milliseconds as it has bytes.
async fn sleep(_: TaskContext, message: Bytes) -> Result<Bytes, asyncserver::server::TaskError> {
    tokio::time::sleep(Duration::from_millis(message.len() as u64)).await;
    Ok(message)
}

fn build(builder: ServerBuilder) -> Server {
    builder
        .task(ECHO, "echo", async |_, message| Ok(message))
        .register(SLEEP, "sleep", Registration::task(sleep))
        .build()
}

/// Calls that ended, well or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    pub(crate) failed: usize,
}

async fn one_client(world: World, name: String, servers: [&'static str; 2]) -> Tally {
    let client = world.client(&name, &servers).retries(3).build();
    let mut rng = world.host(&name).seed().child("calls", 0).stream();
    let mut tally = Tally::default();
    for _ in 0..3 {
        let batch: Vec<_> = (0..rng.between(1, 6))
            .map(|_| {
                let code = *rng.pick(&[ECHO, SLEEP]);
                let message = vec![7; usize::try_from(rng.size(400)).unwrap_or(1)];
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

/// Runs it all; `numbers` says in which order the clients start.
pub(crate) fn run(seed: u64, trace: Trace, numbers: Vec<usize>, pause: Duration) -> Run<Tally> {
    World::builder(seed)
        .trace(trace)
        .plan_links(|_, rng| LinkPlan {
            to_server: LinkFaults::random_failures(rng),
            to_client: LinkFaults::random_failures(rng),
        })
        .run(async |world| {
            let servers = ["server-1", "server-2"].map(|name| world.server(name, build));
            let names = [["server-1", "server-2"], ["server-2", "server-1"]];
            let mut clients = Vec::new();
            for number in numbers {
                let name = format!("client-{number}");
                let executor = world.host(&name).executor().clone();
                let client = one_client(world.clone(), name, names[number % 2]);
                clients.push(executor.run_as("user", client));
                tokio::time::sleep(pause).await;
            }
            let mut tally = Tally::default();
            for client in clients {
                let one = client.await.expect("a client's task panicked");
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

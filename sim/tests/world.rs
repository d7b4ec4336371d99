//! Hosts that go down and come back, networks that break and heal, and worlds
//! that do not come to an end.

use std::time::{Duration, SystemTime};

use asyncserver::client::{CallError, Client};
use asyncserver::runtime::{Clock, Executor};
use asyncserver::server::{Server, ServerBuilder};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{Crash, Door, Failure, LinkFaults, LinkPlan, WallJump, World};

const ECHO: TaskCode = TaskCode(1);
const STAY: TaskCode = TaskCode(2);

fn build(builder: ServerBuilder) -> Server {
    builder
        .task(ECHO, "echo", async |_, message| Ok(message))
        .task(STAY, "stay", async |_, message| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(message)
        })
        .build()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const SECOND: Duration = Duration::from_secs(1);

async fn end(world: &World, client: Client, servers: &[asyncserver_sim::ServerHost]) {
    client.close(Duration::ZERO).await;
    for server in servers {
        server.shutdown(SECOND).await;
    }
    world.at_rest(Duration::from_secs(10)).await.unwrap();
}

async fn one_server(world: &World) -> (asyncserver_sim::ServerHost, Client) {
    let server = world.server("server", build);
    let client = world.client("client", &["server"]).build();
    assert_eq!(client.call(ECHO, "first").await.unwrap(), "first");
    (server, client)
}

#[test]
fn a_killed_server_interrupts_calls_and_serves_again_once_restarted() {
    World::builder(1)
        .run(async |world| {
            let (server, client) = one_server(&world).await;
            let pending = client.submit(STAY, "x");
            tokio::time::sleep(ms(100)).await;
            server.host().crash(Crash::Process).await;
            assert!(matches!(pending.await, Err(CallError::Interrupted { .. })));
            server.restart();
            assert_eq!(client.call(ECHO, "again").await.unwrap(), "again");
            end(&world, client, &[server]).await;
        })
        .expect_clean();
}

#[test]
fn a_server_without_power_is_not_heard_of_until_it_is_back() {
    World::builder(1)
        .run(async |world| {
            let (server, client) = one_server(&world).await;
            let mut pending = client.submit(STAY, "x");
            tokio::time::sleep(ms(100)).await;
            server.host().crash(Crash::Power).await;
            assert!(
                tokio::time::timeout(60 * SECOND, &mut pending)
                    .await
                    .is_err()
            );
            server.restart();
            assert!(matches!(pending.await, Err(CallError::Interrupted { .. })));
            assert_eq!(client.call(ECHO, "again").await.unwrap(), "again");
            end(&world, client, &[server]).await;
        })
        .expect_clean();
}

#[test]
fn a_cut_of_either_direction_delays_an_answer_until_it_is_healed() {
    for (from, to) in [("client", "server"), ("server", "client")] {
        World::builder(1)
            .run(async |world| {
                let (server, client) = one_server(&world).await;
                world.network().cut(from, to);
                let mut call = client.submit(ECHO, "x");
                assert!(tokio::time::timeout(SECOND, &mut call).await.is_err());
                world.network().heal(from, to);
                assert_eq!(call.await.unwrap(), "x");
                end(&world, client, &[server]).await;
            })
            .expect_clean();
    }
}

#[test]
fn clients_fail_over_while_servers_are_rolled_one_after_another() {
    World::builder(1)
        .run(async |world| {
            let servers = ["server-1", "server-2"].map(|name| world.server(name, build));
            let client = world.client("client", &["server-1", "server-2"]).build();
            let mut calls = Vec::new();
            for server in &servers {
                calls.push(client.submit(STAY, "before"));
                tokio::time::sleep(ms(50)).await;
                let drained = server.shutdown(5 * SECOND);
                calls.push(client.submit(ECHO, "during"));
                assert!(drained.await.is_clean());
                server.restart();
            }
            for call in calls {
                call.await.unwrap();
            }
            end(&world, client, &servers).await;
        })
        .expect_clean();
}

#[test]
fn refusals_hanging_connects_and_accept_errors_only_delay() {
    for trouble in 0..3 {
        World::builder(1)
            .run(async |world| {
                let server = world.server("server", build);
                match trouble {
                    0 => world.network().set_door("server", Door::Refusing),
                    1 => world.network().set_door("server", Door::Hanging),
                    _ => world.network().fail_accepts("server", 3),
                }
                let client = world.client("client", &["server"]).build();
                let call = client.submit(ECHO, "x");
                tokio::time::sleep(ms(300)).await;
                world.network().set_door("server", Door::Open);
                assert_eq!(call.await.unwrap(), "x");
                end(&world, client, &[server]).await;
            })
            .expect_clean();
    }
}

#[test]
fn a_wall_clock_jumps_and_time_goes_on() {
    World::builder(1)
        .run(async |world| {
            let clock = world.host("host").clock().clone();
            let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
            assert_eq!(clock.wall(), epoch);
            clock.jump(WallJump::Forward(SECOND));
            tokio::time::sleep(SECOND).await;
            assert_eq!(clock.wall(), epoch + 2 * SECOND);
            clock.jump(WallJump::Back(10 * SECOND));
            assert_eq!(clock.wall(), epoch - 8 * SECOND);
        })
        .expect_clean();
}

#[test]
fn a_wall_clock_jumps_on_its_host_alone_and_calls_go_on() {
    World::builder(1)
        .run(async |world| {
            let (server, client) = one_server(&world).await;
            let there = server.host().clock().wall();
            let pending = client.submit(STAY, "x");
            world
                .host("client")
                .clock()
                .jump(WallJump::Back(3600 * SECOND));
            assert_eq!(server.host().clock().wall(), there);
            server.host().clock().jump(WallJump::Forward(3600 * SECOND));
            let before = world.probe().elapsed();
            assert_eq!(pending.await.unwrap(), "x");
            assert_eq!(world.probe().elapsed() - before, SECOND);
            end(&world, client, &[server]).await;
        })
        .expect_clean();
}

/// Calls from several clients, without a pause, until told to stop.
async fn load(client: Client, stop: std::rc::Rc<std::cell::Cell<Load>>) -> usize {
    let mut answered = 0;
    while stop.get() == Load::On {
        let calls = [ECHO, STAY, ECHO].map(|code| client.submit(code, "x"));
        for call in calls {
            assert_eq!(call.await.unwrap(), "x");
            answered += 1;
        }
    }
    answered
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    On,
    Off,
}

#[test]
fn servers_rolled_one_after_another_under_load_interrupt_no_call() {
    for seed in 0..5 {
        World::builder(seed)
            .run(async |world| {
                let names = ["server-1", "server-2"];
                let servers = names.map(|name| world.server(name, build));
                let load_is = std::rc::Rc::new(std::cell::Cell::new(Load::On));
                let clients: Vec<_> = (0..4)
                    .map(|n| {
                        let order = [names[n % 2], names[(n + 1) % 2]];
                        world.client(&format!("client-{n}"), &order).build()
                    })
                    .collect();
                let roll = async {
                    for _ in 0..2 {
                        for server in &servers {
                            tokio::time::sleep(ms(700)).await;
                            assert!(server.shutdown(5 * SECOND).await.is_clean());
                            server.restart();
                        }
                    }
                    load_is.set(Load::Off);
                };
                let calls = |n: usize| load(clients[n].clone(), std::rc::Rc::clone(&load_is));
                let (a, b, c, d, ()) = tokio::join!(calls(0), calls(1), calls(2), calls(3), roll);
                for answered in [a, b, c, d] {
                    assert!(answered >= 9, "{answered}");
                }
                for client in clients {
                    client.close(Duration::ZERO).await;
                }
                for server in &servers {
                    server.shutdown(SECOND).await;
                }
                world.at_rest(Duration::from_secs(10)).await.unwrap();
            })
            .expect_clean();
    }
}

#[test]
fn a_livelock_is_named_with_its_task_and_does_not_hang() {
    let run = World::builder(1).poll_limit(1000).run(async |world| {
        world.host("host").executor().spawn_as("spinner", async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        std::future::pending::<()>().await;
    });
    let Err(Failure::Livelock(livelock)) = run.outcome else {
        panic!("{:?}", run.outcome)
    };
    assert_eq!(livelock.last, "host spinner 1");
}

#[test]
fn a_panic_of_any_task_is_the_worlds_failure() {
    let run = World::builder(1).run(async |world| {
        let executor = world.host("host").executor().clone();
        executor.spawn(Box::pin(async { panic!("planted") }));
        tokio::time::sleep(SECOND).await;
    });
    let Err(Failure::TaskPanicked(panic)) = run.outcome else {
        panic!("{:?}", run.outcome)
    };
    assert_eq!(
        (panic.task.as_str(), panic.message.as_str()),
        ("host task 1", "planted")
    );
}

#[test]
fn what_is_left_over_is_named() {
    let run = World::builder(1).run(async |world| {
        let server = world.server("server", build);
        let client = world.client("client", &["server"]).build();
        client.call(ECHO, "x").await.unwrap();
        world.network().power_off("client");
        (server, client)
    });
    assert_eq!(run.residue.listening, ["server"]);
    assert_eq!(run.residue.links, ["client->server 1"]);
    assert_eq!(
        run.residue.counted_by_servers,
        ["server: 1 clients, 0 tasks"]
    );
}

#[test]
fn no_progress_is_told_after_its_budget() {
    World::builder(1)
        .run(async |world| {
            let waiting = std::future::pending::<()>();
            let stalled = world.while_progressing(SECOND, waiting).await.unwrap_err();
            assert_eq!(stalled.at, SECOND);
        })
        .expect_clean();
}

#[test]
fn an_idle_hour_costs_next_to_nothing() {
    let started = std::time::Instant::now();
    World::builder(1)
        .plan_links(|_, rng| LinkPlan {
            to_server: LinkFaults::random_delays(rng),
            to_client: LinkFaults::random_delays(rng),
        })
        .run(async |world| {
            let (server, client) = one_server(&world).await;
            for _ in 0..60 {
                tokio::time::sleep(60 * SECOND).await;
                client.keep_alive().await.unwrap();
            }
            end(&world, client, &[server]).await;
        })
        .expect_clean();
    assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
}

//! What the simulation has found in the library, in worlds of their own.

use std::time::Duration;

use asyncserver::server::{Limits, Timeouts};
use asyncserver::wire::TaskCode;
use asyncserver_sim::{LinkPlan, World};

/// At the limit of unsent bytes (PROTOCOL L7), with a link that carries fewer
/// bytes than the signs of life of one task (E5) have, each of these took the
/// place that the one before had left: the result was never produced, no request
/// was read, and every 5 bytes started the write credit (L3) afresh.
#[test]
fn a_slow_link_carries_results_and_not_signs_of_life_alone() {
    let run = World::builder(1)
        .time_limit(Duration::from_secs(600))
        .plan_links(|_, _| {
            let mut plan = LinkPlan::default();
            plan.to_client.buffer_bytes = 1;
            plan.to_client.latency_ms = 35;
            plan
        })
        .run(async |world| {
            let server = world.server("server", |builder| {
                let mut limits = Limits::default();
                limits.unsent_limit_bytes = 1;
                let mut timeouts = Timeouts::default();
                timeouts.processing_interval = Duration::from_millis(100);
                builder
                    .limits(limits)
                    .timeouts(timeouts)
                    .task(TaskCode(1), "sleep", async |_, message| {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        Ok(message)
                    })
                    .build()
            });
            let client = world.client("client", &["server"]).build();
            assert_eq!(client.call(TaskCode(1), "x").await.unwrap(), "x");
            client.close(Duration::ZERO).await;
            server.shutdown(Duration::from_secs(1)).await;
        });
    run.expect_clean();
}

//! A simulated world for servers and clients of `asyncserver`: the real ones,
//! unchanged, with every fault from a seed.
//!
//! A [`World`] has hosts, a [`Network`] between them, and virtual time. Its seed
//! decides everything: the order of tasks within a host, how bytes are split and
//! how long they take, what breaks and when. A seed that fails, fails again.
//!
//! ```
//! use std::time::Duration;
//! use asyncserver::wire::TaskCode;
//! use asyncserver_sim::{LinkFaults, LinkPlan, World};
//!
//! const SHOUT: TaskCode = TaskCode(1);
//!
//! for seed in 0..20 {
//!     let run = World::builder(seed)
//!         // Each connection splits and delays bytes in its own way.
//!         .plan_links(|_route, rng| LinkPlan {
//!             to_server: LinkFaults::random_delays(rng),
//!             to_client: LinkFaults::random_delays(rng),
//!         })
//!         .run(async |world| {
//!             // Your server, on a host of its own; the builder has its clock and executor.
//!             let server = world.server("server", |builder| {
//!                 builder.task(SHOUT, "shout", async |_, message: bytes::Bytes| {
//!                     Ok(message.to_ascii_uppercase())
//!                 }).build()
//!             });
//!             // Your client, on another.
//!             let client = world.client("client", &["server"]).build();
//!             let call = client.submit(SHOUT, "hello");
//!             world.network().cut("server", "client");
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!             world.network().heal("server", "client");
//!             assert_eq!(call.await.unwrap(), "HELLO");
//!
//!             client.close(Duration::ZERO).await;
//!             server.shutdown(Duration::from_secs(1)).await;
//!         });
//!     // Nothing panicked, and no task, connection or byte was left over.
//!     run.expect_clean();
//! }
//! ```
//!
//! # Map
//!
//! - [`Check`], [`Simulated`]: your own server, clients and invariants; cases from
//!   seeds, and the one that breaks made small. The [`guide`] is where to start.
//! - [`World`], [`Host`], [`ServerHost`]: hosts that start, crash and come back;
//!   waiting for progress and for rest; what a [`Run`] came to.
//! - [`Network`]: who reaches whom; [`Route`] names a connection for good.
//! - [`link()`], [`LinkPlan`], [`LinkFaults`], [`Fault`]: one connection and all
//!   that can happen to it. [`FaultTransport`] puts it around any other stream.
//! - [`SeededExecutor`], [`SimClock`]: the seams of `asyncserver::runtime`.
//! - [`Seed`], [`Rng`]: random numbers that do not depend on each other.
//! - [`Trace`], [`Divergence`]: what two runs of a seed must agree on.
//! - [`Plan`], [`play()`], [`shrink()`], [`html()`]: how the library itself is tested;
//!   what the command `sim` is made of.
//! - [`TurmoilNetwork`]: the same network with turmoil's TCP between the hosts.
//!
//! # What it cannot see
//!
//! One thread runs everything: races between real threads are for `loom`. Code
//! that looks at the real clock, spawns threads, draws from the system's random
//! numbers or iterates a `HashMap` leaks into a run; compare the [`Trace`]s of
//! two processes to find such a leak.

mod clock;
mod executor;
mod faults;
pub mod guide;
mod host;
mod judge;
mod link;
mod net;
mod pipe;
mod plan;
mod rng;
mod shrink;
mod suite;
mod time;
mod timeline;
mod trace;
mod transport;
mod world;

pub use clock::{SimClock, WallJump};
pub use executor::{Interleaving, SeededExecutor, TaskPanic};
pub use faults::{Door, Fault, FaultAtByte, LinkFaults};
pub use host::{BuildServer, Crash, Host, ServerHost};
pub use judge::{Played, Recorded, Verdict, VerdictKind, play};
pub use link::{End, LinkHandle, LinkPlan, LinkStream, LinkUsage, link};
pub use net::{
    Network, NetworkUsage, PlanLinks, Route, SimConnector, SimListener, TurmoilConnector,
    TurmoilListener, TurmoilNetwork,
};
pub use plan::{
    Action, ClientKind, ClientPlan, Event, Phases, Plan, Profile, TimedFault, Trouble, Writer,
};
pub use rng::{Rng, Seed};
pub use shrink::{shrink, smallest};
pub use suite::{Broken, Case, CaseClient, CaseStep, Check, Passed, Simulated, Weather};
pub use time::{Going, Livelock, Probe, SimTime};
pub use timeline::{html, story, text};
pub use trace::{Divergence, Trace, TraceDigest};
pub use transport::FaultTransport;
pub use world::{Failure, Residue, Run, Stalled, World, WorldBuilder};

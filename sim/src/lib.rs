//! A simulated world.
mod clock;
mod executor;
mod faults;
mod host;
mod link;
mod net;
mod pipe;
mod rng;
mod time;
mod trace;
mod transport;
mod world;

pub use clock::{SimClock, WallJump};
pub use executor::{Interleaving, SeededExecutor, TaskPanic};
pub use faults::{Fault, FaultAtByte, LinkFaults};
pub use host::{BuildServer, Crash, Host, ServerHost};
pub use link::{End, LinkHandle, LinkPlan, LinkStream, LinkUsage, link};
pub use net::{
    Door, Network, NetworkUsage, PlanLinks, Route, SimConnector, SimListener, TurmoilConnector,
    TurmoilListener, TurmoilNetwork,
};
pub use rng::{Rng, Seed};
pub use time::{Going, Livelock, Probe, SimTime};
pub use trace::{Divergence, Trace, TraceDigest};
pub use transport::FaultTransport;
pub use world::{Failure, Residue, Run, Stalled, World, WorldBuilder};

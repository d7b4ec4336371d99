//! Everything that can go wrong. Each kind has one file, and what a fault needs
//! is in it: how it reads in a plan, what it does, its chance.
//!
//! | what | where |
//! |---|---|
//! | sizes, times, rates of a direction: [`LinkFaults`] | `behaviour.rs` |
//! | what strikes a direction, at a byte or at any time: [`Fault`] | `strike.rs` |
//! | cuts, refused and hanging connects, accept errors, lost power | `network.rs` |
//! | a host that crashes: [`Crash`](crate::Crash) | `../host.rs` |
//! | a wall clock that jumps: [`WallJump`](crate::WallJump) | `../clock.rs` |
//!
//! The head of each file says how to add the next one. Whoever a fault happens
//! to (the pipe, the network) asks at each step, and knows no fault by name.

mod behaviour;
mod network;
mod strike;

pub use self::behaviour::LinkFaults;
pub use self::network::Door;
pub use self::strike::{Fault, FaultAtByte};

pub(crate) use self::network::{NetworkFaults, Passage};
pub(crate) use self::strike::{Consequence, Reach, Struck};

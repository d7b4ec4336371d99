//! What is done to a server for a while.

mod bare;
pub(crate) mod bodies;
pub(crate) mod calls;
mod client;
pub(crate) mod held;
pub(crate) mod mixed;
mod occupied;
pub(crate) mod quiet;
mod request;
pub(crate) mod storm;
pub(crate) mod streams;
pub(crate) mod visits;
pub(crate) mod wire;

use std::time::Duration;

use crate::handler::Handler;
use crate::measure::{Cost, Latency};
pub(crate) use bare::Bare;
pub(crate) use client::{ClientLoads, With};
pub(crate) use request::HEADER_BYTES;

/// The shape of a load of equal requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Requests in flight on each connection, all the time.
    pub(crate) in_flight: usize,
    /// Payload bytes of a request, and of its response.
    pub(crate) message_bytes: usize,
    pub(crate) handler: Handler,
    /// How long new requests are sent; those in flight are awaited after that.
    pub(crate) time: Duration,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) cost: Cost,
    pub(crate) latency: Latency,
}

//! What can be done to a server with the clients that belong to it.

use std::marker::PhantomData;
use std::time::Duration;

use super::calls::Caller;
use super::{Round, Shape, calls, occupied, visits};
use crate::measure::Probe;
use crate::server::ServerProcess;

pub(crate) trait ClientLoads: Sync {
    /// Keeps calls in flight, in a task for each, as an application would.
    fn keep_in_flight(&self, shape: Shape, probe: Probe<'_>) -> Round;

    /// Connects, calls once and closes, again and again.
    fn visit(&self, time: Duration, probe: Probe<'_>) -> Round;

    /// Bytes of the server's memory for each connection that does nothing:
    /// fresh, and after one call.
    fn idle_bytes(&self, server: &ServerProcess, connections: usize) -> [f64; 2];

    /// Bytes of the server's memory for each call that waits.
    fn waiting_bytes(&self, server: &ServerProcess, connections: usize, each: usize) -> f64;
}

/// All that with clients of the type `C`.
pub(crate) struct With<C>(PhantomData<fn() -> C>);

impl<C> With<C> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<C: Caller> ClientLoads for With<C> {
    fn keep_in_flight(&self, shape: Shape, probe: Probe<'_>) -> Round {
        calls::load::<C>(shape, probe)
    }

    fn visit(&self, time: Duration, probe: Probe<'_>) -> Round {
        visits::load::<C>(time, probe)
    }

    fn idle_bytes(&self, server: &ServerProcess, connections: usize) -> [f64; 2] {
        occupied::idle_bytes::<C>(server, connections)
    }

    fn waiting_bytes(&self, server: &ServerProcess, connections: usize, each: usize) -> f64 {
        occupied::waiting_bytes::<C>(server, connections, each)
    }
}

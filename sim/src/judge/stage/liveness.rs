//! The end of a run: everything has to come to its own.

use std::time::Duration;

use super::{Stage, WireClient, shutdown};

impl Stage<'_> {
    /// Faults are over: every call, connection and server comes to its end.
    pub(crate) async fn liveness(&mut self) {
        self.world.network().calm();
        self.witness.connections.calm();
        let budget = Duration::from_millis(self.plan.phases.budget_ms);
        let ended = self.world.while_progressing(budget, self.end()).await;
        let rest = match ended {
            Ok(()) => self.world.at_rest(budget).await,
            Err(stalled) => Err(stalled),
        };
        for server in &self.servers {
            server.record_left(&self.witness.connections);
        }
        if let Err(stalled) = rest {
            self.witness.connections.hung();
            let mut hang = self.witness.hang.lock();
            if let Ok(hang) = &mut hang {
                **hang = Some(stalled.to_string());
            }
        }
    }

    async fn end(&self) {
        self.wires.values().for_each(WireClient::read_all);
        let is_closed = || self.wires.values().all(WireClient::is_closed);
        wait(Duration::from_secs(6), is_closed).await;
        self.wires.values().for_each(WireClient::end);
        wait(Duration::from_secs(1), is_closed).await;
        self.wires.values().for_each(WireClient::disconnect);
        wait(Duration::from_secs(60), is_closed).await;
        // A call may take all of its attempts and timeouts.
        wait(Duration::from_secs(3600), || self.witness.calls.is_over()).await;
        for caller in self.callers.values() {
            caller.close().await;
        }
        for server in &self.servers {
            shutdown(&self.witness.connections, server, 2000).await;
        }
        // The client reads what has come.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.wires.values().for_each(WireClient::leave);
    }
}

/// Waits until it is so, at most for so long.
async fn wait(at_most: Duration, is_so: impl Fn() -> bool) {
    let (mut waited, mut step) = (Duration::ZERO, Duration::from_millis(1));
    while !is_so() && waited < at_most {
        tokio::time::sleep(step).await;
        waited += step;
        step = (step * 2).min(at_most.saturating_sub(waited));
    }
}

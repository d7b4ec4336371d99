//! The end of a scenario: everything comes to rest, and what is left is counted.

use std::time::Duration;

use oracle::{Call, Direction, Op, Residue, What};

use super::Player;
use crate::tasks;
use crate::world::lock;
use crate::writes::Write;

/// Longer than every time of a generated scenario, one of 32 bits in milliseconds included.
const FOR_EVER: Duration = Duration::from_secs(70 * 24 * 3600);

impl Player {
    /// Lets everything come to its end, and demands that it does.
    pub(super) async fn settle(&self) {
        // The last step has its effect before.
        self.until(Duration::from_millis(8), || false).await;
        self.network_step(&Op::Unstall).await;
        self.network_step(&Op::ReadAll).await;
        self.world.complete_all();
        self.until(Duration::from_secs(6), || self.is_closed())
            .await;
        self.client.queue(Write::End);
        self.until(Duration::from_secs(1), || self.is_closed())
            .await;
        if !self.is_closed() {
            self.program_step(&Op::Disconnect { after_ms: 500 });
        }
        self.until(Duration::from_secs(60), || self.is_closed())
            .await;
        if !self.is_closed() {
            self.world.fault(format!("it hangs: {}", self.pending()));
        }
        let is_at_rest = || self.executor.live() == self.services();
        self.until(FOR_EVER, is_at_rest).await;
        if !is_at_rest() {
            self.world.fault(format!("it goes on: {}", self.pending()));
        }
        // The client reads what has come.
        self.until(Duration::from_millis(1), || false).await;
        self.client.take_back_untaken();
    }

    /// The accept loop, until a shutdown ends it.
    fn services(&self) -> usize {
        usize::from(!self.serving_is_over())
    }

    fn serving_is_over(&self) -> bool {
        let events = self.world.history().events;
        let is_shutdown = |what: &What| {
            matches!(
                what,
                What::Called {
                    what: Call::Shutdown { .. },
                    ..
                }
            )
        };
        events.iter().any(|event| is_shutdown(&event.what))
    }

    fn is_closed(&self) -> bool {
        lock(&self.connection).future.is_none()
    }

    /// Waits until it is so, at most for so long.
    async fn until(&self, at_most: Duration, is_so: impl Fn() -> bool) {
        let (mut waited, mut step) = (Duration::ZERO, Duration::from_millis(1));
        while !is_so() && waited < at_most {
            self.world.sleep(step).await;
            waited += step;
            step = (step * 2).min(at_most.saturating_sub(waited));
        }
    }

    fn pending(&self) -> String {
        let handle = self.handle.as_ref();
        let tasks = handle.map(|client| client.tasks()).unwrap_or_default();
        format!(
            "{} clients, tasks {tasks:?}, {} places of L6, {} futures, {} bytes on their way to \
             the server and {} to the client",
            self.server.client_count(),
            self.server.task_count(),
            self.executor.live(),
            self.network.waiting(Direction::ToServer),
            self.network.waiting(Direction::ToClient),
        )
    }

    /// Drops everything, and records what is left of it.
    pub(super) fn record_residue(self) {
        let in_flight = tasks::places_in_flight(&self.server, &self.config.tasks);
        let residue = Residue {
            clients: self.server.client_count() as u64,
            tasks: self.server.task_count() as u64,
            others: (in_flight + self.executor.live() - self.services()) as u64,
            ..Residue::default()
        };
        self.world.record(What::Left(residue));
    }
}

//! The end of a scenario: everything comes to rest, and what is left is counted.

use std::time::Duration;

use oracle::{Direction, Op, Residue, What};

use super::player::Player;
use super::program::Program;
use crate::client::Reading;
use crate::tasks;
use crate::world::{World, lock};
use crate::writes::Write;

/// Longer than every time of a generated scenario, one of 32 bits in milliseconds included.
const FOR_EVER: Duration = Duration::from_secs(70 * 24 * 3600);

impl Program {
    /// Lets everything come to its end, and demands that it does.
    pub(super) async fn settle(&self, players: &[Player]) {
        let are_closed = || players.iter().all(Player::is_closed);
        // The last step has its effect before.
        self.until(Duration::from_millis(8), || false).await;
        for player in players {
            player.network_step(&Op::Unstall).await;
            player.network_step(&Op::ReadAll).await;
        }
        for player in players {
            player.world.complete_all();
        }
        self.until(Duration::from_secs(6), are_closed).await;
        for player in players {
            player.demand_reading();
            player.client.queue(Write::End);
        }
        self.until(Duration::from_secs(1), are_closed).await;
        for player in players.iter().filter(|player| !player.is_closed()) {
            player.program_step(&Op::Disconnect { after_ms: 500 });
        }
        self.until(Duration::from_secs(60), are_closed).await;
        for player in players.iter().filter(|player| !player.is_closed()) {
            let fault = format!("it hangs: {}", player.pending());
            player.world.fault(fault);
        }
        let is_at_rest = || self.executor.live() == self.services();
        self.until(FOR_EVER, is_at_rest).await;
        for player in players.iter().filter(|_| !is_at_rest()) {
            let fault = format!("it goes on: {}", player.pending());
            player.world.fault(fault);
        }
        // The clients read what has come.
        self.until(Duration::from_millis(1), || false).await;
        for player in players {
            player.client.take_back_untaken();
        }
    }

    /// The accept loop, until a shutdown ends it.
    fn services(&self) -> usize {
        usize::from(!self.is_shut_down())
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

    /// Records what is left, and drops everything but the worlds.
    pub(super) fn end(&self) -> Vec<World> {
        let in_flight = tasks::places_in_flight(&self.server, &self.config.tasks);
        let residue = Residue {
            clients: self.server.client_count() as u64,
            tasks: self.server.task_count() as u64,
            others: (in_flight + self.executor.live() - self.services()) as u64,
            ..Residue::default()
        };
        let worlds = self.routes.worlds();
        for world in &worlds {
            world.record(What::Left(residue));
        }
        worlds
    }
}

impl Player {
    fn is_closed(&self) -> bool {
        lock(&self.connection).future.is_none()
    }

    /// L12: reading pauses only while a task, or what is not taken, holds it up.
    fn demand_reading(&self) {
        let is_held_up = self.program.server.task_count() > 0
            || self.client.is_full()
            || self.client.reading() != Reading::All;
        let unread = self.network.waiting(Direction::ToServer);
        if !self.is_closed() && !is_held_up && unread > 0 {
            let fault = format!("{unread} bytes are not read: {}", self.pending());
            self.world.fault(fault);
        }
    }

    fn pending(&self) -> String {
        let handle = self.handle.as_ref();
        let tasks = handle.map(|client| client.tasks()).unwrap_or_default();
        let Program {
            server, executor, ..
        } = &*self.program;
        format!(
            "{} clients, tasks {tasks:?}, {} places of L6, {} futures, {} bytes on their way to \
             the server and {} to the client",
            server.client_count(),
            server.task_count(),
            executor.live(),
            self.network.waiting(Direction::ToServer),
            self.network.waiting(Direction::ToClient),
        )
    }
}

//! Plays a scenario against the real server.

mod player;
mod program;
mod settle;
mod steps;

use std::sync::Arc;

use asyncserver::runtime::{Clock, Executor, Transport};
use oracle::{History, Neighbours, Op, Scenario, ServerHistory, View};
use tokio::io::{AsyncRead, AsyncWrite};

use self::player::Player;
use self::program::Program;
use crate::client::Splits;
use crate::transport::Link;
use crate::world::World;

/// Where a scenario is played.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The server's clock, and the history's.
    pub clock: Arc<dyn Clock>,
    /// What runs futures. Blocking functions are simulated on it.
    pub executor: Arc<dyn Executor>,
    /// How the client's bytes are cut.
    pub splits: Splits,
}

/// Plays `scenario` on `stage`, over the links that `connect` makes, to its very
/// end; the world of each connection, and their histories until then.
pub async fn play<C, S>(
    scenario: &Scenario,
    stage: &Stage,
    mut connect: impl FnMut(&World) -> Link<C, S>,
) -> (Vec<World>, ServerHistory)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    S: Transport,
{
    let mut config = scenario.config.clone();
    if !scenario.neighbours.is_empty() {
        config.neighbours = Neighbours::Some;
    }
    let world = World::new(config.clone(), Arc::clone(&stage.clock));
    let program = Arc::new(Program::start(&config, stage, &world));
    let first = Player::start(&program, stage, &world, connect(&world));
    let mut players: Vec<Option<Player>> = Vec::new();
    players.resize_with(1 + scenario.neighbours.len(), || None);
    players[0] = Some(meet(first).await);
    for (number, next) in schedule(scenario).into_iter().enumerate() {
        world.sleep_until_ms(next.at_ms).await;
        match next.what {
            Happens::Comes if program.is_shut_down() => {
                let nobody = World::new(config.clone(), Arc::clone(&stage.clock));
                program.demand_refusal(connect(&nobody).server);
            }
            Happens::Comes => {
                let own = world.beside(config.clone());
                let player = Player::start(&program, stage, &own, connect(&own));
                players[next.connection] = Some(meet(player).await);
            }
            Happens::Step(op) => {
                // What happens at one time meets in several ways.
                yield_times([0, 1, 3, 12][number % 4]).await;
                if let Some(player) = &players[next.connection] {
                    player.step(op).await;
                }
            }
        }
    }
    let players: Vec<_> = players.into_iter().flatten().collect();
    program.settle(&players).await;
    let worlds = program.end();
    drop((players, program));
    let seen = ServerHistory {
        connections: worlds.iter().map(complete_history).collect(),
        order: world.order(),
    };
    (worlds, seen)
}

/// A connection gets to run before its first step.
async fn meet(mut player: Player) -> Player {
    yield_times(4).await;
    player.negotiate();
    player
}

fn complete_history(world: &World) -> History {
    let mut history = world.history();
    history.views.tasks = View::Complete;
    history.views.observer = View::Complete;
    history
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// What happens next, and to which connection.
struct Next<'s> {
    at_ms: u64,
    connection: usize,
    what: Happens<'s>,
}

enum Happens<'s> {
    Comes,
    Step(&'s Op),
}

/// All steps by time; those of one time take turns by connection.
fn schedule(scenario: &Scenario) -> Vec<Next<'_>> {
    let mut schedule = Vec::new();
    let mut add = |at_ms: u64, turn: usize, connection: usize, what| {
        let next = Next {
            at_ms,
            connection,
            what,
        };
        schedule.push(((at_ms, turn, connection), next));
    };
    for (turn, step) in scenario.steps.iter().enumerate() {
        add(step.at_ms, turn + 1, 0, Happens::Step(&step.op));
    }
    for (before, neighbour) in scenario.neighbours.iter().enumerate() {
        add(neighbour.at_ms, 0, before + 1, Happens::Comes);
        for (turn, step) in neighbour.steps.iter().enumerate() {
            let at_ms = step.at_ms.max(neighbour.at_ms);
            add(at_ms, turn + 1, before + 1, Happens::Step(&step.op));
        }
    }
    schedule.sort_by_key(|(turn, _)| *turn);
    schedule.into_iter().map(|(_, next)| next).collect()
}

//! Every connection of a run, with its recording: what was seen of it, for the oracle.

mod seen;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asyncserver::runtime::{Clock, Endpoints};
use harness::World as Recording;
use oracle::{Call, Config, Direction, History, Residue, Returned, What};

use super::altered::Altered;
use crate::{LinkFaults, LinkPlan, Probe};

pub(crate) use seen::Seen;

/// All connections of a run. A clone is the same.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<State>>);

struct State {
    probe: Probe,
    config: Config,
    /// All recordings are on its tape.
    first: Recording,
    attempts: BTreeMap<(String, String), u64>,
    by_name: BTreeMap<String, Connection>,
    order: Vec<String>,
    weather: Weather,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Stormy,
    Calm,
}

/// How much the oracle may demand of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// All of it: it came to its end.
    ToTheEnd,
    /// What had been seen when its server crashed, or the run was given up.
    SoFar,
    /// Nothing: no server took it.
    Not,
}

struct Connection {
    client: String,
    server: String,
    recording: Recording,
    /// The start of the server that took it, by number.
    generation: Option<u64>,
    /// Calls of the server's program, with the number of the server's start.
    calls: Vec<(u64, u32)>,
    judged: Judged,
    /// When a direction flowed again before anybody looked.
    flows: Vec<(Duration, Direction)>,
    altered: Altered,
    seen: Option<History>,
    is_closed: bool,
}

impl Connections {
    pub(crate) fn new(config: Config, clock: Arc<dyn Clock>, probe: Probe) -> Self {
        Self(Arc::new(Mutex::new(State {
            probe,
            first: Recording::new(config.clone(), clock),
            config,
            attempts: BTreeMap::new(),
            by_name: BTreeMap::new(),
            order: Vec::new(),
            weather: Weather::Stormy,
        })))
    }

    /// A connection is about to be made: its name, as the server will see it, and its recording.
    pub(crate) fn begin(&self, client: &str, server: &str, link: &LinkPlan) -> (String, Recording) {
        let mut state = self.locked();
        let pair = (client.to_owned(), server.to_owned());
        let attempt = state.attempts.entry(pair).or_default();
        *attempt += 1;
        let name = format!("{client} {attempt}->{server}");
        let is_calm = state.weather == Weather::Calm;
        let mut config = state.config.clone();
        if !is_calm {
            config.tolerance.network_ms = on_the_way_ms(link);
            config.transport_buffer_bytes = link.to_client.buffer_limit();
        }
        let recording = state.first.beside(config);
        if is_calm {
            recording.complete_all();
        }
        let connection = Connection {
            client: client.to_owned(),
            server: server.to_owned(),
            recording: recording.clone(),
            generation: None,
            calls: Vec::new(),
            judged: Judged::ToTheEnd,
            flows: Vec::new(),
            altered: Altered::default(),
            seen: None,
            is_closed: false,
        };
        state.by_name.insert(name.clone(), connection);
        state.order.push(name.clone());
        (name, recording)
    }

    /// The recording of the connection with these ends.
    ///
    /// # Panics
    /// When nobody has begun it.
    pub(crate) fn of(&self, endpoints: &Endpoints) -> Recording {
        let name = endpoints.to_string();
        let state = self.locked();
        let connection = state.by_name.get(&name);
        connection
            .unwrap_or_else(|| panic!("nobody began {name}"))
            .recording
            .clone()
    }

    /// The start of a server with this number has taken it.
    pub(crate) fn taken(&self, endpoints: &Endpoints, generation: u64) {
        let name = endpoints.to_string();
        if let Some(connection) = self.locked().by_name.get_mut(&name) {
            connection.generation = Some(generation);
        }
    }

    /// Its server has reported it.
    pub(crate) fn closed(&self, endpoints: &Endpoints) {
        let name = endpoints.to_string();
        if let Some(connection) = self.locked().by_name.get_mut(&name) {
            connection.is_closed = true;
        }
    }

    /// Records the beginning of a call at a server on all its connections.
    pub(crate) fn begin_call(
        &self,
        server: &str,
        generation: u64,
        what: Call,
    ) -> Vec<(Recording, u32)> {
        let mut begun = Vec::new();
        for connection in self.locked().by_name.values_mut() {
            // A shutdown is for those, too, that are about to be taken.
            let is_of = match connection.generation {
                Some(of) => of == generation,
                None => matches!(what, Call::Shutdown { .. }),
            };
            let is_there = connection.seen.is_none() && !connection.is_closed;
            if connection.server == server && is_of && is_there {
                let call = connection.recording.begin_call(what);
                connection.calls.push((generation, call));
                begun.push((connection.recording.clone(), call));
            }
        }
        begun
    }

    /// Records that such a call has returned.
    pub(crate) fn end_call(begun: Vec<(Recording, u32)>) {
        for (recording, call) in begun {
            recording.end_call(call, Returned::Nothing);
        }
    }

    /// A server goes down at once: what was seen until now is all that is judged.
    pub(crate) fn crashed(&self, server: &str) {
        self.cut_short(|connection| connection.server == server);
    }

    /// Something hangs, and all that still goes on is about to be dropped.
    pub(crate) fn hung(&self) {
        self.cut_short(|connection| !connection.is_closed);
    }

    fn cut_short(&self, is_cut: impl Fn(&Connection) -> bool) {
        for connection in self.locked().by_name.values_mut() {
            if is_cut(connection) && connection.seen.is_none() {
                connection.seen = Some(connection.recording.history());
                if connection.judged == Judged::ToTheEnd {
                    connection.judged = Judged::SoFar;
                }
            }
        }
    }

    /// What the client wrote is not what comes to the server.
    pub(crate) fn altered_request(&self, name: &str) {
        if let Some(connection) = self.locked().by_name.get_mut(name) {
            connection.altered.request();
        }
    }

    /// From its `at`th byte on the client got these, and not those that the server wrote.
    pub(crate) fn altered_response(&self, name: &str, at: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.locked().by_name.get_mut(name) {
            connection.altered.response(at, bytes);
        }
    }

    /// A direction flows again, since then.
    pub(crate) fn flows(&self, name: &str, direction: Direction, since: Duration) {
        let mut state = self.locked();
        let now = state.probe.elapsed();
        let Some(connection) = state.by_name.get_mut(name) else {
            return;
        };
        if since == now {
            connection.recording.record(What::Flowing(direction));
        } else {
            connection.flows.push((since, direction));
        }
    }

    /// Everything heals, and scripted tasks end by themselves.
    pub(crate) fn calm(&self) {
        let mut state = self.locked();
        state.weather = Weather::Calm;
        for connection in state.by_name.values() {
            connection.recording.complete_all();
        }
    }

    /// Records what a start of a server has left, with each of its connections:
    /// places that functions of others still hold are not left by this one.
    pub(crate) fn left(&self, server: &str, generation: u64, residue: Residue) {
        let state = self.locked();
        let is_of = |connection: &&Connection| {
            connection.server == server && connection.generation == Some(generation)
        };
        let running = |connection: &Connection| {
            let events = connection.recording.history().events;
            let count = |is_it: fn(&What) -> bool| events.iter().filter(|e| is_it(&e.what)).count();
            let started = count(|what| matches!(what, What::RunStarted { .. }));
            (started - count(|what| matches!(what, What::RunEnded { .. }))) as u64
        };
        let of_server = || state.by_name.values().filter(is_of);
        let all: u64 = of_server().map(running).sum();
        for connection in of_server() {
            let others = all - running(connection);
            let tasks = residue.tasks.saturating_sub(others);
            let left = Residue { tasks, ..residue };
            connection.recording.record(What::Left(left));
        }
    }

    /// What was seen of each connection, in the order in which they began.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let state = self.locked();
        let seen = |name: &String| {
            let connection = state.by_name.get(name)?;
            Some(connection.to_seen(name))
        };
        state.order.iter().filter_map(seen).collect()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_the_way_ms(link: &LinkPlan) -> u64 {
    let longest = [&link.to_server, &link.to_client].map(LinkFaults::longest_behind_others);
    let longest = longest[0].max(longest[1]).as_millis();
    u64::try_from(longest).unwrap_or(u64::MAX)
}

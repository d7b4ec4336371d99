//! A connection between two ends, with its faults: the simulated TCP.
//!
//! Both ends share one state under one lock; whatever changes it wakes whoever
//! waits, after the lock is released. A waiting end arms a timer of its own to
//! the next moment at which time alone could let it go on.

mod attempt;
mod handle;
mod pace;
mod stream;
mod watcher;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::faults::LinkFaults;
use crate::pipe::{Pipe, ResetBy};
use crate::rng::Seed;
use crate::time::Probe;
use watcher::Watcher;

pub use self::handle::{LinkHandle, LinkUsage};
pub use self::stream::LinkStream;
pub(crate) use self::watcher::LinkEvent;

/// An end of a connection.
///
/// ```
/// use asyncserver_sim::End;
/// assert_eq!(End::Client.other(), End::Server);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The one that connected.
    Client,
    /// The one that accepted.
    Server,
}

impl End {
    /// The opposite end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The faults of a connection, by direction.
///
/// ```
/// let calm = asyncserver_sim::LinkPlan::default();
/// assert_eq!(calm.to_server, calm.to_client);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkPlan {
    /// What the client writes.
    pub to_server: LinkFaults,
    /// What the server writes.
    pub to_client: LinkFaults,
}

/// Makes a connection, in memory. `name` stands in the trace, and `seed` is
/// where its randomness comes from.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver_sim::{LinkPlan, Probe, Seed, SimTime, Trace, link};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let mut plan = LinkPlan::default();
/// plan.to_server.write_at_most_bytes = Some(1);
/// let probe = Probe::new(SimTime::from_now(), Trace::off());
/// let (mut client, mut server, _handle) = link("link 1", plan, Seed(1), &probe);
/// assert_eq!(client.write(b"hello").await.unwrap(), 1);
/// assert_eq!(server.read_u8().await.unwrap(), b'h');
/// # });
/// ```
#[must_use]
pub fn link(
    name: &str,
    plan: LinkPlan,
    seed: Seed,
    probe: &Probe,
) -> (LinkStream, LinkStream, LinkHandle) {
    let to_server = Pipe::new(plan.to_server, seed.child("to server", 0).stream());
    let to_client = Pipe::new(plan.to_client, seed.child("to client", 0).stream());
    let link = Arc::new(Link {
        name: name.to_owned(),
        probe: probe.clone(),
        watcher: Watcher::default(),
        state: Mutex::new(State {
            pipes: [to_server, to_client],
            ends: [EndState::default(), EndState::default()],
            reset: None,
            had_ended: None,
            told: Default::default(),
            events: Vec::new(),
        }),
    });
    let end = |end| LinkStream::new(Arc::clone(&link), end);
    let (client, server) = (end(End::Client), end(End::Server));
    (client, server, LinkHandle::new(link))
}

#[derive(Debug)]
struct Link {
    name: String,
    probe: Probe,
    watcher: Watcher,
    state: Mutex<State>,
}

/// The pipe with the index of an end is the one that it writes.
#[derive(Debug)]
struct State {
    pipes: [Pipe; 2],
    ends: [EndState; 2],
    reset: Option<Reset>,
    /// Once it has been: whether each end's direction had ended before.
    had_ended: Option<[bool; 2]>,
    /// What the watcher knows of each pipe.
    told: [pace::Told; 2],
    /// What the watcher is to be told.
    events: Vec<LinkEvent>,
}

/// The connection is, or will be, reset.
#[derive(Clone, Copy, Debug)]
struct Reset {
    at: Duration,
    by: ResetBy,
}

#[derive(Debug, Default)]
struct EndState {
    presence: Presence,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Polls in a row that were put off for nothing.
    put_off: u8,
    reset_error: ResetError,
    ending: Ending,
}

/// Whether an end has ended its direction itself, and nothing did so before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    None,
    Own,
}

/// Whether the end has been given the error of a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ResetError {
    #[default]
    Owed,
    Given,
}

/// What an end finds of a connection that has been reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterReset {
    /// The error.
    Error,
    /// Reads find the end of the stream, and writes a broken pipe.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Open,
    Dropped,
}

impl State {
    fn wakers(&mut self) -> Vec<Waker> {
        let ends = self.ends.iter_mut();
        ends.flat_map(|end| [end.reader.take(), end.writer.take()])
            .flatten()
            .collect()
    }

    /// The earlier reset counts; one by a fault cannot be held back any more.
    fn reset_by(&mut self, by: ResetBy, at: Duration) {
        let new = Reset { at, by };
        let keeps = |old: &Reset| old.at <= at && (old.by == by || old.by == ResetBy::Fault);
        self.reset = self.reset.filter(keeps).or(Some(new));
        if by == ResetBy::Fault {
            self.events.push(LinkEvent::Reset);
        }
    }

    /// When the connection will be reset, as far as time alone decides it.
    fn reset_at(&self) -> Option<Duration> {
        let held_back = || self.pipes.iter().any(Pipe::holds_back);
        self.reset
            .filter(|reset| reset.by == ResetBy::Fault || !held_back())
            .map(|reset| reset.at)
    }

    /// What an operation of `end` finds, if the connection has been reset. As on
    /// Linux, who asks first gets the error, and nobody does whose peer had
    /// ended its direction before: see `tests/conformance`.
    fn after_reset(&mut self, end: End, now: Duration) -> Option<AfterReset> {
        let peer_had_ended = self.cut_off(now)?[end.other().index()];
        let error = &mut self.ends[end.index()].reset_error;
        if peer_had_ended || std::mem::replace(error, ResetError::Given) == ResetError::Given {
            return Some(AfterReset::Ended);
        }
        Some(AfterReset::Error)
    }

    fn is_reset(&mut self, now: Duration) -> bool {
        self.cut_off(now).is_some()
    }

    /// If the connection has been reset: whether each end's direction had ended
    /// before. What was on its way is lost then.
    fn cut_off(&mut self, now: Duration) -> Option<[bool; 2]> {
        if self.had_ended.is_none() {
            let at = self.reset_at().filter(|at| *at <= now)?;
            self.had_ended = Some([0, 1].map(|end| self.pipes[end].had_ended(at)));
            self.pipes.iter_mut().for_each(|pipe| pipe.cut_off(at));
        }
        self.had_ended
    }

    /// Whether the reading `end` finds the end of the stream because its peer has
    /// ended it, and nothing was lost.
    fn was_ended_by_peer(&self, end: End) -> bool {
        let peer = end.other().index();
        let is_whole = self.had_ended.is_none_or(|had_ended| had_ended[peer]);
        self.ends[peer].ending == Ending::Own && is_whole
    }
}

impl Link {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: std::fmt::Arguments<'_>) {
        self.probe.record(&self.name, event);
    }

    /// Changes the state, then wakes everybody who waits.
    fn change<R>(&self, change: impl FnOnce(&mut State, Duration) -> R) -> R {
        let now = self.probe.elapsed();
        let (result, wakers) = {
            let mut state = self.locked();
            let result = change(&mut state, now);
            (result, state.wakers())
        };
        self.tell();
        wakers.into_iter().for_each(Waker::wake);
        result
    }
}

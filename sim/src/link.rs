//! A connection between two ends, with its faults: the simulated TCP.
//!
//! Both ends share one state under one lock; whatever changes it wakes whoever
//! waits, after the lock is released. A waiting end arms a timer of its own to
//! the next moment at which time alone could let it go on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::faults::{Fault, LinkFaults};
use crate::pipe::{Consequence, Hold, Pipe, Read, ResetBy, Written};
use crate::rng::Seed;
use crate::time::{Going, Probe};

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
        state: Mutex::new(State {
            pipes: [to_server, to_client],
            ends: [EndState::default(), EndState::default()],
            reset: None,
        }),
    });
    let end = |end| LinkStream {
        link: Arc::clone(&link),
        end,
        read_timer: Timer::default(),
        write_timer: Timer::default(),
    };
    let (client, server) = (end(End::Client), end(End::Server));
    (client, server, LinkHandle { link })
}

#[derive(Debug)]
struct Link {
    name: String,
    probe: Probe,
    state: Mutex<State>,
}

/// The pipe with the index of an end is the one that it writes.
#[derive(Debug)]
struct State {
    pipes: [Pipe; 2],
    ends: [EndState; 2],
    reset: Option<Reset>,
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
    }

    /// When the connection will be reset, as far as time alone decides it.
    fn reset_at(&self) -> Option<Duration> {
        let held_back = || self.pipes.iter().any(Pipe::holds_back);
        self.reset
            .filter(|reset| reset.by == ResetBy::Fault || !held_back())
            .map(|reset| reset.at)
    }

    /// Whether the connection has been reset; what was on its way is lost then.
    fn is_reset(&mut self, now: Duration) -> bool {
        let reset = self.reset_at().is_some_and(|at| at <= now);
        if reset {
            self.pipes.iter_mut().for_each(Pipe::lose_everything);
        }
        reset
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
        wakers.into_iter().for_each(Waker::wake);
        result
    }
}

/// Acts on a connection from outside, at any time. A clone acts on the same one.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use asyncserver_sim::{End, Fault, LinkPlan, Probe, Seed, SimTime, Trace, link};
/// use tokio::io::AsyncReadExt;
///
/// let probe = Probe::new(SimTime::from_now(), Trace::off());
/// let (mut client, _server, handle) = link("link 1", LinkPlan::default(), Seed(1), &probe);
/// handle.strike(End::Server, Fault::Reset);
/// let error = client.read_u8().await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct LinkHandle {
    link: Arc<Link>,
}

/// What a connection has carried and still holds.
///
/// ```
/// fn is_empty(usage: asyncserver_sim::LinkUsage) -> bool { usage.open_ends == 0 }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkUsage {
    /// Ends that have not been dropped.
    pub open_ends: usize,
    /// Bytes that nobody has read yet, in both directions.
    pub buffered_bytes: usize,
    /// Tasks that wait.
    pub wakers: usize,
    /// Bytes written by the client.
    pub written_by_client: u64,
    /// Bytes written by the server.
    pub written_by_server: u64,
    /// Bytes read, by both.
    pub read: u64,
}

impl LinkHandle {
    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// A fault strikes, now, the direction that `writer` writes.
    pub fn strike(&self, writer: End, fault: Fault) {
        self.link.record(format_args!(
            "{fault:?} strikes what the {} writes",
            writer.word()
        ));
        self.link.change(|state, now| {
            let struck = state.pipes[writer.index()].strike(fault, now);
            if let Consequence::ResetAt(at) = struck {
                state.reset_by(ResetBy::Fault, at);
            }
        });
    }

    /// Nothing that `writer` writes arrives, until it is released.
    pub(crate) fn set_hold(&self, writer: End, hold: Hold) {
        self.link.record(format_args!(
            "what the {} writes is {hold:?}",
            writer.word()
        ));
        self.link
            .change(|state, _| state.pipes[writer.index()].set_hold(hold));
    }

    /// The connection behaves as it should from now on. What is lost stays
    /// lost: a connection that had died silently is reset now, as its ends
    /// would find out once their packets were answered again.
    pub fn calm(&self) {
        self.link.record(format_args!("calm"));
        self.link.change(|state, now| {
            let dead = state.pipes.iter().any(Pipe::is_silent);
            state.pipes.iter_mut().for_each(|pipe| pipe.calm(now));
            if dead {
                state.reset_by(ResetBy::Fault, now);
            }
        });
    }

    /// What it has carried and still holds.
    #[must_use]
    pub fn usage(&self) -> LinkUsage {
        let state = self.link.locked();
        let open = |end: &&EndState| end.presence == Presence::Open;
        let waiting =
            |end: &EndState| usize::from(end.reader.is_some()) + usize::from(end.writer.is_some());
        LinkUsage {
            open_ends: state.ends.iter().filter(open).count(),
            buffered_bytes: state.pipes.iter().map(Pipe::buffered_bytes).sum(),
            wakers: state.ends.iter().map(waiting).sum(),
            written_by_client: state.pipes[0].written(),
            written_by_server: state.pipes[1].written(),
            read: state.pipes.iter().map(Pipe::read_bytes).sum(),
        }
    }
}

/// One end of a connection. Dropping it is what closing a socket is: what was
/// written still arrives, but bytes that were not read make it a reset.
///
/// ```
/// fn is_transport(_: impl asyncserver::runtime::Transport) {}
/// fn example(stream: asyncserver_sim::LinkStream) { is_transport(stream) }
/// ```
#[derive(Debug)]
pub struct LinkStream {
    link: Arc<Link>,
    end: End,
    read_timer: Timer,
    write_timer: Timer,
}

/// Polls that may be put off in a row: a random number of them alone could be endless.
const PUT_OFF_MOST: u8 = 3;

impl LinkStream {
    /// Resets the connection, as a socket that is closed without lingering.
    pub fn abort(&self) {
        self.link.record(format_args!("{} aborts", self.end.word()));
        self.link
            .change(|state, now| state.reset_by(ResetBy::Fault, now));
    }

    /// Which end it is.
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// Whether this poll is to be repeated for nothing.
    fn is_put_off(&self, state: &mut State, writer: End, cx: &Context<'_>) -> bool {
        let end = &mut state.ends[self.end.index()];
        let again = end.put_off < PUT_OFF_MOST && state.pipes[writer.index()].wakes_for_nothing();
        if again {
            end.put_off += 1;
            cx.waker().wake_by_ref();
        } else {
            end.put_off = 0;
        }
        again
    }

    fn try_read(&self, now: Duration, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Attempt<()> {
        let writer = self.end.other();
        let mut state = self.link.locked();
        if state.is_reset(now) {
            return Attempt::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.is_put_off(&mut state, writer, cx) {
            return Attempt::PutOff;
        }
        let room = buf.remaining();
        let read = state.pipes[writer.index()].read(now, room, |piece| buf.put_slice(piece));
        match read {
            Read::Bytes(_) => {
                let waiting = state.ends[writer.index()].writer.take();
                Attempt::DoneAndWake(Ok(()), Vec::from_iter(waiting))
            }
            Read::EndOfStream => Attempt::Done(Ok(())),
            Read::Nothing(at) => {
                state.ends[self.end.index()].reader = Some(cx.waker().clone());
                Attempt::Wait(earlier(at, state.reset_at()))
            }
        }
    }

    fn try_write(&self, now: Duration, cx: &Context<'_>, bytes: &[u8]) -> Attempt<usize> {
        let mut state = self.link.locked();
        if state.is_reset(now) {
            return Attempt::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.is_put_off(&mut state, self.end, cx) {
            return Attempt::PutOff;
        }
        match state.pipes[self.end.index()].write(now, bytes) {
            Written::Taken {
                bytes: taken,
                reset,
            } => {
                let Some((by, at)) = reset else {
                    let reader = state.ends[self.end.other().index()].reader.take();
                    return Attempt::DoneAndWake(Ok(taken), Vec::from_iter(reader));
                };
                state.reset_by(by, at);
                // Everybody who waits has a new time to wait for.
                let waiting = state.wakers();
                if taken == 0 && !bytes.is_empty() {
                    state.ends[self.end.index()].writer = Some(cx.waker().clone());
                    return Attempt::WaitAndWake(state.reset_at(), waiting);
                }
                Attempt::DoneAndWake(Ok(taken), waiting)
            }
            Written::Full => {
                state.ends[self.end.index()].writer = Some(cx.waker().clone());
                Attempt::Wait(state.reset_at())
            }
            Written::Closed => Attempt::Done(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The time, unless the world is frozen, where an end waits for ever.
    fn now(&self) -> Option<Duration> {
        match self.link.probe.count_poll(&self.link.name) {
            Going::On { now } => Some(now),
            Going::Frozen => None,
        }
    }
}

/// What came of trying once.
enum Attempt<T> {
    Done(io::Result<T>),
    /// Done, and this one can go on, too.
    DoneAndWake(io::Result<T>, Vec<Waker>),
    /// Not now; time alone lets it go on then.
    Wait(Option<Duration>),
    /// The same, and these have something new to look at.
    WaitAndWake(Option<Duration>, Vec<Waker>),
    PutOff,
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// Drives an operation to its end, or to where it waits.
fn poll_attempts<T>(
    probe: &Probe,
    mut now: Duration,
    timer: &mut Timer,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut(Duration, &Context<'_>) -> Attempt<T>,
) -> Poll<io::Result<T>> {
    loop {
        let at = match attempt(now, cx) {
            Attempt::Done(result) => return Poll::Ready(result),
            Attempt::DoneAndWake(result, wakers) => {
                wakers.into_iter().for_each(Waker::wake);
                return Poll::Ready(result);
            }
            Attempt::PutOff => return Poll::Pending,
            Attempt::Wait(at) => at,
            Attempt::WaitAndWake(at, wakers) => {
                wakers.into_iter().for_each(Waker::wake);
                at
            }
        };
        let Some(at) = at else { return Poll::Pending };
        if timer.poll_after(at.saturating_sub(now), cx).is_pending() {
            return Poll::Pending;
        }
        now = probe.elapsed();
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(now) = this.now() else {
            return Poll::Pending;
        };
        let filled = buf.filled().len();
        let mut timer = std::mem::take(&mut this.read_timer);
        let probe = &this.link.probe;
        let polled = poll_attempts(probe, now, &mut timer, cx, |now, cx| {
            this.try_read(now, cx, buf)
        });
        this.read_timer = timer;
        let word = this.end.word();
        match &polled {
            Poll::Ready(Ok(())) => {
                let bytes = buf.filled().len() - filled;
                this.link.record(format_args!("{word} reads {bytes}"));
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                this.link.record(format_args!("{word} reads {kind:?}"));
            }
            Poll::Pending => this.link.record(format_args!("{word} reads nothing yet")),
        }
        polled
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(now) = this.now() else {
            return Poll::Pending;
        };
        let mut timer = std::mem::take(&mut this.write_timer);
        let probe = &this.link.probe;
        let polled = poll_attempts(probe, now, &mut timer, cx, |now, cx| {
            this.try_write(now, cx, bytes)
        });
        this.write_timer = timer;
        let (word, all) = (this.end.word(), bytes.len());
        match &polled {
            Poll::Ready(Ok(taken)) => {
                this.link
                    .record(format_args!("{word} writes {taken} of {all}"));
            }
            Poll::Ready(Err(error)) => {
                let kind = error.kind();
                this.link.record(format_args!("{word} writes {kind:?}"));
            }
            Poll::Pending => this
                .link
                .record(format_args!("{word} writes none of {all} yet")),
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let fails = self.link.locked().pipes[self.end.index()].take_flush_failure();
        if fails {
            self.link
                .record(format_args!("{} fails to flush", self.end.word()));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Ends this end's direction alone. Doing so again changes nothing.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let word = self.end.word();
        let result = self.link.change(|state, now| {
            if state.is_reset(now) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let pipe = &mut state.pipes[self.end.index()];
            if pipe.take_shutdown_failure() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            pipe.finish(now);
            Ok(())
        });
        let shown = result.as_ref().map_err(io::Error::kind);
        self.link
            .record(format_args!("{word} shuts down: {shown:?}"));
        Poll::Ready(result)
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.link.record(format_args!("{} closes", self.end.word()));
        let (end, other) = (self.end.index(), self.end.other().index());
        self.link.change(|state, now| {
            state.ends[end].presence = Presence::Dropped;
            let latency = state.pipes[end].latency();
            if let Some(arrived) = state.pipes[other].reader_left(now) {
                // Unread bytes: the other end must learn that they were lost.
                state.reset_by(ResetBy::Packet, arrived + latency);
            }
            state.pipes[end].finish(now);
            if state.ends[other].presence == Presence::Dropped {
                state.pipes.iter_mut().for_each(Pipe::lose_everything);
            }
        });
    }
}

/// A timer that is made when it is first needed.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Timer {
    fn poll_after(&mut self, after: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::now() + after;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

//! What acts on a connection from outside, and looks into it.

use std::ops::AddAssign;
use std::sync::Arc;

use super::{End, EndState, Link, Presence};
use crate::faults::{Consequence, Fault};
use crate::pipe::{Appetite, Hold, Pipe, ResetBy};

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

impl AddAssign for LinkUsage {
    fn add_assign(&mut self, other: Self) {
        self.open_ends += other.open_ends;
        self.buffered_bytes += other.buffered_bytes;
        self.wakers += other.wakers;
        self.written_by_client += other.written_by_client;
        self.written_by_server += other.written_by_server;
        self.read += other.read;
    }
}

impl LinkHandle {
    pub(super) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

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

    /// How `reader` takes what arrives, from now on.
    pub(crate) fn set_appetite(&self, reader: End, appetite: Appetite) {
        self.link.locked().pipes[reader.other().index()].set_appetite(appetite);
        self.link.tell();
    }

    /// Nothing that `writer` writes arrives, until it is released.
    pub(crate) fn set_hold(&self, writer: End, hold: Hold) {
        self.link.record(format_args!(
            "what the {} writes is {hold:?}",
            writer.word()
        ));
        self.link.change(|state, now| {
            state.cut_off(now);
            let held_back = state.pipes.iter().any(Pipe::holds_back);
            state.pipes[writer.index()].set_hold(hold, now);
            if let Some(reset) = state.reset.as_mut().filter(|_| held_back)
                && reset.by == ResetBy::Packet
            {
                // It was held back, too.
                reset.at = reset.at.max(now);
            }
        });
    }

    /// The connection behaves as it should from now on. What is lost stays
    /// lost: a connection that had died silently is reset now, as its ends
    /// would find out once their packets were answered again.
    pub fn calm(&self) {
        self.link.record(format_args!("calm"));
        self.link.change(|state, now| {
            state.cut_off(now);
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

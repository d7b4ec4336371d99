//! What the one who watches a connection is told of its directions: when each
//! falls behind, when it is in time again, and when it ends.

use std::time::Duration;

use super::{End, Link, LinkEvent, Presence, State};
use crate::pipe::{FOR_EVER, Pipe};

/// What has been told of a direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Until when it is late, as far as was known.
    late_until: Option<Duration>,
    is_ended: bool,
}

impl State {
    /// Notes what has changed of the directions since it last looked.
    pub(super) fn look_at_paces(&mut self, now: Duration) {
        for writer in [End::Client, End::Server] {
            self.look_at_pace(writer, now);
            let is_ended = self.pipes[writer.index()].is_ended();
            let told = &mut self.told[writer.index()];
            if is_ended && !std::mem::replace(&mut told.is_ended, true) {
                self.events.push(LinkEvent::Ended(writer));
            }
        }
    }

    fn look_at_pace(&mut self, writer: End, now: Duration) {
        let pipe = &self.pipes[writer.index()];
        let late = if writer == End::Server && self.responses_go_nowhere() {
            Some(FOR_EVER)
        } else {
            pipe.late_until(now)
        };
        let told = &mut self.told[writer.index()].late_until;
        let before = std::mem::replace(told, late);
        let flowed = before.filter(|until| late.is_none() || *until < now);
        if let Some(until) = flowed {
            let since = until.min(now);
            self.events.push(LinkEvent::InTime { writer, since });
        }
        if late.is_some() && (before.is_none() || flowed.is_some()) {
            self.events.push(LinkEvent::Late(writer));
        }
    }
}

impl State {
    /// Whether the server writes and hears nothing of it: a fault swallows it, or
    /// the client is gone and its reset does not come through. (Where the client's
    /// direction goes nowhere, its end is told.)
    fn responses_go_nowhere(&self) -> bool {
        let is_gone = self.ends[End::Client.index()].presence == Presence::Dropped;
        let is_unheard = is_gone && self.pipes.iter().any(Pipe::holds_back);
        is_unheard || self.pipes[End::Server.index()].is_truncated()
    }
}

impl Link {
    /// Tells what has been noted, after the lock is released.
    pub(super) fn tell(&self) {
        let events = {
            let mut state = self.locked();
            state.look_at_paces(self.probe.elapsed());
            if state.events.is_empty() {
                return;
            }
            std::mem::take(&mut state.events)
        };
        events.into_iter().for_each(|event| self.told(event));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::rng::Seed;
    use crate::{Fault, LinkPlan, Probe, SimTime, Trace, link};

    #[tokio::test(start_paused = true)]
    async fn a_stall_that_nobody_saw_ending_had_ended_when_it_did() {
        let probe = Probe::new(SimTime::from_now(), Trace::off());
        let (mut client, mut server, handle) = link("link", LinkPlan::default(), Seed(1), &probe);
        let told = Arc::new(Mutex::new(Vec::new()));
        let place = Arc::clone(&told);
        client.watch(move |event| place.lock().unwrap().push(event));
        client.write_all(b"a").await.unwrap();
        handle.strike(End::Client, Fault::Stall { ms: 300 });
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(server.read_u8().await.unwrap(), b'a');
        let since = Duration::from_millis(300);
        let writer = End::Client;
        let expected = [LinkEvent::Late(writer), LinkEvent::InTime { writer, since }];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}

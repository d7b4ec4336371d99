//! A server of a model's own, and its connections.

use std::collections::BTreeMap;

use asyncserver::runtime::{BoxFuture, Clock};
use asyncserver::server::{
    ClientHandle, ConnectionOptions, ConnectionReport, OnHalfClose, Server, ServerBuilder,
};

use crate::answers::{Answer, judge};
use crate::clock::StillClock;
use crate::executor::{Starts, Workers};
use crate::shim::Poller;
use crate::tally::Tally;
use crate::wire::{Far, Near};

/// A server, its executor, and the count of its run functions.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub server: Server,
    /// Its executor.
    pub workers: Workers,
    /// What became of its run functions.
    pub tally: Tally,
}

impl World {
    /// A server whose time stands still.
    pub fn new(starts: Starts, build: impl FnOnce(ServerBuilder, &Tally) -> ServerBuilder) -> Self {
        Self::with_clock(StillClock, starts, build)
    }

    /// A server with this clock. A client's end of stream drains its connection
    /// unless `build` says otherwise.
    pub fn with_clock(
        clock: impl Clock,
        starts: Starts,
        build: impl FnOnce(ServerBuilder, &Tally) -> ServerBuilder,
    ) -> Self {
        let workers = Workers::new(starts);
        let tally = Tally::default();
        let builder = Server::builder()
            .clock(clock)
            .executor(workers.clone())
            .on_half_close(OnHalfClose::Finish);
        Self {
            server: build(builder, &tally).build(),
            workers,
            tally,
        }
    }

    /// The future of one connection, not yet polled.
    #[must_use]
    pub fn connect(&self, near: Near) -> Served {
        let server = self.server.clone();
        Served {
            future: Box::pin(async move {
                server
                    .handle_connection(near, ConnectionOptions::default())
                    .await
            }),
            poller: Poller::new(),
            stage: Stage::Unpolled,
        }
    }

    /// The oldest client.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn client(&self) -> ClientHandle {
        self.server.clients().swap_remove(0)
    }

    /// All has ended: nothing may be left.
    ///
    /// # Panics
    /// When something is.
    pub fn check_nothing_is_left(self) {
        self.workers.join();
        assert_eq!(self.server.task_count(), 0, "L6: every place is given back");
        assert_eq!(self.server.client_count(), 0, "no client is left");
        self.tally.check();
        // With the server go its counted places, which assert that none is taken;
        // a session that was left would keep it.
        drop(self.server);
        assert!(self.workers.is_last(), "every session is gone");
    }
}

/// A connection's future. It may go to another thread between two polls.
pub struct Served {
    future: BoxFuture<'static, ConnectionReport>,
    poller: Poller,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Unpolled,
    /// It is polled again when it was woken, and not before: each poll that is
    /// saved makes the model much smaller.
    Waits,
}

impl Served {
    /// Polls it once: it takes what has come, and waits.
    ///
    /// # Panics
    /// When it ends.
    pub fn settle(&mut self) {
        let polled = self.poller.poll(self.future.as_mut());
        assert!(polled.is_pending(), "the connection goes on");
        self.stage = Stage::Waits;
    }

    /// Serves it to its end on the calling thread.
    pub fn run(mut self) -> ConnectionReport {
        if self.stage == Stage::Waits {
            self.poller.wait();
        }
        self.poller.run(self.future.as_mut())
    }

    /// Serves it until it has written so many bytes.
    ///
    /// # Panics
    /// When it ends before.
    pub fn run_until(&mut self, far: &Far, bytes: usize) {
        while far.output().len() < bytes {
            if self.stage == Stage::Waits {
                self.poller.wait();
            }
            self.settle();
        }
    }

    /// Serves it to its end, and judges it.
    ///
    /// # Panics
    /// When it breaks a rule.
    pub fn run_and_judge(self, far: &Far) -> Ended {
        let report = self.run();
        Ended::new(far, report)
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

/// A connection that has ended, and was found to keep the rules.
#[derive(Debug)]
pub struct Ended {
    /// Its report.
    pub report: ConnectionReport,
    /// Its terminal responses, by id.
    pub answers: BTreeMap<u32, Answer>,
}

impl Ended {
    /// Judges a connection.
    ///
    /// # Panics
    /// When it breaks a rule.
    #[must_use]
    pub fn new(far: &Far, report: ConnectionReport) -> Self {
        let answers = judge(&far.output(), &report);
        Self { report, answers }
    }
}

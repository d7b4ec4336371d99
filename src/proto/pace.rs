//! How slow a client may be: idle, read and write limits (PROTOCOL L1–L3).

use std::time::{Duration, Instant};

use crate::canary::{Canary, planted};

/// What one byte adds to a credit, in nanoseconds: 1/240 s.
const NANOS_PER_BYTE: u64 = 1_000_000_000 / 240;

/// How many limits' worth of credit a writer may save up (PROTOCOL section 7).
const WRITE_SAVINGS: u32 = 6;

/// How a credit ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// No byte moved within the last limit.
    Timeout,
    /// Bytes moved, but too few.
    TooSlow,
}

/// Time that runs out unless bytes move.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    limit: Duration,
    most: Duration,
    left: Duration,
    /// Up to when `left` has been charged.
    charged: Instant,
    /// `Some` while the credit stands still.
    last_moved: Option<Instant>,
    running: bool,
}

impl Credit {
    /// A full credit that runs from now and can be saved up to `most`.
    #[must_use]
    pub const fn start(limit: Duration, most: Duration, now: Instant) -> Self {
        Self {
            limit,
            most,
            left: limit,
            charged: now,
            last_moved: None,
            running: true,
        }
    }

    fn charge(&mut self, now: Instant) {
        if self.running {
            let passed = now.saturating_duration_since(self.charged);
            self.left = self.left.saturating_sub(passed);
        }
        self.charged = now;
    }

    /// `bytes` moved.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        if bytes == 0 {
            return;
        }
        // What moved counts before the time is judged (PROTOCOL L13).
        let earned = Duration::from_nanos(NANOS_PER_BYTE.saturating_mul(bytes as u64));
        let passed = if self.running {
            now.saturating_duration_since(self.charged)
        } else {
            Duration::ZERO
        };
        self.left = self
            .left
            .saturating_add(earned)
            .saturating_sub(passed)
            .min(self.most);
        self.charged = now;
        self.last_moved = Some(now);
    }

    /// Lets the credit stand still, or run again.
    pub fn set_running(&mut self, running: bool, now: Instant) {
        self.charge(now);
        self.running = running;
    }

    /// When it runs out; `None` while it stands still.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.running {
            self.charged.checked_add(self.left)
        } else {
            None
        }
    }

    /// Whether, and how, it has run out.
    #[must_use]
    pub fn exhausted(&self, now: Instant) -> Option<Exhausted> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        // What stopped for a whole limit has stopped.
        let recent = self
            .last_moved
            .is_some_and(|moved| now.saturating_duration_since(moved) < self.limit);
        Some(if recent {
            Exhausted::TooSlow
        } else {
            Exhausted::Timeout
        })
    }
}

/// The clocks of one connection that the client's pace drives.
#[derive(Clone, Debug)]
pub struct Pace {
    wait: Duration,
    read: Duration,
    write: Duration,
    /// Since when there is nothing to do (L1).
    idle_since: Option<Instant>,
    /// By when the header that has begun must have come (L2).
    header_deadline: Option<Instant>,
    body: Option<Credit>,
    output: Option<Credit>,
}

impl Pace {
    /// The clocks of a connection on which nothing has happened yet.
    #[must_use]
    pub const fn new(wait: Duration, read: Duration, write: Duration) -> Self {
        Self {
            wait,
            read,
            write,
            idle_since: None,
            header_deadline: None,
            body: None,
            output: None,
        }
    }

    /// The connection has nothing to do, or has: `active` says that it did
    /// something since the last call (L1).
    pub fn set_idle(&mut self, idle: bool, active: bool, now: Instant) {
        if !idle {
            self.idle_since = None;
        } else if active || self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
    }

    /// A header has begun and is not whole; does nothing if its clock runs already.
    pub fn await_header(&mut self, now: Instant) {
        self.body = None;
        if self.header_deadline.is_none() {
            // A duration that the clock cannot add is no limit: no deadline is kept.
            self.header_deadline = now.checked_add(self.read);
        }
    }

    /// A message is being read, and `bytes` of it have come since the last call.
    pub fn await_body(&mut self, bytes: usize, fresh: bool, now: Instant) {
        self.header_deadline = None;
        match &mut self.body {
            Some(credit) if !fresh => credit.moved(bytes, now),
            body => {
                let most = if planted(Canary::ReadCreditUncapped) {
                    Duration::MAX
                } else {
                    self.read
                };
                let mut credit = Credit::start(self.read, most, now);
                credit.moved(bytes, now);
                *body = Some(credit);
            }
        }
    }

    /// Nothing is being read, or reading is paused (L12).
    pub fn stop_reading(&mut self) {
        self.header_deadline = None;
        self.body = None;
    }

    /// `bytes` of output were taken, and output is pending or not (L3).
    pub fn wrote(&mut self, bytes: usize, pending: bool, stands_still: bool, now: Instant) {
        if !pending {
            self.output = None;
            return;
        }
        let most = self.write.saturating_mul(WRITE_SAVINGS);
        let credit = self
            .output
            .get_or_insert_with(|| Credit::start(self.write, most, now));
        credit.moved(bytes, now);
        credit.set_running(!stands_still, now);
    }

    /// When something runs out; one of the three methods below then says what.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = self.idle_since.and_then(|at| at.checked_add(self.wait));
        let body = self.body.as_ref().and_then(Credit::deadline);
        let output = self.output.as_ref().and_then(Credit::deadline);
        [idle, self.header_deadline, body, output]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the connection has been idle for too long.
    #[must_use]
    pub fn wait_is_over(&self, now: Instant) -> bool {
        self.idle_since
            .and_then(|since| since.checked_add(self.wait))
            .is_some_and(|deadline| deadline <= now)
    }

    /// Whether, and how, the read limit was reached.
    #[must_use]
    pub fn read_exhausted(&self, now: Instant) -> Option<Exhausted> {
        if self.header_deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Exhausted::Timeout);
        }
        self.body.as_ref()?.exhausted(now)
    }

    /// Whether, and how, the write limit was reached.
    #[must_use]
    pub fn write_exhausted(&self, now: Instant) -> Option<Exhausted> {
        self.output.as_ref()?.exhausted(now)
    }

    /// Stops every clock.
    pub fn stop(&mut self) {
        self.idle_since = None;
        self.stop_reading();
        self.output = None;
    }
}

//! How slow a client may be (PROTOCOL L1–L3).

use super::time::{Nanos, earliest, has_come, later};

/// What a byte adds: 1/240 s. *Choice*: in whole nanoseconds.
const A_BYTE: i128 = 1_000_000_000 / 240;

/// How a limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No byte moved within the last limit.
    Timeout,
    /// Bytes moved, but too few.
    TooSlow,
}

/// Section 7's credit.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    limit: Nanos,
    most: i128,
    /// What is left at `since`. Below nothing only within a turn (L13).
    left: i128,
    since: Nanos,
    is_running: bool,
    last_moved: Option<Nanos>,
}

impl Credit {
    /// It starts at the limit, and is saved up to so many limits.
    #[must_use]
    pub fn start(limit: Nanos, limits: i128, now: Nanos) -> Self {
        Self {
            limit,
            most: i128::from(limit) * limits,
            left: i128::from(limit),
            since: now,
            is_running: true,
            last_moved: None,
        }
    }

    /// Time uses it up.
    fn pass(&mut self, now: Nanos) {
        if self.is_running {
            self.left -= i128::from(now - self.since);
        }
        self.since = now;
    }

    /// Each byte moved adds, up to the most.
    pub fn moved(&mut self, bytes: usize, now: Nanos) {
        if bytes > 0 {
            self.pass(now);
            self.left = (self.left + A_BYTE * bytes as i128).min(self.most);
            self.last_moved = Some(now);
        }
    }

    /// L15: while a body's next bytes are awaited it stands still.
    pub fn set_running(&mut self, is_running: bool, now: Nanos) {
        self.pass(now);
        self.is_running = is_running;
    }

    /// When it will be at zero.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        // A limit that the clock cannot add is none.
        if !self.is_running || self.limit == super::time::NEVER {
            return None;
        }
        // What is below nothing was used up by the last time that was charged.
        Some(self.since + u64::try_from(self.left.max(0)).unwrap_or(0))
    }

    /// At zero the connection ends.
    #[must_use]
    pub fn reached(&self, now: Nanos) -> Option<Reached> {
        if !has_come(self.deadline(), now) {
            return None;
        }
        match self.last_moved {
            Some(moved) if now - moved < self.limit => Some(Reached::TooSlow),
            _ => Some(Reached::Timeout),
        }
    }
}

/// The clocks of one connection.
#[derive(Clone, Debug)]
pub struct Pace {
    wait: Nanos,
    read: Nanos,
    write: Nanos,
    /// L1: since when there is nothing to do.
    pub idle_since: Option<Nanos>,
    /// L2: since when a header is awaited.
    pub header_since: Option<Nanos>,
    /// L2: the credit of the body that is read.
    pub body: Option<Credit>,
    /// L3: the credit of what is to be written.
    pub output: Option<Credit>,
}

impl Pace {
    /// No clock runs.
    #[must_use]
    pub const fn new(wait: Nanos, read: Nanos, write: Nanos) -> Self {
        Self {
            wait,
            read,
            write,
            idle_since: None,
            header_since: None,
            body: None,
            output: None,
        }
    }

    /// L1; `active`: something was accepted meanwhile.
    pub fn set_idle(&mut self, idle: bool, active: bool, now: Nanos) {
        self.idle_since = match self.idle_since {
            _ if !idle => None,
            Some(since) if !active => Some(since),
            _ => Some(now),
        };
    }

    /// L2: a header, in all, from its first byte.
    pub fn await_header(&mut self, now: Nanos) {
        self.body = None;
        self.header_since = self.header_since.or(Some(now));
    }

    /// L2: `bytes` of a body came; `fresh`: it is another one, or reading was paused.
    pub fn await_body(&mut self, bytes: usize, fresh: bool, now: Nanos) {
        self.header_since = None;
        let mut credit = match self.body {
            Some(credit) if !fresh => credit,
            _ => Credit::start(self.read, 1, now),
        };
        credit.moved(bytes, now);
        self.body = Some(credit);
    }

    /// L12: L2 stands still.
    pub const fn stop_reading(&mut self) {
        self.header_since = None;
        self.body = None;
    }

    /// L3.
    pub fn wrote(&mut self, bytes: usize, is_pending: bool, stands_still: bool, now: Nanos) {
        if is_pending {
            let started = Credit::start(self.write, 6, now);
            let mut credit = self.output.unwrap_or(started);
            credit.moved(bytes, now);
            credit.set_running(!stands_still, now);
            self.output = Some(credit);
        } else {
            self.output = None;
        }
    }

    /// When the next one is reached.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        earliest([
            self.idle_since.and_then(|since| later(since, self.wait)),
            self.header_since.and_then(|since| later(since, self.read)),
            self.body.and_then(|credit| credit.deadline()),
            self.output.and_then(|credit| credit.deadline()),
        ])
    }

    /// L1.
    #[must_use]
    pub fn waited(&self, now: Nanos) -> bool {
        has_come(self.idle_since.and_then(|at| later(at, self.wait)), now)
    }

    /// L2.
    #[must_use]
    pub fn read(&self, now: Nanos) -> Option<Reached> {
        if has_come(self.header_since.and_then(|at| later(at, self.read)), now) {
            return Some(Reached::Timeout);
        }
        self.body.and_then(|credit| credit.reached(now))
    }

    /// L3.
    #[must_use]
    pub fn written(&self, now: Nanos) -> Option<Reached> {
        self.output.and_then(|credit| credit.reached(now))
    }

    /// The connection is over, or lingers.
    pub const fn stop(&mut self) {
        self.idle_since = None;
        self.stop_reading();
        self.output = None;
    }
}

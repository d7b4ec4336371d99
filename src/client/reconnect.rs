//! Getting a connection, again and again: which address, after which pause, in
//! which protocol.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::caught::{caught, drop_caught};
use super::connector::AnyConnector;
use super::error::{ConnectError, ConnectionLoss};
use crate::proto::{Negotiation, ProtocolViolation};
use crate::runtime::{Address, BoxFuture, Transport};

/// How long a client pauses before it tries again: a random time up to `first`,
/// then up to twice that, and so on up to `longest`.
///
/// The pauses grow with each failure in a row, of connecting or of a
/// connection on which nothing was ever answered.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::client::Pauses;
/// let pauses = Pauses { longest: Duration::from_secs(1), ..Pauses::default() };
/// assert_eq!(pauses.first, Duration::from_millis(50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The longest first pause. Default 50 ms.
    pub first: Duration,
    /// The longest pause of all. Default 4 s.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            longest: Duration::from_secs(4),
        }
    }
}

impl Pauses {
    /// A pause before trying again for the (n + 1)th time: full jitter.
    pub(super) fn draw(&self, tries_before: u32, rng: &mut fastrand::Rng) -> Duration {
        let factor = 2_u32.saturating_pow(tries_before);
        let upper = self.first.saturating_mul(factor).min(self.longest);
        Duration::from_nanos(rng.u64(0..=u64::try_from(upper.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// ```text
/// Resting ── wanted, and any pause over ──► Connecting ── connected ──► Resting
///    ▲                                          │
///    └────────── failed, or too late ───────────┘
/// ```
pub(super) struct Dialer {
    connector: Arc<dyn AnyConnector>,
    addresses: Vec<Address>,
    /// The address to try next.
    next: usize,
    connect_timeout: Duration,
    pauses: Pauses,
    rng: fastrand::Rng,
    /// In a row: attempts that failed, and connections that ended unheard.
    failures: u32,
    last_error: Option<ConnectError>,
    not_before: Option<Instant>,
    /// For the next connection alone.
    skip_negotiation: Negotiation,
    attempt: Option<Attempt>,
}

struct Attempt {
    connecting: BoxFuture<'static, io::Result<Box<dyn Transport>>>,
    deadline: Option<Instant>,
}

/// What a turn of the dialer brought.
pub(super) enum Dialed {
    /// Nothing yet.
    Waiting,
    Connected {
        stream: Box<dyn Transport>,
        /// `Skip`: it follows one on which Negotiate met a base server.
        negotiation: Negotiation,
    },
    /// The attempt failed, and the next one can be made at once.
    Failed,
    /// All addresses have failed once more.
    RoundFailed,
}

/// Why a connection is no longer the one that calls are given to.
pub(super) enum Ended {
    /// It was not needed.
    Unused,
    /// It was lost, or the server said Goodbye, having answered calls.
    Useful,
    /// The same, without having answered any; why, if it was lost.
    Useless(Option<ConnectionLoss>),
    /// The server broke the protocol (PROTOCOL C1), having answered no call.
    Violated(ProtocolViolation),
    /// The server closed it on Negotiate (PROTOCOL C6).
    OnNegotiate,
}

impl Dialer {
    pub(super) fn new(
        connector: Box<dyn AnyConnector>,
        addresses: Vec<Address>,
        connect_timeout: Duration,
        pauses: Pauses,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            connector: connector.into(),
            addresses,
            next: 0,
            connect_timeout,
            pauses,
            rng,
            failures: 0,
            last_error: None,
            not_before: None,
            skip_negotiation: Negotiation::Ask,
            attempt: None,
        }
    }

    /// Goes on with connecting, or begins to, where that is wanted.
    pub(super) fn poll(&mut self, wanted: bool, now: Instant, cx: &mut Context<'_>) -> Dialed {
        if self.attempt.is_none() {
            let too_early = self.not_before.is_some_and(|at| now < at);
            if !wanted || too_early {
                return Dialed::Waiting;
            }
            self.begin(now);
        }
        let Some(attempt) = &mut self.attempt else {
            return Dialed::Waiting;
        };
        let result = match caught("connector", || attempt.connecting.as_mut().poll(cx)) {
            Ok(Poll::Ready(result)) => Some(result),
            Ok(Poll::Pending) if attempt.deadline.is_some_and(|at| at <= now) => None,
            Ok(Poll::Pending) => return Dialed::Waiting,
            Err(panicked) => Some(Err(panicked)),
        };
        drop_caught("connector", self.attempt.take());
        let address = self.address();
        match result {
            Some(Ok(stream)) => {
                tracing::debug!(%address, "connected");
                let negotiation = std::mem::replace(&mut self.skip_negotiation, Negotiation::Ask);
                return Dialed::Connected {
                    stream,
                    negotiation,
                };
            }
            Some(Err(error)) => self.fail(
                ConnectError::Failed {
                    address,
                    error: error.into(),
                },
                now,
            ),
            None => {
                let after = self.connect_timeout;
                self.fail(ConnectError::TimedOut { address, after }, now);
            }
        }
        self.after_failure()
    }

    /// The connection that calls were given to has ended, or takes no more.
    pub(super) fn ended(&mut self, how: Ended, now: Instant) -> Dialed {
        match how {
            Ended::Unused => {}
            Ended::OnNegotiate => {
                // PROTOCOL C6: once, at once, to the same server.
                self.skip_negotiation = Negotiation::Skip;
                self.not_before = None;
            }
            Ended::Useful => {
                self.failures = 0;
                self.count_failure(now);
            }
            Ended::Useless(None) => self.count_failure(now),
            Ended::Useless(Some(loss)) => {
                let address = self.address();
                self.fail(ConnectError::LostAtOnce { address, loss }, now);
                return self.after_failure();
            }
            Ended::Violated(violation) => {
                let address = self.address();
                self.fail(ConnectError::BrokeProtocol { address, violation }, now);
                return self.after_failure();
            }
        }
        Dialed::Waiting
    }

    /// A call was answered: failures before do not count any more.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.last_error = None;
    }

    /// When `poll` must be called again, if a connection is wanted.
    pub(super) fn next_deadline(&self, wanted: bool) -> Option<Instant> {
        match &self.attempt {
            Some(attempt) => attempt.deadline,
            None if wanted => self.not_before,
            None => None,
        }
    }

    /// How often in a row it failed, and how it did last, or is about to, having
    /// taken more than `after`. `None`: connecting is not what has failed.
    pub(super) fn failure(&self, after: Duration) -> Option<(u32, ConnectError)> {
        let takes_too_long = || ConnectError::TimedOut {
            address: self.address(),
            after,
        };
        let last = self.last_error.clone();
        let last = last.or_else(|| self.attempt.as_ref().map(|_| takes_too_long()))?;
        Some((self.failures, last))
    }

    /// A pause before a call is tried once more.
    pub(super) fn draw_pause(&mut self, tries_before: u32) -> Duration {
        self.pauses.draw(tries_before, &mut self.rng)
    }

    fn begin(&mut self, now: Instant) {
        let connector = Arc::clone(&self.connector);
        let address = self.address();
        self.attempt = Some(Attempt {
            connecting: Box::pin(async move { connector.connect_boxed(address).await }),
            deadline: now.checked_add(self.connect_timeout),
        });
    }

    fn address(&self) -> Address {
        self.addresses[self.next].clone()
    }

    fn fail(&mut self, error: ConnectError, now: Instant) {
        tracing::debug!(%error, failures = self.failures + 1, "no connection");
        self.last_error = Some(error);
        self.skip_negotiation = Negotiation::Ask;
        self.count_failure(now);
    }

    /// The next address has its turn, at once; when all have had theirs, after a pause.
    fn count_failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.next = (self.next + 1) % self.addresses.len();
        self.not_before = None;
        if self.is_round_over() {
            let rounds = self.failures / self.address_count();
            let pause = self.draw_pause(rounds - 1);
            self.not_before = now.checked_add(pause);
        }
    }

    fn after_failure(&self) -> Dialed {
        if self.is_round_over() {
            Dialed::RoundFailed
        } else {
            Dialed::Failed
        }
    }

    fn is_round_over(&self) -> bool {
        self.failures.is_multiple_of(self.address_count())
    }

    fn address_count(&self) -> u32 {
        u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }
}

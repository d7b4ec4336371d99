//! The times of PROTOCOL section 7.

use std::time::Duration;

/// How long a peer, or a task's code, may make a server wait.
///
/// A duration that the clock cannot add is no limit.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::server::Timeouts;
/// let mut timeouts = Timeouts::default();
/// timeouts.wait = Duration::from_secs(60);
/// assert_eq!(timeouts.read, Timeouts::DEFAULT_READ);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Time with no live task, no partly read request and nothing to write (PROTOCOL L1).
    pub wait: Duration,
    /// For a request's header in all; for a message as credit, which every
    /// byte prolongs by 1/240 s, up to this much (PROTOCOL L2).
    pub read: Duration,
    /// Credit while there is something to write; every byte prolongs it by
    /// 1/240 s, up to six times this much (PROTOCOL L3).
    pub write: Duration,
    /// For the application's handshake (PROTOCOL L9). Default 10 s.
    pub handshake: Duration,
    /// Of a graceful end that names no duration (PROTOCOL L10). Default 10 s.
    pub grace: Duration,
    /// The wait for the client's end of stream at the end (PROTOCOL L11). Default 2 s.
    pub linger: Duration,
    /// The longest time in which a task function neither asks for bytes nor
    /// returns (PROTOCOL L14). Default 5 s.
    pub task_function: Duration,
    /// The longest wait for a body's next bytes (PROTOCOL L15). Default 30 s.
    pub body: Duration,
    /// Between two signs of life of a task, where granted (PROTOCOL E5).
    /// Default 15 s. Less than 1 ms counts as 1 ms.
    pub processing_interval: Duration,
}

impl Timeouts {
    /// The default of [`Timeouts::wait`].
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(30 * 60);
    /// The default of [`Timeouts::read`].
    pub const DEFAULT_READ: Duration = Duration::from_secs(5);
    /// The default of [`Timeouts::write`].
    pub const DEFAULT_WRITE: Duration = Duration::from_secs(5);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            wait: Self::DEFAULT_WAIT,
            read: Self::DEFAULT_READ,
            write: Self::DEFAULT_WRITE,
            handshake: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            task_function: Duration::from_secs(5),
            body: Duration::from_secs(30),
            processing_interval: Duration::from_secs(15),
        }
    }
}

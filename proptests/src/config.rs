//! What a server was set to when a history was recorded, and how exact its
//! times are.

use asyncserver::wire::ByteOrder;
use serde::{Deserialize, Serialize};

use crate::tasks::{TaskSpec, demo_tasks};

/// The server's settings, what its tasks do, and the tolerances of the judge.
///
/// Every field that a JSON text leaves out has its default.
///
/// ```
/// let config: oracle::Config = serde_json::from_str("{\"limits\": {\"in_flight\": 2}}").unwrap();
/// assert_eq!(config.limits.in_flight, 2);
/// assert_eq!(config.tasks.len(), 15);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The order of bytes in integers (N2).
    pub byte_order: Order,
    /// What an end of stream between two requests does (D7).
    pub on_half_close: OnHalfClose,
    /// The features that the client asks for in a first request of its own,
    /// before every step of a scenario; absent: it does not negotiate.
    pub negotiate: Option<u32>,
    /// Section 7, sizes.
    pub limits: Limits,
    /// Section 7, times.
    pub timeouts: Timeouts,
    /// What is registered.
    pub tasks: Vec<TaskSpec>,
    /// What each direction of the transport takes before a writer has to wait, in bytes.
    pub transport_buffer_bytes: usize,
    /// Whether other connections of the same server have tasks, too.
    pub neighbours: Neighbours,
    /// How exact the times of the history are.
    pub tolerance: Tolerance,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            byte_order: Order::Big,
            on_half_close: OnHalfClose::Leave,
            negotiate: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            tasks: demo_tasks(),
            transport_buffer_bytes: 1 << 16,
            neighbours: Neighbours::None,
            tolerance: Tolerance::default(),
        }
    }
}

impl Config {
    /// What is registered under `code`.
    #[must_use]
    pub fn task(&self, code: u8) -> Option<&TaskSpec> {
        self.tasks.iter().find(|task| task.code == code)
    }

    /// L4 for one task code; `None` stands for a request without a registration.
    #[must_use]
    pub fn message_limit(&self, code: u8) -> usize {
        self.task(code)
            .and_then(|task| task.message_limit_bytes)
            .unwrap_or(self.limits.message_bytes)
    }
}

/// The byte order of a connection (N2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The most significant byte first.
    Big,
    /// The least significant byte first.
    Little,
}

impl From<Order> for ByteOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Big => Self::Big,
            Order::Little => Self::Little,
        }
    }
}

/// What an end of stream between two requests does (D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHalfClose {
    /// The client is gone: the connection ends as in D8.
    Leave,
    /// The server drains as in D3.
    Drain,
}

/// Whether the server has other clients, which take places of L6, L7 and L16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbours {
    /// This connection is the only one.
    None,
    /// There may be others.
    Some,
}

/// The sizes of section 7, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// L4, in payload bytes.
    pub message_bytes: usize,
    /// L5, in tasks.
    pub in_flight: usize,
    /// L6, in tasks.
    pub tasks: usize,
    /// L7 of a connection, in bytes.
    pub unsent_bytes: usize,
    /// L7 of the server, in bytes.
    pub server_unsent_bytes: usize,
    /// L8.
    pub connections: usize,
    /// L16 of a connection, in bytes.
    pub held_bytes: usize,
    /// L16 of the server, in bytes.
    pub server_held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 4 << 20,
            in_flight: 1024,
            tasks: 65_536,
            unsent_bytes: 1 << 20,
            server_unsent_bytes: 1 << 30,
            connections: 10_000,
            held_bytes: 16 << 20,
            server_held_bytes: 1 << 30,
        }
    }
}

/// The times of section 7, with its defaults, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// L1.
    pub wait_ms: u64,
    /// L2.
    pub read_ms: u64,
    /// L3.
    pub write_ms: u64,
    /// L9.
    pub handshake_ms: u64,
    /// L10.
    pub grace_ms: u64,
    /// L11.
    pub linger_ms: u64,
    /// L14.
    pub task_function_ms: u64,
    /// L15.
    pub body_ms: u64,
    /// E5's interval.
    pub processing_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            wait_ms: 30 * 60 * 1000,
            read_ms: 5000,
            write_ms: 5000,
            handshake_ms: 10_000,
            grace_ms: 10_000,
            linger_ms: 2000,
            task_function_ms: 5000,
            body_ms: 30_000,
            processing_ms: 15_000,
        }
    }
}

/// How far the times of a history may be off what PROTOCOL says, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerance {
    /// How much earlier than its time something may happen (rounding of timers).
    pub early_ms: u64,
    /// How much later: a turn of the server, a thread that had to wait.
    pub late_ms: u64,
    /// The longest time that a byte, an end or a reset is on its way.
    pub network_ms: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            early_ms: 2,
            late_ms: 20,
            network_ms: 0,
        }
    }
}

//! What a client's connection is set to.

use std::time::Duration;

use crate::wire::ByteOrder;

/// How long a client waits for what (PROTOCOL C4).
///
/// A duration that the clock cannot add is no limit.
///
/// ```
/// use std::time::Duration;
/// use asyncserver::client::ClientTimeouts;
/// let mut timeouts = ClientTimeouts::default();
/// timeouts.response = Duration::from_secs(30);
/// assert_eq!(timeouts.write, Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// Time without traffic after which a KeepAlive is sent; half the server's
    /// idle limit where that is shorter. Default 3 min.
    pub keep_alive: Duration,
    /// Time without any sign of a call's response, from its submission, from
    /// its being sent and from each sign of life on. Default 5 min.
    pub response: Duration,
    /// Time for which the transport takes nothing of what there is to write,
    /// while nothing is read either. Default 5 s.
    pub write: Duration,
    /// Time without a call until the connection is closed. Default 10 min.
    pub unused: Duration,
    /// For one attempt to connect. Default 10 s.
    pub connect: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(3 * 60),
            response: Duration::from_secs(5 * 60),
            write: Duration::from_secs(5),
            unused: Duration::from_secs(10 * 60),
            connect: Duration::from_secs(10),
        }
    }
}

/// Whether a client asks the server for the extensions (PROTOCOL C6).
///
/// ```
/// use asyncserver::client::Negotiation;
/// assert_eq!(Negotiation::default(), Negotiation::Ask);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// Negotiate is the first request; a server that does not know it is spoken
    /// to in the base protocol.
    #[default]
    Ask,
    /// The base protocol from the first byte on: no Goodbye, no signs of life,
    /// and nothing is cancelled on the server.
    Skip,
}

/// What [`Calls`](super::Calls) is set to.
#[derive(Clone, Copy, Debug)]
pub struct CallSettings {
    /// The connection's byte order (PROTOCOL N2).
    pub byte_order: ByteOrder,
    /// Whether Negotiate is the first request.
    pub negotiation: Negotiation,
    /// The longest whole response, in payload bytes (PROTOCOL C8).
    pub response_limit_bytes: usize,
    /// The clocks of PROTOCOL C4; `connect` is not looked at here.
    pub timeouts: ClientTimeouts,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            byte_order: ByteOrder::Big,
            negotiation: Negotiation::Ask,
            response_limit_bytes: 64 << 20,
            timeouts: ClientTimeouts::default(),
        }
    }
}

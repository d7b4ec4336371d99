//! The bodies of Negotiate and of its answer (E3).

use bytes::{BufMut, BytesMut};

use super::code::ByteOrder;

/// The version of Negotiate that this library speaks.
pub const NEGOTIATE_VERSION: u8 = 1;

/// A set of protocol extensions (E3).
///
/// ```
/// use asyncserver::wire::Features;
/// let asked = Features::GOODBYE | Features::PROCESSING;
/// assert!(asked.contains(Features::GOODBYE));
/// assert_eq!(asked.bits(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// No extension.
    pub const NONE: Self = Self(0);
    /// The server says how many requests it took before it goes away (E4).
    pub const GOODBYE: Self = Self(1);
    /// The server gives signs of life for tasks that take long (E5).
    pub const PROCESSING: Self = Self(2);
    /// Every extension that this library has.
    pub const SUPPORTED: Self = Self(3);

    /// The set with exactly these bits, known or not.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as they stand on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every extension of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The extensions that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::BitOr for Features {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why the message of a Negotiate, or of its answer, is not one.
///
/// ```
/// use asyncserver::wire::{ByteOrder, Negotiate, NegotiateError};
/// let short = Negotiate::decode(&[1, 0], ByteOrder::Big);
/// assert_eq!(short, Err(NegotiateError::TooShort { length: 2, expected: 5 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiateError {
    /// Bytes are missing.
    #[error("the message has {length} bytes where at least {expected} are needed")]
    TooShort {
        /// How many bytes came.
        length: usize,
        /// How many are needed.
        expected: usize,
    },
    /// Version 0 does not exist.
    #[error("version 0 does not exist")]
    VersionZero,
}

/// The message of a Negotiate request.
///
/// ```
/// use asyncserver::wire::{ByteOrder, Features, Negotiate};
/// let asked = Negotiate { version: 1, features: Features::GOODBYE };
/// let mut bytes = bytes::BytesMut::new();
/// asked.encode(ByteOrder::Big, &mut bytes);
/// assert_eq!(Negotiate::decode(&bytes, ByteOrder::Big), Ok(asked));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiate {
    /// The newest version that the client speaks.
    pub version: u8,
    /// The extensions that it asks for.
    pub features: Features,
}

impl Negotiate {
    /// The message's length, in bytes.
    pub const LENGTH: usize = 5;

    /// Reads the message; what follows its five bytes is ignored (E3).
    ///
    /// # Errors
    /// [`NegotiateError`]: the server answers `Error MALFORMED`.
    pub fn decode(payload: &[u8], order: ByteOrder) -> Result<Self, NegotiateError> {
        let (version, [features]) = decode(payload, order)?;
        Ok(Self {
            version,
            features: Features(features),
        })
    }

    /// Appends the payload (not yet in blocks) to `into`.
    pub fn encode(&self, order: ByteOrder, into: &mut BytesMut) {
        into.put_u8(self.version);
        into.put_slice(&order.encode_u32(self.features.0));
    }
}

/// The message that answers a Negotiate.
///
/// `u32::MAX` in a limit stands for none, or for one that does not fit.
///
/// ```
/// use asyncserver::wire::{ByteOrder, Features, Negotiated};
/// let answer = Negotiated {
///     version: 1, granted: Features::NONE, max_in_flight: 1024,
///     max_message_bytes: 4 << 20, idle_limit_s: 1800, processing_interval_s: 15,
/// };
/// let mut bytes = bytes::BytesMut::new();
/// answer.encode(ByteOrder::Little, &mut bytes);
/// assert_eq!(Negotiated::decode(&bytes, ByteOrder::Little), Ok(answer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The version that the server answers with.
    pub version: u8,
    /// The extensions that are in force from this response on.
    pub granted: Features,
    /// L5, in tasks.
    pub max_in_flight: u32,
    /// The longest message that any registration takes (L4), in bytes.
    pub max_message_bytes: u32,
    /// L1, in seconds, rounded up.
    pub idle_limit_s: u32,
    /// The processing interval (E5), in seconds, rounded up.
    pub processing_interval_s: u32,
}

impl Negotiated {
    /// The message's length, in bytes.
    pub const LENGTH: usize = 21;

    /// Reads the message; what follows its bytes is ignored.
    ///
    /// # Errors
    /// [`NegotiateError`]: the client treats the server as a base server.
    pub fn decode(payload: &[u8], order: ByteOrder) -> Result<Self, NegotiateError> {
        let (
            version,
            [
                granted,
                max_in_flight,
                max_message_bytes,
                idle_limit_s,
                processing_interval_s,
            ],
        ) = decode(payload, order)?;
        Ok(Self {
            version,
            granted: Features(granted),
            max_in_flight,
            max_message_bytes,
            idle_limit_s,
            processing_interval_s,
        })
    }

    /// Appends the payload (not yet in blocks) to `into`.
    pub fn encode(&self, order: ByteOrder, into: &mut BytesMut) {
        into.put_u8(self.version);
        for field in [
            self.granted.0,
            self.max_in_flight,
            self.max_message_bytes,
            self.idle_limit_s,
            self.processing_interval_s,
        ] {
            into.put_slice(&order.encode_u32(field));
        }
    }
}

/// The version byte and the `N` integers behind it.
fn decode<const N: usize>(
    payload: &[u8],
    order: ByteOrder,
) -> Result<(u8, [u32; N]), NegotiateError> {
    let expected = 1 + 4 * N;
    let (Some(&version), Some(fields)) = (payload.first(), payload.get(1..expected)) else {
        return Err(NegotiateError::TooShort {
            length: payload.len(),
            expected,
        });
    };
    if version == 0 {
        return Err(NegotiateError::VersionZero);
    }
    let mut integers = [0; N];
    for (integer, bytes) in integers.iter_mut().zip(fields.chunks_exact(4)) {
        *integer = order.decode_u32([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Ok((version, integers))
}

//! The small numbers of the protocol: task codes, task ids, error codes,
//! response codes and the byte order that integers have on a connection.

use std::fmt;

use byteorder::{BigEndian, ByteOrder as _, LittleEndian};

/// Codes from this one upwards belong to the protocol, for tasks and errors alike (N6, N9).
pub const RESERVED: u8 = 250;

/// Says which task function a request is for (N6).
///
/// Codes 0–249 belong to the application, 250–255 are reserved.
///
/// ```
/// use asyncserver::wire::TaskCode;
/// assert!(!TaskCode(249).is_reserved());
/// assert!(TaskCode::CANCEL.is_reserved());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskCode(pub u8);

impl TaskCode {
    /// KeepAlive (E1): answered at once with an empty message.
    pub const KEEP_ALIVE: Self = Self(250);
    /// Cancel (E2): names the task to cancel in the header's id.
    pub const CANCEL: Self = Self(251);
    /// Negotiate (E3): asks for extensions.
    pub const NEGOTIATE: Self = Self(252);

    /// Whether the code belongs to the protocol rather than to the application (N6).
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 >= RESERVED
    }
}

impl fmt::Display for TaskCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u8> for TaskCode {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

/// The number that a client chose for one of its tasks (N7).
///
/// ```
/// use asyncserver::wire::TaskId;
/// assert_eq!(TaskId(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for TaskId {
    fn from(id: u32) -> Self {
        Self(id)
    }
}

/// Why a task failed, as the `Error` response says it (N9).
///
/// Codes 0–249 belong to the application; the named ones are the library's.
///
/// ```
/// use asyncserver::wire::ErrorCode;
/// assert_eq!(ErrorCode::CANCELLED.to_string(), "255 (cancelled)");
/// assert_eq!(ErrorCode(7).to_string(), "7");
/// assert!(ErrorCode::UNAVAILABLE.never_started());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u8);

impl ErrorCode {
    /// The task was cancelled (T10).
    pub const CANCELLED: Self = Self(255);
    /// The task's code failed unexpectedly (T9).
    pub const PANICKED: Self = Self(254);
    /// The task overran a limit that the server sets (T12, L14, L15).
    pub const DEADLINE: Self = Self(253);
    /// The server is over a limit (L6, L16, a registration's own); safe to send again.
    pub const UNAVAILABLE: Self = Self(252);
    /// Nothing is registered under the request's task code (T4).
    pub const UNKNOWN_TASK: Self = Self(251);
    /// The message of a reserved task could not be understood (E3).
    pub const MALFORMED: Self = Self(250);

    /// Whether the code is one of the library's own (N9).
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 >= RESERVED
    }

    /// Whether the code promises that the run function did not start (N9).
    #[must_use]
    pub const fn never_started(self) -> bool {
        matches!(
            self,
            Self::UNAVAILABLE | Self::UNKNOWN_TASK | Self::MALFORMED
        )
    }

    /// The library's name for the code, if it is one of the library's.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::CANCELLED => Some("cancelled"),
            Self::PANICKED => Some("panicked"),
            Self::DEADLINE => Some("deadline"),
            Self::UNAVAILABLE => Some("unavailable"),
            Self::UNKNOWN_TASK => Some("unknown task"),
            Self::MALFORMED => Some("malformed"),
            _ => None,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl From<u8> for ErrorCode {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

/// The first byte of a response (section 4).
///
/// ```
/// use asyncserver::wire::ResponseCode;
/// assert_eq!(ResponseCode::from_byte(2), Some(ResponseCode::Goodbye));
/// assert_eq!(ResponseCode::from_byte(9), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResponseCode {
    /// The task's result follows.
    Ok = 0,
    /// The task failed.
    Error = 1,
    /// The server is going away (E4).
    Goodbye = 2,
    /// The task is still being worked on (E5).
    Processing = 3,
}

impl ResponseCode {
    /// The code that `byte` stands for, if it is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Ok),
            1 => Some(Self::Error),
            2 => Some(Self::Goodbye),
            3 => Some(Self::Processing),
            _ => None,
        }
    }
}

/// The order of the bytes of an integer on one connection (N2).
///
/// ```
/// use asyncserver::wire::ByteOrder;
/// assert_eq!(ByteOrder::Big.encode_u32(1), [0, 0, 0, 1]);
/// assert_eq!(ByteOrder::Little.decode_u32([1, 0, 0, 0]), 1);
/// assert_eq!(ByteOrder::default(), ByteOrder::Big);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The most significant byte first; the default.
    #[default]
    Big,
    /// The least significant byte first.
    Little,
}

impl ByteOrder {
    /// The four bytes of `value` in this order.
    #[must_use]
    pub fn encode_u32(self, value: u32) -> [u8; 4] {
        let mut bytes = [0; 4];
        match self {
            Self::Big => BigEndian::write_u32(&mut bytes, value),
            Self::Little => LittleEndian::write_u32(&mut bytes, value),
        }
        bytes
    }

    /// The integer that four bytes in this order stand for.
    #[must_use]
    pub fn decode_u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => BigEndian::read_u32(&bytes),
            Self::Little => LittleEndian::read_u32(&bytes),
        }
    }
}

//! How a task's own code says that it failed (PROTOCOL T8).

use std::error::Error;
use std::fmt;

use crate::wire::ErrorCode;

/// An error of the application's that has a code for its client.
///
/// Implement it for your own error type, and `?` turns it into a [`TaskError`]:
///
/// ```
/// use asyncserver::server::{ErrorCoder, TaskError};
/// use asyncserver::wire::ErrorCode;
///
/// #[derive(Debug)]
/// struct OutOfStock;
/// impl std::fmt::Display for OutOfStock {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("out of stock") }
/// }
/// impl std::error::Error for OutOfStock {}
/// impl ErrorCoder for OutOfStock {
///     fn error_code(&self) -> ErrorCode { ErrorCode(3) }
/// }
///
/// fn order() -> Result<(), TaskError> { Err(OutOfStock)? }
/// assert_eq!(order().unwrap_err().code(), Some(ErrorCode(3)));
/// ```
pub trait ErrorCoder: Error + Send + Sync + 'static {
    /// The code that the client is sent. Codes from 250 upwards have the
    /// library's meanings (PROTOCOL N9).
    fn error_code(&self) -> ErrorCode;
}

/// How a run function, or a body, fails.
///
/// Only an explicit [`TaskError::fatal`] ends the connection: nothing turns
/// into it by `?` alone.
///
/// ```
/// use asyncserver::server::TaskError;
/// use asyncserver::wire::ErrorCode;
/// assert_eq!(TaskError::code_only(ErrorCode(7)).code(), Some(ErrorCode(7)));
/// assert_eq!(TaskError::fatal("the disk is gone").code(), None);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The client is answered `Error` with this code; the connection goes on.
    Coded {
        /// The code.
        code: ErrorCode,
        /// What happened, for the log; clients never see it.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The situation is serious: the connection ends (PROTOCOL T8).
    Fatal(Box<dyn Error + Send + Sync>),
}

impl TaskError {
    /// A failure of which nothing is known but its code.
    #[must_use]
    pub const fn code_only(code: ErrorCode) -> Self {
        Self::Coded { code, source: None }
    }

    /// A failure with a code, and what happened.
    pub fn coded(code: ErrorCode, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Coded {
            code,
            source: Some(source.into()),
        }
    }

    /// A failure that ends the connection.
    pub fn fatal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fatal(source.into())
    }

    /// The code, if there is one.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Coded { code, .. } => Some(*code),
            Self::Fatal(_) => None,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coded {
                code,
                source: Some(source),
            } => write!(f, "{source} (error code {code})"),
            Self::Coded { code, source: None } => write!(f, "error code {code}"),
            Self::Fatal(source) => source.fmt(f),
        }
    }
}

impl<E: ErrorCoder> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self::coded(error.error_code(), error)
    }
}

/// A task function's error: the connection ends (PROTOCOL T3).
///
/// Any error turns into it by `?`; a task function should only return one
/// if the situation is serious.
///
/// ```
/// use asyncserver::server::TaskFunctionError;
/// fn parse(text: &str) -> Result<u32, TaskFunctionError> { Ok(text.parse()?) }
/// assert!(parse("x").is_err());
/// ```
#[derive(Debug)]
pub struct TaskFunctionError(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for TaskFunctionError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TaskFunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Callers' code that runs in the client's task, called so that its panic
//! harms nobody else's call.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `code` returns, or that it panicked: `whose` is to be no longer used then.
pub(super) fn caught<T>(whose: &str, code: impl FnOnce() -> T) -> io::Result<T> {
    // What is left in a broken state is never looked at again.
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|_| io::Error::other(format!("the {whose} panicked")))
}

/// Drops a value whose destructor is the caller's.
pub(super) fn drop_caught<T>(whose: &str, value: T) {
    if let Err(error) = caught(whose, || drop(value)) {
        tracing::debug!(%error, "when dropped");
    }
}

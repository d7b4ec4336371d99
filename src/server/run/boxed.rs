//! Boxes of run functions, which are used again.

use std::future::Future;

use futures_util::FutureExt;
use tokio_util::sync::ReusableBoxFuture;

use crate::server::error::TaskError;
use crate::server::response::Response;

/// A run function's future. It is dropped as soon as it has ended; its box can
/// be used again.
pub(crate) type BoxRunFuture = ReusableBoxFuture<'static, Result<Response, TaskError>>;

/// The future in the box that a former one left, or in a new one.
pub(crate) fn in_box<F, R>(future: F, spare: &mut Option<BoxRunFuture>) -> BoxRunFuture
where
    F: Future<Output = Result<R, TaskError>> + Send + 'static,
    R: Into<Response> + 'static,
{
    let future = future.map(|result| result.map(Into::into));
    match spare.take() {
        Some(mut spare) => {
            spare.set(future);
            spare
        }
        None => ReusableBoxFuture::new(future),
    }
}

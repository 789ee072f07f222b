//! The directory of an execution: what every executor of this machine shares, because the agent is the same everywhere.

pub(crate) mod end;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod gate;
pub(crate) mod layout;
pub(crate) mod note;
pub(crate) mod space;
pub(crate) mod spec;
pub(crate) mod stops;

use std::io;
use std::time::Duration;

use runvoy_core::port::ExecutorError;

/// Runs what waits for a disk where it is in nobody's way.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ExecutorError> {
    unblocked(work).await.map_err(ExecutorError::unavailable)
}

/// The same, for those who want to know what was in the way.
pub(crate) async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Milliseconds, as agents count time.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! The directory of an execution: what every executor of this machine shares, because the agent is the same everywhere.

pub(crate) mod end;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod gate;
pub(crate) mod layout;
pub(crate) mod space;
pub(crate) mod stops;

use std::io;
use std::time::Duration;

use runvoy_core::port::ExecutorError;

/// Runs what waits for a disk where it is in nobody's way.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ExecutorError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(ExecutorError::unavailable),
        Err(error) => Err(ExecutorError::unavailable(error)),
    }
}

/// Milliseconds, as agents count time.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

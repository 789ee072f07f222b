//! Stopping a task, and what to do about an agent that does not react.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use runvoy_core::id::ExecutionId;
use runvoy_core::limits;
use runvoy_core::port::ExecutorError;

use super::describe::{Found, look};
use super::{Shared, container};
use crate::task_dir::blocking;
use crate::task_dir::layout::execution_dir;
use crate::task_dir::note::Told;
use crate::task_dir::stops::request;

/// Asks the agent to stop its command. One that was asked before and did not in time is killed, with its container.
pub(super) async fn stop(
    shared: &Arc<Shared>,
    id: ExecutionId,
    grace: Option<Duration>,
) -> Result<(), ExecutorError> {
    let own = Arc::clone(shared);
    let order = blocking(move || {
        let dir = execution_dir(&own.root, id);
        let Found::Claimed { told, .. } = look(&dir, id) else {
            own.stops.forget(id);
            return Ok(Order::Nothing);
        };
        if own.stops.is_overdue(id, grace.unwrap_or_else(|| own_grace(&told))) {
            tracing::warn!(execution.id = %id, "an agent did not stop in time and is killed");
            return Ok(Order::Kill);
        }
        Ok(Order::Stop(request(&dir, grace)))
    });
    let name = container::name(id);
    match order.await? {
        Order::Nothing => Ok(()),
        Order::Kill => Ok(shared.engine.kill(&name, "SIGKILL").await?),
        // On a full disk the order cannot be written; the signal alone stops it with its own grace.
        Order::Stop(written) => {
            let sent = shared.engine.kill(&name, "SIGTERM").await;
            // Nobody is late who was not asked.
            sent.inspect_err(|_| shared.stops.forget(id))?;
            written.map_err(ExecutorError::unavailable)
        }
    }
}

/// The grace that the task was started with.
fn own_grace(told: &Told) -> Duration {
    told.grace_ms.map_or(limits::MAX_GRACE, Duration::from_millis)
}

/// What a look at the task says is to be done.
enum Order {
    Nothing,
    Kill,
    /// And whether the agent will find the grace that was asked for.
    Stop(io::Result<()>),
}

//! Containers that are left over: of starts that were given up, and of ends that an engine did not clean up.

use std::sync::Arc;

use bollard::models::ContainerSummary;
use jiff::SignedDuration;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{ExecutorError, TaskState};

use super::describe::{Found, execution, life, look};
use super::engine::Life;
use super::{Shared, container};
use crate::task_dir::blocking;
use crate::task_dir::layout::execution_dir;

/// A claim is seen before the engine says that its container runs; by then it does, or never will.
const STARTED: SignedDuration = SignedDuration::from_mins(5);

/// Removes the containers of this server that no command runs in, and none will.
pub(super) async fn sweep(shared: &Arc<Shared>) -> Result<(), ExecutorError> {
    let containers = shared.engine.list(container::label(&shared.root)).await?;
    let own = Arc::clone(shared);
    let left = blocking(move || {
        Ok(containers.iter().filter_map(|found| left_over(&own, found)).collect::<Vec<_>>())
    });
    for id in left.await? {
        tracing::debug!(execution.id = %id, "a container that was left over is removed");
        shared.engine.remove(&container::name(id)).await?;
    }
    Ok(())
}

/// Removes the container of a task that died, once nobody needs it any more.
pub(super) async fn remove(shared: &Arc<Shared>, id: ExecutionId) -> Result<(), ExecutorError> {
    let own = Arc::clone(shared);
    // One that never claimed its command is in the hands of its start.
    let is_decided = blocking(move || {
        let found = look(&execution_dir(&own.root, id), id);
        Ok(!matches!(found, Found::State(TaskState::Pending | TaskState::Unknown)))
    });
    if is_decided.await? {
        shared.engine.remove(&container::name(id)).await?;
    }
    Ok(())
}

fn left_over(shared: &Shared, container: &ContainerSummary) -> Option<ExecutionId> {
    let id = execution(container)?;
    let life = life(container);
    let is_left = match look(&execution_dir(&shared.root, id), id) {
        // Its agent ends by itself in a moment.
        Found::State(TaskState::Exited(_)) => life != Life::Running,
        Found::State(TaskState::Gone) => true,
        Found::State(TaskState::Pending) => life != Life::Running && !shared.jobs.is_under_way(id),
        Found::State(_) => false,
        Found::Claimed { started_at, .. } => match life {
            Life::Over => true,
            Life::Created => shared.clock.now().duration_since(started_at) > STARTED,
            Life::Running => false,
        },
    };
    is_left.then_some(id)
}

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

/// What is left over, and how it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It does not run; should it do so by now, it stays.
    Dead,
    /// Nothing may run in it, whether it does or not.
    Barred,
}

/// Removes the containers of this server that no command runs in, and none will.
pub(super) async fn sweep(shared: &Arc<Shared>) -> Result<(), ExecutorError> {
    let containers = shared.engine.list(container::label(&shared.root)).await?;
    let own = Arc::clone(shared);
    let left = blocking(move || {
        let is_left = |found: &ContainerSummary| {
            let id = execution(found)?;
            left_over(&own, id, life(found)).map(|_| id)
        };
        Ok(containers.iter().filter_map(is_left).collect::<Vec<_>>())
    });
    for id in left.await? {
        sweep_one(shared, id).await?;
    }
    Ok(())
}

/// Looks again, while no start can come in between: since the list was made somebody may have started it.
async fn sweep_one(shared: &Arc<Shared>, id: ExecutionId) -> Result<(), ExecutorError> {
    let Some(_held) = shared.jobs.hold(id) else { return Ok(()) };
    let name = container::name(id);
    let Some(life) = shared.engine.life(&name).await? else { return Ok(()) };
    let own = Arc::clone(shared);
    let Some(left) = blocking(move || Ok(left_over(&own, id, life))).await? else { return Ok(()) };
    tracing::debug!(execution.id = %id, "a container that was left over is removed");
    match left {
        Left::Dead => shared.engine.remove_dead(&name).await?,
        Left::Barred => shared.engine.remove(&name).await?,
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
        shared.engine.remove_dead(&container::name(id)).await?;
    }
    Ok(())
}

fn left_over(shared: &Shared, id: ExecutionId, life: Life) -> Option<Left> {
    let dead = |is_left: bool| is_left.then_some(Left::Dead);
    match look(&execution_dir(&shared.root, id), id) {
        // The engine has said once that it is over: what runs by now, somebody else has started.
        Found::State(TaskState::Gone | TaskState::Exited(_)) => Some(Left::Barred),
        // One that has not claimed its command may do so yet.
        Found::State(TaskState::Pending) => dead(life != Life::Running),
        Found::State(_) => None,
        Found::Claimed { started_at, .. } => dead(match life {
            Life::Over(_) => true,
            Life::Created => shared.clock.now().duration_since(started_at) > STARTED,
            Life::Running => false,
        }),
    }
}

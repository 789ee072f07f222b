//! What became of tasks: by the server's own notes first, by the engine where only that can know.
//!
//! No file that a container can write to is believed without one of them.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use jiff::Timestamp;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{ExecutorError, TaskState};
use runvoy_task::{Gate, GateState};

use super::Shared;
use super::container::LABEL_EXECUTION;
use super::engine::Life;
use super::word::{self, Word};
use crate::task_dir::layout::execution_dir;
use crate::task_dir::note::{Note, Over, Told};
use crate::task_dir::{blocking, end, files, gate};

/// What the notes tell.
pub(super) enum Found {
    /// All there is to know.
    State(TaskState),
    /// A container was told the command, and the engine knows whether it still runs.
    Claimed { started_at: Timestamp, told: Box<Told>, is_preparing: bool },
}

/// Looks at the notes of an execution. What cannot be read is unknown.
pub(super) fn look(dir: &Path, id: ExecutionId) -> Found {
    try_look(dir).unwrap_or_else(|error| {
        tracing::warn!(execution.id = %id, %error, "a task could not be looked at");
        Found::State(TaskState::Unknown)
    })
}

fn try_look(dir: &Path) -> io::Result<Found> {
    let note = match Note::read(dir)? {
        Some(Note::Told(told)) => {
            return Ok(match &told.over {
                Some(over) => Found::State(exited(dir, &told, over)?),
                None => Found::Claimed {
                    started_at: end::time(told.at_ms),
                    told: Box::new(told),
                    is_preparing: files::is_preparing(dir),
                },
            });
        }
        note => note,
    };
    // No container was told anything: nobody but agents and servers was ever in the directory.
    Ok(Found::State(match gate::read(dir)? {
        Some(Gate { state: GateState::Revoked, .. }) => TaskState::Gone,
        // Another executor's.
        Some(_) => TaskState::Unknown,
        // Not all is done yet that a revoke does.
        None if note.is_some() => TaskState::Pending,
        // Without a directory nothing was started here. With one, a container may be on its way to the gate.
        None if dir.try_exists()? => TaskState::Pending,
        None => TaskState::Gone,
    }))
}

fn exited(dir: &Path, told: &Told, over: &Over) -> io::Result<TaskState> {
    Ok(TaskState::Exited(Box::new(end::of_container(dir, told, over)?)))
}

/// Tells what became of tasks, in the order asked.
pub(super) async fn describe(
    shared: &Arc<Shared>,
    ids: &[ExecutionId],
) -> Result<Vec<TaskState>, ExecutorError> {
    let found = look_at(shared, ids.to_vec()).await?;
    let told: Vec<(ExecutionId, Told)> = found
        .iter()
        .filter_map(|(id, found)| match found {
            Found::Claimed { told, .. } => Some((*id, Told::clone(told))),
            Found::State(_) => None,
        })
        .collect();
    let words = word::ask(shared, &told).await;
    let ended = settle(shared, told, &words).await?;
    let state = |(id, found)| match found {
        Found::State(TaskState::Pending) => match shared.jobs.refusal(id) {
            Some(refusal) => TaskState::Refused(Box::new(refusal)),
            None => TaskState::Pending,
        },
        Found::State(state) => state,
        Found::Claimed { started_at, told, is_preparing } => match (words.get(&id), ended.get(&id)) {
            (Some(Word::Runs), _) => {
                TaskState::Running { started_at, handle: None, image_digest: told.image_digest, is_preparing }
            }
            (Some(Word::Over(_)), Some(state)) => state.clone(),
            _ => TaskState::Unknown,
        },
    };
    let states: Vec<(ExecutionId, TaskState)> =
        found.into_iter().map(|(id, found)| (id, state((id, found)))).collect();
    for (id, state) in &states {
        if matches!(state, TaskState::Exited(_) | TaskState::Gone) {
            shared.stops.forget(*id);
            shared.jobs.forget(*id);
            shared.deaths.forget(*id);
        }
    }
    Ok(states.into_iter().map(|(_, state)| state).collect())
}

async fn look_at(
    shared: &Arc<Shared>,
    ids: Vec<ExecutionId>,
) -> Result<Vec<(ExecutionId, Found)>, ExecutorError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let shared = Arc::clone(shared);
    blocking(move || Ok(ids.into_iter().map(|id| (id, look(&execution_dir(&shared.root, id), id))).collect()))
        .await
}

/// Notes which containers are over, and how they ended.
async fn settle(
    shared: &Arc<Shared>,
    told: Vec<(ExecutionId, Told)>,
    words: &HashMap<ExecutionId, Word>,
) -> Result<HashMap<ExecutionId, TaskState>, ExecutorError> {
    let over: Vec<_> = told
        .into_iter()
        .filter_map(|(id, told)| match words.get(&id)? {
            Word::Over(exit_code) => Some((id, told, *exit_code)),
            Word::Runs => None,
        })
        .collect();
    if over.is_empty() {
        return Ok(HashMap::new());
    }
    let shared = Arc::clone(shared);
    blocking(move || {
        let ended = over.into_iter().map(|(id, told, exit_code)| {
            let over = Over { at_ms: shared.now_ms(), exit_code };
            let state = ended(&execution_dir(&shared.root, id), told, over).unwrap_or_else(|error| {
                tracing::warn!(execution.id = %id, %error, "how a task ended could not be looked at");
                TaskState::Unknown
            });
            (id, state)
        });
        Ok(ended.collect())
    })
    .await
}

fn ended(dir: &Path, told: Told, over: Over) -> io::Result<TaskState> {
    let is_spoilt = told.container.is_none();
    if is_spoilt && matches!(gate::read(dir), Ok(Some(Gate { state: GateState::Revoked, .. }))) {
        return Ok(TaskState::Gone);
    }
    let told = told.end(dir, over)?;
    exited(dir, &told, told.over.as_ref().unwrap_or(&over))
}

/// Whose container it is.
pub(super) fn execution(container: &ContainerSummary) -> Option<ExecutionId> {
    container.labels.as_ref()?.get(LABEL_EXECUTION)?.parse().ok()
}

/// Whether its processes may live. A list tells no exit codes.
pub(super) fn life(container: &ContainerSummary) -> Life {
    match container.state {
        Some(ContainerSummaryStateEnum::CREATED) => Life::Created,
        Some(
            ContainerSummaryStateEnum::EXITED
            | ContainerSummaryStateEnum::DEAD
            | ContainerSummaryStateEnum::REMOVING,
        ) => Life::Over(None),
        _ => Life::Running,
    }
}

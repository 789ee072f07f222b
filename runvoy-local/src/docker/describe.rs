//! What became of tasks: by their directories first, by the engine where only that can know.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use jiff::Timestamp;
use nix::errno::Errno;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{ExecutorError, TaskExit, TaskState};
use runvoy_task::{Gate, GateState};

use super::Shared;
use super::container::{self, LABEL_EXECUTION};
use super::engine::Life;
use super::note::Note;
use crate::task_dir::layout::execution_dir;
use crate::task_dir::{blocking, end, gate};

/// What a directory tells.
pub(super) enum Found {
    /// All there is to know.
    State(TaskState),
    /// The command was claimed, and the engine knows whether it still runs.
    Claimed { started_at: Timestamp, image_digest: Option<String> },
}

/// Looks into a directory. What cannot be read is unknown.
pub(super) fn look(dir: &Path, id: ExecutionId) -> Found {
    try_look(dir).unwrap_or_else(|error| {
        tracing::warn!(execution.id = %id, %error, "a task could not be looked at");
        Found::State(TaskState::Unknown)
    })
}

fn try_look(dir: &Path) -> io::Result<Found> {
    let note = Note::read(dir)?;
    let image_digest = note.as_ref().map(|note| note.image_digest.clone());
    // What is not readable there is the command's own doing: as good as nothing.
    if let Some(mut exit) = own(end::exit(dir))? {
        exit.image_digest = image_digest;
        return Ok(Found::State(TaskState::Exited(Box::new(exit))));
    }
    let claimed = |at_ms| Found::Claimed { started_at: end::time(at_ms), image_digest: image_digest.clone() };
    if let Some(at_ms) = note.as_ref().and_then(|note| note.claimed_at_ms) {
        return Ok(claimed(at_ms));
    }
    match (own(gate::read(dir))?, note) {
        (Some(Gate { state: GateState::Revoked, .. }), _) => Ok(Found::State(TaskState::Gone)),
        (Some(gate), Some(note)) => {
            Note { claimed_at_ms: Some(gate.at_ms), ..note }.write(dir)?;
            Ok(claimed(gate.at_ms))
        }
        // Another executor's.
        (Some(_), None) => Ok(Found::State(TaskState::Unknown)),
        // Without a directory nothing was started here. With one, a container may be on its way to the gate.
        (None, _) => Ok(Found::State(if dir.try_exists()? { TaskState::Pending } else { TaskState::Gone })),
    }
}

/// A file that a command spoilt is no error of the disk.
fn own<T>(read: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::Other || is_no_file(&error) => {
            tracing::warn!(%error, "a file of a command was tampered with");
            Ok(None)
        }
        other => other,
    }
}

/// A link, or what cannot be opened like a file.
fn is_no_file(error: &io::Error) -> bool {
    let codes = [Errno::ELOOP, Errno::ENXIO, Errno::ENOTDIR, Errno::EISDIR];
    codes.iter().any(|code| error.raw_os_error() == Some(*code as i32))
}

/// Tells what became of tasks, in the order asked.
pub(super) async fn describe(
    shared: &Arc<Shared>,
    ids: &[ExecutionId],
) -> Result<Vec<TaskState>, ExecutorError> {
    let found = look_at(shared, ids.to_vec()).await?;
    let claimed: Vec<ExecutionId> =
        found.iter().filter(|(_, found)| matches!(found, Found::Claimed { .. })).map(|(id, _)| *id).collect();
    let lives = lives(shared, &claimed).await;
    let over: Vec<ExecutionId> = claimed
        .into_iter()
        .filter(|id| lives.as_ref().is_some_and(|lives| lives.get(id).is_none_or(|life| *life == Life::Over)))
        .collect();
    // It may have written its end record and ended since that was looked for.
    let again: HashMap<_, _> = look_at(shared, over).await?.into_iter().collect();
    let state = |(id, found)| match (found, again.get(&id), lives.is_some()) {
        (Found::State(TaskState::Pending), _, _) => match shared.jobs.refusal(id) {
            Some(refusal) => TaskState::Refused(Box::new(refusal)),
            None => TaskState::Pending,
        },
        (Found::State(state), _, _) => state,
        (Found::Claimed { .. }, Some(Found::State(state)), _) => state.clone(),
        (Found::Claimed { started_at, image_digest }, Some(Found::Claimed { .. }), _) => {
            let lost = TaskExit { image_digest, ..end::lost(started_at, shared.clock.now()) };
            TaskState::Exited(Box::new(lost))
        }
        (Found::Claimed { .. }, None, false) => TaskState::Unknown,
        (Found::Claimed { started_at, image_digest }, None, true) => {
            TaskState::Running { started_at, handle: None, image_digest }
        }
    };
    let states: Vec<(ExecutionId, TaskState)> =
        found.into_iter().map(|(id, found)| (id, state((id, found)))).collect();
    for (id, state) in &states {
        if matches!(state, TaskState::Exited(_) | TaskState::Gone) {
            shared.stops.forget(*id);
            shared.jobs.forget(*id);
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

/// Which containers live, of those that exist; `None` where the engine did not say.
async fn lives(shared: &Shared, ids: &[ExecutionId]) -> Option<HashMap<ExecutionId, Life>> {
    let asked = match ids {
        [] => return Some(HashMap::new()),
        [id] => shared
            .engine
            .life(&container::name(*id))
            .await
            .map(|life| life.map(|life| (*id, life)).into_iter().collect()),
        _ => shared.engine.list(container::label(&shared.root)).await.map(|containers| {
            containers.iter().filter_map(|found| Some((execution(found)?, life(found)))).collect()
        }),
    };
    asked.inspect_err(|error| tracing::warn!(%error, "tasks could not be looked at")).ok()
}

/// Whose container it is.
pub(super) fn execution(container: &ContainerSummary) -> Option<ExecutionId> {
    container.labels.as_ref()?.get(LABEL_EXECUTION)?.parse().ok()
}

/// Whether its processes may live.
pub(super) fn life(container: &ContainerSummary) -> Life {
    match container.state {
        Some(ContainerSummaryStateEnum::CREATED) => Life::Created,
        Some(
            ContainerSummaryStateEnum::EXITED
            | ContainerSummaryStateEnum::DEAD
            | ContainerSummaryStateEnum::REMOVING,
        ) => Life::Over,
        _ => Life::Running,
    }
}

//! What became of a task.

use std::io;
use std::path::Path;

use runvoy_core::id::ExecutionId;
use runvoy_core::port::TaskState;
use runvoy_task::GateState;

use super::processes::{Held, Left, sweep};
use crate::task_dir::{end, gate, layout};

/// Looks an execution up. What cannot be read is unknown.
pub(super) fn describe(dir: &Path, id: ExecutionId, boot_id: &str) -> TaskState {
    look(dir, id, boot_id).unwrap_or_else(|error| {
        tracing::warn!(execution.id = %id, %error, "a task could not be looked at");
        TaskState::Unknown
    })
}

fn look(dir: &Path, id: ExecutionId, boot_id: &str) -> io::Result<TaskState> {
    if let Some(exit) = exited(dir)? {
        return Ok(exit);
    }
    let Some(gate) = gate::read(dir)? else {
        // Without a directory nothing was started here. With one, an agent may be on its way to the gate.
        return Ok(if dir.try_exists()? { TaskState::Pending } else { TaskState::Gone });
    };
    let GateState::Claimed(agent) = &gate.state else { return Ok(TaskState::Gone) };
    if agent.boot_id != boot_id {
        return Ok(exited(dir)?.unwrap_or(TaskState::Gone));
    }
    if layout::container_note(dir).try_exists()? {
        // Another executor's: what became of it, only its engine knows.
        return Ok(TaskState::Unknown);
    }
    let running = TaskState::Running { started_at: end::time(gate.at_ms), handle: None, image_digest: None };
    if Held::agent(agent)?.is_some() {
        return Ok(running);
    }
    // It may have written its end record and ended since that was looked for.
    if let Some(exit) = exited(dir)? {
        return Ok(exit);
    }
    Ok(match sweep(dir, id)? {
        Left::Agent => running,
        Left::Something => TaskState::Unknown,
        // The inner agent outlives the outer one for as long as it takes to write the record.
        Left::Nothing => exited(dir)?.unwrap_or(TaskState::Gone),
    })
}

fn exited(dir: &Path) -> io::Result<Option<TaskState>> {
    Ok(end::exit(dir)?.map(|exit| TaskState::Exited(Box::new(exit))))
}

//! What became of a task.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::TaskState;
use runvoy_task::GateState;

use super::processes::{Held, Left, has_agent, sweep};
use crate::task_dir::note::Note;
use crate::task_dir::{end, files, gate};

/// What is known besides what stands in the execution's directory.
pub(super) struct Known<'a> {
    pub(super) boot_id: &'a str,
    /// Whether this server has an agent of it, or is about to.
    pub(super) has_child: bool,
    pub(super) now: Timestamp,
}

/// Looks an execution up. What cannot be read is unknown.
pub(super) fn describe(dir: &Path, id: ExecutionId, known: &Known<'_>) -> TaskState {
    look(dir, id, known).unwrap_or_else(|error| {
        tracing::warn!(execution.id = %id, %error, "a task could not be looked at");
        TaskState::Unknown
    })
}

fn look(dir: &Path, id: ExecutionId, known: &Known<'_>) -> io::Result<TaskState> {
    if let Some(Note::Told(told)) = Note::read(dir)? {
        // Another executor's: what became of it, only its engine knows.
        let Some(over) = &told.over else { return Ok(TaskState::Unknown) };
        return Ok(TaskState::Exited(Box::new(end::of_container(dir, &told, over)?)));
    }
    if let Some(exit) = exited(dir)? {
        return Ok(exit);
    }
    let Some(gate) = gate::read(dir)? else { return before_the_gate(dir, id, known) };
    let GateState::Claimed(agent) = &gate.state else { return Ok(TaskState::Gone) };
    let lost = || TaskState::Exited(Box::new(end::lost(end::time(gate.at_ms), known.now)));
    if agent.boot_id != known.boot_id {
        return Ok(exited(dir)?.unwrap_or_else(lost));
    }
    let running = TaskState::Running {
        started_at: end::time(gate.at_ms),
        handle: None,
        image_digest: None,
        is_preparing: files::is_preparing(dir),
    };
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
        Left::Nothing => exited(dir)?.unwrap_or_else(lost),
    })
}

/// Nobody has claimed the command, and perhaps nobody is on the way to do so.
fn before_the_gate(dir: &Path, id: ExecutionId, known: &Known<'_>) -> io::Result<TaskState> {
    if !dir.try_exists()? {
        return Ok(TaskState::Gone);
    }
    if known.has_child || has_agent(dir, id)? {
        return Ok(TaskState::Pending);
    }
    // An agent may have passed the gate and died since that was looked at: the next look tells.
    Ok(if gate::read(dir)?.is_some() { TaskState::Pending } else { TaskState::Gone })
}

fn exited(dir: &Path) -> io::Result<Option<TaskState>> {
    Ok(end::exit(dir)?.map(|exit| TaskState::Exited(Box::new(exit))))
}

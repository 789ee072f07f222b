//! What became of a task.

use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use runvoy_core::execution::LogSummary;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{TaskExit, TaskState};
use runvoy_task::{EndRecord, GateState, layout};

use super::gate;
use super::processes::{Held, Left, sweep};

/// Looks an execution up. What cannot be read is unknown.
pub(super) fn describe(dir: &Path, id: ExecutionId, boot_id: &str) -> TaskState {
    look(dir, id, boot_id).unwrap_or_else(|error| {
        tracing::warn!(execution.id = %id, %error, "a task could not be looked at");
        TaskState::Unknown
    })
}

fn look(dir: &Path, id: ExecutionId, boot_id: &str) -> io::Result<TaskState> {
    if let Some(exit) = exit(dir)? {
        return Ok(exit);
    }
    let Some(gate) = gate::read(dir)? else {
        // Without a directory nothing was started here. With one, an agent may be on its way to the gate.
        return Ok(if dir.try_exists()? { TaskState::Pending } else { TaskState::Gone });
    };
    let GateState::Claimed(agent) = &gate.state else { return Ok(TaskState::Gone) };
    if agent.boot_id != boot_id {
        return Ok(exit(dir)?.unwrap_or(TaskState::Gone));
    }
    let running = TaskState::Running { started_at: time(gate.at_ms), handle: None };
    if Held::agent(agent)?.is_some() {
        return Ok(running);
    }
    // It may have written its end record and ended since that was looked for.
    if let Some(exit) = exit(dir)? {
        return Ok(exit);
    }
    Ok(match sweep(dir, id)? {
        Left::Agent => running,
        Left::Something => TaskState::Unknown,
        // The inner agent outlives the outer one for as long as it takes to write the record.
        Left::Nothing => exit(dir)?.unwrap_or(TaskState::Gone),
    })
}

/// What the end record says.
fn exit(dir: &Path) -> io::Result<Option<TaskState>> {
    let bytes = match fs::read(dir.join(layout::END)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let end = EndRecord::from_json(&bytes).map_err(io::Error::other)?;
    let log = LogSummary {
        events: end.events,
        bytes: end.bytes,
        replacements: end.replacements,
        hash: format!("blake3:{}", end.hash),
    };
    Ok(Some(TaskState::Exited(Box::new(TaskExit {
        exit_code: end.exit_code,
        reason: end.reason,
        message: end.message,
        started_at: time(end.started_at_ms),
        finished_at: time(end.finished_at_ms),
        log: Some(log),
        phases: end.phases,
    }))))
}

fn time(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

//! What became of a task.

use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use runvoy_core::execution::LogSummary;
use runvoy_core::id::ExecutionId;
use runvoy_core::port::{TaskExit, TaskState};
use runvoy_task::{EndReason, EndRecord, GateState, layout};

use super::gate;
use super::processes::{Held, Left, has_agent, sweep};

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
    if let Some(exit) = exit(dir)? {
        return Ok(exit);
    }
    let Some(gate) = gate::read(dir)? else { return before_the_gate(dir, id, known) };
    let GateState::Claimed(agent) = &gate.state else { return Ok(TaskState::Gone) };
    let lost = || lost(time(gate.at_ms), known.now);
    if agent.boot_id != known.boot_id {
        return Ok(exit(dir)?.unwrap_or_else(lost));
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
        Left::Nothing => exit(dir)?.unwrap_or_else(lost),
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

/// The command was claimed and nothing of its task is left, not even a word about its end.
fn lost(started_at: Timestamp, now: Timestamp) -> TaskState {
    TaskState::Exited(Box::new(TaskExit {
        exit_code: None,
        reason: EndReason::Lost,
        message: None,
        started_at,
        finished_at: now,
        log: None,
        phases: Vec::new(),
    }))
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

//! Stopping a task, and what to do about an agent that does not react.

use std::io;
use std::path::Path;
use std::time::Duration;

use runvoy_core::id::ExecutionId;
use runvoy_task::{GateState, layout};
use rustix::process::Signal;

use super::processes::{Held, Left, kill_all, sweep};
use crate::task_dir::gate;
use crate::task_dir::note::Note;
use crate::task_dir::stops::{Stops, own_grace, request};

/// Asks the agent to stop its command. One that was asked before and did not in time is killed, with all it kept.
pub(super) fn stop(
    dir: &Path,
    id: ExecutionId,
    grace: Option<Duration>,
    stops: &Stops,
    boot_id: &str,
) -> io::Result<()> {
    if matches!(Note::read(dir)?, Some(Note::Told(_))) {
        // Another executor's: the gate may be the command's own work, and name anybody.
        return Ok(());
    }
    let gate = gate::read(dir)?.map(|gate| gate.state);
    let Some(GateState::Claimed(agent)) = gate else { return Ok(()) };
    if agent.boot_id != boot_id || dir.join(layout::END).try_exists()? {
        stops.forget(id);
        return Ok(());
    }
    let is_overdue = stops.is_overdue(id, grace.unwrap_or_else(|| own_grace(dir)));
    let Some(held) = Held::agent(&agent)? else {
        // A supervisor ends by itself when its keeper is dead, unless the command has halted it.
        return match sweep(dir, id)? {
            Left::Agent if is_overdue => kill_all(dir, id),
            _ => Ok(()),
        };
    };
    if is_overdue {
        tracing::warn!(execution.id = %id, "an agent did not stop in time and is killed");
        return kill_all(dir, id);
    }
    // On a full disk the order cannot be written; the signal alone stops it with its own grace.
    let written = request(dir, grace);
    held.signal(Signal::TERM)?;
    written
}

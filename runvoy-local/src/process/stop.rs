//! Stopping a task, and what to do about an agent that does not react.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runvoy_core::id::ExecutionId;
use runvoy_core::limits;
use runvoy_task::{GateState, StopRequest, layout};
use rustix::process::Signal;

use super::gate;
use super::layout::GRACE;
use super::processes::{Held, Left, kill_all, sweep};

/// What an agent gets beyond the grace before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells apart the private files of stops that run at once.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// When agents that were told to stop count as hung.
#[derive(Default)]
pub(super) struct Stops(Mutex<HashMap<ExecutionId, Instant>>);

impl Stops {
    /// Notes a stop. Whether an earlier one is overdue.
    fn is_overdue(&self, id: ExecutionId, grace: Duration) -> bool {
        let now = Instant::now();
        let due = now.checked_add(grace + PATIENCE).unwrap_or(now + limits::MAX_GRACE);
        let mut stops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = stops.entry(id).or_insert(due);
        *first = due.min(*first);
        now >= *first
    }

    /// Forgets a task that has ended.
    pub(super) fn forget(&self, id: ExecutionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Asks the agent to stop its command. One that was asked before and did not in time is killed, with all it kept.
pub(super) fn stop(
    dir: &Path,
    id: ExecutionId,
    grace: Option<Duration>,
    stops: &Stops,
    boot_id: &str,
) -> io::Result<()> {
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

/// Complete before it has the name that counts: the agent reads it when it is signalled.
fn request(dir: &Path, grace: Option<Duration>) -> io::Result<()> {
    let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let private = dir.join(format!(".stop.{}.{number}", std::process::id()));
    fs::write(&private, serde_json::to_vec(&StopRequest::new(grace_ms))?)?;
    fs::rename(&private, dir.join(layout::STOP))
}

/// The grace that the task was started with.
fn own_grace(dir: &Path) -> Duration {
    let text = fs::read_to_string(dir.join(GRACE)).ok();
    text.and_then(|text| text.parse().ok()).map_or(limits::MAX_GRACE, Duration::from_millis)
}

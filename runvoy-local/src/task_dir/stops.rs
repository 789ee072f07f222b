//! Orders to stop, and when an agent that got one counts as hung.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runvoy_core::id::ExecutionId;
use runvoy_core::limits;
use runvoy_task::{StopRequest, layout};

use super::files;
#[cfg(feature = "process")]
use super::layout::GRACE;

/// What an agent gets beyond the grace before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells apart the private files of stops that run at once.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// When agents that were told to stop count as hung.
#[derive(Default)]
pub(crate) struct Stops(Mutex<HashMap<ExecutionId, Instant>>);

impl Stops {
    /// Notes a stop. Whether an earlier one is overdue.
    pub(crate) fn is_overdue(&self, id: ExecutionId, grace: Duration) -> bool {
        let now = Instant::now();
        let due = now.checked_add(grace + PATIENCE).unwrap_or(now + limits::MAX_GRACE);
        let mut stops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = stops.entry(id).or_insert(due);
        *first = due.min(*first);
        now >= *first
    }

    /// Forgets a task that has ended.
    pub(crate) fn forget(&self, id: ExecutionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Leaves the order for the agent, complete before it has the name that counts: the agent reads it when it is signalled.
pub(crate) fn request(dir: &Path, grace: Option<Duration>) -> io::Result<()> {
    let grace_ms = grace.map(super::millis);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let private = dir.join(format!(".stop.{}.{number}", std::process::id()));
    files::write_new(&private, &serde_json::to_vec(&StopRequest::new(grace_ms))?)?;
    fs::rename(&private, dir.join(layout::STOP))
}

/// The grace that the task was started with.
#[cfg(feature = "process")]
pub(crate) fn own_grace(dir: &Path) -> Duration {
    let text = files::read(dir, GRACE).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).map_or(limits::MAX_GRACE, Duration::from_millis)
}

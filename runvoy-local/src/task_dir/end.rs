//! How a task ended, by its agent's end record.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use runvoy_core::execution::LogSummary;
use runvoy_core::port::TaskExit;
use runvoy_task::{EndReason, EndRecord, layout};

use super::files;

/// What the end record says; `None` while there is none.
pub(crate) fn exit(dir: &Path) -> io::Result<Option<TaskExit>> {
    let Some(bytes) = files::read(dir, layout::END)? else { return Ok(None) };
    let end = EndRecord::from_json(&bytes).map_err(io::Error::other)?;
    let log = LogSummary {
        events: end.events,
        bytes: end.bytes,
        replacements: end.replacements,
        hash: format!("blake3:{}", end.hash),
    };
    Ok(Some(TaskExit {
        exit_code: end.exit_code,
        reason: end.reason,
        message: end.message,
        started_at: time(end.started_at_ms),
        finished_at: time(end.finished_at_ms),
        log: Some(log),
        image_digest: None,
        commit: end.commit,
        phases: end.phases,
    }))
}

/// How a task ended whose command was claimed and of which nothing is left, not even a word about its end.
pub(crate) fn lost(started_at: Timestamp, now: Timestamp) -> TaskExit {
    TaskExit {
        exit_code: None,
        reason: EndReason::Lost,
        message: None,
        started_at,
        finished_at: now,
        log: None,
        image_digest: None,
        commit: None,
        phases: Vec::new(),
    }
}

/// The time of a record.
pub(crate) fn time(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

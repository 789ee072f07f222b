//! How a task ended, by its agent's end record.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use runvoy_core::execution::LogSummary;
use runvoy_core::port::TaskExit;
use runvoy_task::{EndReason, EndRecord, layout};

use super::files;
use super::note::{Over, Told};

/// What the end record says; `None` while there is none.
#[cfg(feature = "process")]
pub(crate) fn exit(dir: &Path) -> io::Result<Option<TaskExit>> {
    Ok(record(dir)?.map(by_record))
}

/// How a container ended of which its engine says that it is over.
///
/// The container could write the record: it tells about an end, never that there is one, and nothing where the engine
/// tells another exit code. Then the task is lost.
pub(crate) fn of_container(dir: &Path, told: &Told, over: &Over) -> io::Result<TaskExit> {
    let (since, until) = (time(told.at_ms), time(over.at_ms).max(time(told.at_ms)));
    let is_true =
        |record: &EndRecord| over.exit_code.is_none_or(|code| code == i64::from(record.agent_code()));
    let mut exit = own(record(dir))?.filter(is_true).map_or_else(|| lost(since, until), by_record);
    exit.started_at = exit.started_at.clamp(since, until);
    exit.finished_at = exit.finished_at.clamp(exit.started_at, until);
    exit.image_digest.clone_from(&told.image_digest);
    Ok(exit)
}

/// What the agent wrote down at the end; `None` until then.
pub(crate) fn record(dir: &Path) -> io::Result<Option<EndRecord>> {
    let bytes = files::read(dir, layout::END)?;
    bytes.map(|bytes| EndRecord::from_json(&bytes).map_err(io::Error::other)).transpose()
}

fn by_record(end: EndRecord) -> TaskExit {
    let log = LogSummary {
        events: end.events,
        bytes: end.bytes,
        replacements: end.replacements,
        hash: format!("blake3:{}", end.hash),
    };
    TaskExit {
        exit_code: end.exit_code,
        reason: end.reason,
        message: end.message,
        started_at: time(end.started_at_ms),
        finished_at: time(end.finished_at_ms),
        log: Some(log),
        image_digest: None,
        commit: end.commit,
        phases: end.phases,
    }
}

/// A file that a command spoilt is no error of the disk: as good as none.
fn own<T>(read: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::Other || is_spoilt(&error) => {
            tracing::warn!(%error, "a file of a command was tampered with");
            Ok(None)
        }
        other => other,
    }
}

/// A link, what cannot be opened like a file, or what its owner shut.
fn is_spoilt(error: &io::Error) -> bool {
    let codes = [Errno::ELOOP, Errno::ENXIO, Errno::ENOTDIR, Errno::EISDIR, Errno::EACCES, Errno::EPERM];
    codes.iter().any(|code| error.raw_os_error() == Some(*code as i32))
}

/// How a task ended whose command was claimed and of which nothing is left, not even a word about its end.
pub(crate) fn lost(started_at: Timestamp, now: Timestamp) -> TaskExit {
    TaskExit::new(None, EndReason::Lost, started_at, now)
}

/// The time of a record.
pub(crate) fn time(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

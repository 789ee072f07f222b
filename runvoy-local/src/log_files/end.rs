//! What the end record says about a log.

use std::io;
use std::path::Path;

use runvoy_task::{EndRecord, layout};

use crate::task_dir::files;

/// Number of events that the agent counted; `None` while the log goes on.
pub(super) fn events(dir: &Path) -> io::Result<Option<u64>> {
    match files::read(dir, layout::END)? {
        Some(bytes) => EndRecord::from_json(&bytes).map(|end| Some(end.events)).map_err(io::Error::other),
        None => Ok(None),
    }
}

//! What the end record says about a log.

use std::path::Path;
use std::{fs, io};

use runvoy_task::{EndRecord, layout};

/// Number of events that the agent counted; `None` while the log goes on.
pub(super) fn events(dir: &Path) -> io::Result<Option<u64>> {
    match fs::read(dir.join(layout::END)) {
        Ok(bytes) => EndRecord::from_json(&bytes).map(|end| Some(end.events)).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

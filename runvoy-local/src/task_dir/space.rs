//! Room for another task.

use std::io;
use std::path::Path;

use runvoy_core::limits;
use runvoy_core::port::ExecutorError;

/// Refuses new tasks while the disk of the executions is nearly full.
pub(crate) async fn admit(root: &Path) -> Result<(), ExecutorError> {
    let path = root.to_owned();
    let free = super::blocking(move || free_percent(&path)).await?;
    if free >= limits::FREE_DISK_PERCENT {
        return Ok(());
    }
    let (least, root) = (limits::FREE_DISK_PERCENT, root.display());
    Err(ExecutorError::Busy {
        message: format!("{free} % of the disk of {root} is free, a run needs {least} %; make room there"),
    })
}

fn free_percent(root: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(root)?;
    Ok(disk.f_bavail.saturating_mul(100) / disk.f_blocks.max(1))
}

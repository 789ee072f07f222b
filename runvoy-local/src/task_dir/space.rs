//! Room for another task.

use std::io;
use std::path::Path;

use runvoy_core::port::ExecutorError;

/// Refuses new tasks while less of the disk of the executions is free than that, in percent.
pub(crate) async fn admit(root: &Path, least: u64) -> Result<(), ExecutorError> {
    let path = root.to_owned();
    let free = super::blocking(move || free_percent(&path)).await?;
    if free >= least {
        return Ok(());
    }
    let root = root.display();
    Err(ExecutorError::Busy {
        message: format!("{free} % of the disk of {root} is free, a run needs {least} %; make room there"),
    })
}

/// How much of a disk is free.
pub(crate) fn free_percent(root: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(root)?;
    Ok(disk.f_bavail.saturating_mul(100) / disk.f_blocks.max(1))
}

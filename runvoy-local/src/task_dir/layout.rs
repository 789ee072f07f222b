//! Where an execution's files are.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use runvoy_core::id::ExecutionId;

/// The grace that a run was started with, in milliseconds: a restarted server still needs it.
#[cfg(feature = "process")]
pub(crate) const GRACE: &str = ".grace";

/// Where it stands whether a container has an execution's command, and which: beside its directory, out of the
/// command's reach.
pub(crate) fn container_note(dir: &Path) -> PathBuf {
    dir.with_extension("container")
}

/// The directory of an execution: two levels, so that none of them grows too long to list.
pub(crate) fn execution_dir(root: &Path, id: ExecutionId) -> PathBuf {
    let name = id.to_string();
    root.join(name.get(..2).unwrap_or_default()).join(&name)
}

/// Creates an execution's directory, if it is not there, so that it outlives a crash of the machine.
pub(crate) fn create(root: &Path, id: ExecutionId, mode: u32) -> io::Result<PathBuf> {
    let dir = execution_dir(root, id);
    if let Some(prefix) = dir.parent()
        && make(prefix, mode)?
    {
        sync(root)?;
    }
    if make(&dir, mode)?
        && let Some(prefix) = dir.parent()
    {
        sync(prefix)?;
    }
    Ok(dir)
}

/// Whether it had to be made.
pub(crate) fn make(path: &Path, mode: u32) -> io::Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

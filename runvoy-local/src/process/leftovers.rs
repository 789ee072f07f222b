//! The working directory of a process, when it has ended.
//!
//! Code, what was built in it, and the file of the caller's variables: each run has its own, nobody asks for them again, and
//! they would fill the disk.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use runvoy_core::id::ExecutionId;
use runvoy_task::layout;

/// Removes the working directory of a command of which nothing runs any more. What cannot be removed stays, and is told.
pub(super) fn remove(dir: &Path, id: ExecutionId) {
    let work = dir.join(layout::WORK);
    let removed = fs::remove_dir_all(&work).or_else(|error| {
        // Root needs no right, and a command of the same account could lead a change of rights elsewhere.
        if error.kind() == io::ErrorKind::NotFound || rustix::process::geteuid().is_root() {
            return Err(error);
        }
        let _ = open_up(&work);
        fs::remove_dir_all(&work)
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(execution.id = %id, %error, "a working directory stays at {}", work.display());
        }
        _ => {}
    }
}

/// Some tools take the right to write from the directories that they make.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

//! The code that a process started in, when it has ended.
//!
//! A checkout or an upload, what was built in it, and the file of the caller's variables: each run has its own, nobody asks for
//! them again, and they would fill the disk. A working directory without code stays, as it always did.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use runvoy_core::id::ExecutionId;
use runvoy_task::layout;

/// Says that a working directory is filled with code.
const MARK: &str = ".code";

/// Notes that there will be code, before there is any.
pub(super) fn expect(dir: &Path) -> io::Result<()> {
    fs::write(dir.join(MARK), "")
}

/// Removes the code of a command of which nothing runs any more. What cannot be removed stays, and is told once.
pub(super) fn remove(dir: &Path, id: ExecutionId) {
    let mark = dir.join(MARK);
    if !mark.exists() {
        return;
    }
    let work = dir.join(layout::WORK);
    let removed = fs::remove_dir_all(&work).or_else(|error| {
        // Root needs no right, and a command of the same account could lead a change of rights elsewhere.
        if rustix::process::geteuid().is_root() {
            return Err(error);
        }
        let _ = open_up(&work);
        fs::remove_dir_all(&work)
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(execution.id = %id, %error, "the code that a command started in stays at {}", work.display());
        }
        _ => {}
    }
    let _ = fs::remove_file(mark);
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

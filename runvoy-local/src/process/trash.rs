//! Working directories of commands that have ended, until they are gone.
//!
//! Code, what was built in it, and the file of the caller's variables: each run has its own, nobody asks for them again, and
//! they would fill the disk. A command may leave millions of files, or directories thousands deep: nobody waits for their
//! removal, and it takes neither a stack nor descriptors that grow with them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runvoy_core::id::ExecutionId;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::task_dir::layout::make;

/// How often what could not be removed is tried again.
const AGAIN: Duration = Duration::from_hours(1);

/// Takes working directories away, and removes them afterwards.
pub(super) struct Trash {
    dir: PathBuf,
    came: Notify,
    is_closing: AtomicBool,
}

impl Trash {
    /// Below the root of all executions, so that what comes needs only another name.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let dir = root.join(".trash");
        make(&dir, 0o700)?;
        Ok(Self { dir, came: Notify::new(), is_closing: AtomicBool::new(false) })
    }

    /// Takes a working directory out of its execution's. One that is not there, or no more, is no error; what cannot be taken
    /// stays, and is told.
    pub(super) fn take(&self, work: &Path, id: ExecutionId) {
        if !fs::symlink_metadata(work).is_ok_and(|found| found.is_dir()) {
            return;
        }
        open_up(work);
        // First of all, and whatever becomes of the rest.
        let _ = fs::remove_file(work.join(".env"));
        match fs::rename(work, self.unused()) {
            Ok(()) => self.came.notify_one(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(execution.id = %id, %error, "a working directory stays at {}", work.display());
            }
        }
    }

    fn unused(&self) -> PathBuf {
        self.dir.join(ExecutionId::random().to_string())
    }

    /// Removes what there is, as long as something gives way.
    fn empty(&self) -> io::Result<()> {
        let mut gives_way = true;
        while gives_way {
            gives_way = false;
            for entry in fs::read_dir(&self.dir)? {
                if self.is_closing.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let path = entry?.path();
                match self.remove(&path) {
                    Ok(()) => gives_way = true,
                    Err(error) => tracing::warn!(%error, "what commands left stays at {}", path.display()),
                }
            }
        }
        Ok(())
    }

    /// Removes one thing; directories in it come to the top first.
    fn remove(&self, path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path)?.is_dir() {
            return fs::remove_file(path);
        }
        open_up(path);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open_up(&entry.path());
                fs::rename(entry.path(), self.unused())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(path)
    }
}

/// Some tools take the right to write from the directories that they make.
fn open_up(dir: &Path) {
    // Root needs no right, and a command of another account could lead a change of rights elsewhere.
    if !rustix::process::geteuid().is_root() {
        let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    }
}

/// Empties the trash, now and whenever something came, until it is dropped.
pub(super) struct Emptying {
    trash: Arc<Trash>,
    task: JoinHandle<()>,
}

impl Emptying {
    /// To be called within a runtime.
    pub(super) fn start(trash: Arc<Trash>) -> Self {
        Self { task: tokio::spawn(empty_always(Arc::clone(&trash))), trash }
    }
}

impl Drop for Emptying {
    fn drop(&mut self) {
        self.trash.is_closing.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

async fn empty_always(trash: Arc<Trash>) {
    loop {
        let emptied = Arc::clone(&trash);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || emptied.empty()).await {
            tracing::warn!(%error, "what commands left cannot be removed at {}", trash.dir.display());
        }
        // What comes in between is not missed: it leaves a permit.
        let _ = tokio::time::timeout(AGAIN, trash.came.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn left(trash: &Trash) -> usize {
        fs::read_dir(&trash.dir).unwrap().count()
    }

    #[test]
    fn a_tree_of_any_depth_goes_on_a_small_stack() {
        let root = TempDir::new().unwrap();
        let trash = Trash::new(root.path()).unwrap();
        let work = root.path().join("work");
        fs::create_dir(&work).unwrap();
        let mut at =
            rustix::fs::open(&work, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
        for _ in 0..20_000 {
            rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
                .unwrap();
        }
        trash.take(&work, ExecutionId::random());
        assert!(!work.exists());
        let emptied = std::thread::Builder::new().stack_size(128 * 1024);
        std::thread::scope(|scope| {
            emptied.spawn_scoped(scope, || trash.empty().unwrap()).unwrap().join().unwrap();
        });
        assert_eq!(left(&trash), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed_and_no_right_stands_in_the_way() {
        let root = TempDir::new().unwrap();
        let trash = Trash::new(root.path()).unwrap();
        let [work, precious] = ["work", "precious"].map(|name| root.path().join(name));
        fs::create_dir_all(work.join("a/b")).unwrap();
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "").unwrap();
        fs::write(work.join(".env"), "A=1").unwrap();
        symlink(&precious, work.join("a/link")).unwrap();
        symlink("../..", work.join("a/b/up")).unwrap();
        for dir in ["a/b", "a", ""] {
            fs::set_permissions(work.join(dir), Permissions::from_mode(0o500)).unwrap();
        }
        trash.take(&work, ExecutionId::random());
        trash.take(&work, ExecutionId::random());
        symlink(&precious, &work).unwrap();
        trash.take(&work, ExecutionId::random());
        trash.empty().unwrap();
        assert_eq!(left(&trash), 0);
        assert!(precious.join("file").exists());
    }
}

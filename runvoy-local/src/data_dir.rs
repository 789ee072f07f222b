//! The directory that holds everything of one server, and the lock that makes it one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const LOCK: &str = "server.lock";
const DATABASE: &str = "runvoy.db";

/// A data directory that this process alone serves, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// Who serves a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNote {
    /// Its process id.
    pub pid: u32,
    /// Its API's address, as `http://127.0.0.1:8420`, once it listens.
    pub endpoint: Option<String>,
}

/// Why a data directory cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process serves it.
    #[error("the data directory {} is served by {}", path.display(), note.as_ref().map_or_else(|| "another process".to_owned(), |note| format!("process {}", note.pid)))]
    Held {
        /// The directory.
        path: PathBuf,
        /// What that process says of itself.
        note: Option<ServerNote>,
    },
    /// No server has used it.
    #[error("there is no data directory of a server in {}: it has no runvoy.db", path.display())]
    Unused {
        /// The directory, which need not be there.
        path: PathBuf,
    },
    /// It cannot be created, read or written.
    #[error("cannot use the data directory {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the directory where it is missing, for its owner alone, and locks it. The kernel gives the lock back
    /// when the process ends, however it ends.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let path = path.canonicalize().map_err(io)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(path.join(LOCK)).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let note = read_note(&mut lock);
                return Err(DataDirError::Held { path, note });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        let dir = Self { path, lock };
        dir.note(&ServerNote { pid: std::process::id(), endpoint: None })?;
        Ok(dir)
    }

    /// Locks a directory that a server has used; makes nothing where none has.
    pub fn open_used(path: &Path) -> Result<Self, DataDirError> {
        match path.join(DATABASE).try_exists() {
            Ok(true) => Self::open(path),
            Ok(false) => Err(DataDirError::Unused { path: path.to_owned() }),
            Err(source) => Err(DataDirError::Io { path: path.to_owned(), source }),
        }
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets other users pass through to what is theirs below; they see nothing of the rest, which is its owner's alone.
    /// Unless that is kept, the mode is what it was once the answer is dropped.
    pub fn let_pass(&self) -> io::Result<Passage> {
        let before = fs::metadata(&self.path)?.permissions();
        fs::set_permissions(&self.path, Permissions::from_mode(before.mode() | 0o111))?;
        Ok(Passage { path: self.path.clone(), before: Some(before) })
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The key that seals what the database must not show.
    pub fn master_key(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// The key that takes its place, while that is under way.
    pub fn next_master_key(&self) -> PathBuf {
        self.path.join("master.key.next")
    }

    /// The directories of executions.
    pub fn executions(&self) -> PathBuf {
        self.path.join("executions")
    }

    /// Uploaded code.
    pub fn code(&self) -> PathBuf {
        self.path.join("code")
    }

    /// Tells other processes where this one listens.
    pub fn note(&self, note: &ServerNote) -> Result<(), DataDirError> {
        let write = || {
            let mut file = &self.lock;
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(&serde_json::to_vec(note)?)
        };
        write().map_err(|source| DataDirError::Io { path: self.path.clone(), source })
    }
}

/// Other users' way through a data directory, open until this is dropped.
#[derive(Debug)]
pub struct Passage {
    path: PathBuf,
    before: Option<Permissions>,
}

impl Passage {
    /// Leaves it open for good: commands of other users need it also without a server.
    pub fn keep(mut self) {
        self.before = None;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(before) = self.before.take()
            && let Err(error) = fs::set_permissions(&self.path, before)
        {
            tracing::warn!(%error, "the data directory stays open to other users' commands");
        }
    }
}

/// What the holder wrote; `None` also while it is about to.
fn read_note(lock: &mut File) -> Option<ServerNote> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let note = ServerNote { pid: 7, endpoint: Some("http://127.0.0.1:1".to_owned()) };
        first.note(&note).unwrap();
        match DataDir::open(&path).unwrap_err() {
            DataDirError::Held { note: found, .. } => assert_eq!(found, Some(note)),
            other => panic!("{other}"),
        }
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_no_server_has_used_is_told_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("data")] {
            let error = DataDir::open_used(&path).unwrap_err();
            assert!(matches!(error, DataDirError::Unused { .. }), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join(DATABASE), "").unwrap();
        DataDir::open_used(dir.path()).unwrap();
    }

    #[test]
    fn a_way_through_that_is_not_kept_is_closed_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("data")).unwrap();
        let mode = || fs::metadata(data.path()).unwrap().permissions().mode() & 0o777;
        let passage = data.let_pass().unwrap();
        assert_eq!(mode(), 0o711);
        drop(passage);
        assert_eq!(mode(), 0o700);
        data.let_pass().unwrap().keep();
        // What was open before stays so.
        drop(data.let_pass().unwrap());
        assert_eq!(mode(), 0o711);
    }
}

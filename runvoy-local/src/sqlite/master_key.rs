use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runvoy_core::audit::CheckpointKey;
use runvoy_core::id::RequestId;
use runvoy_core::stream_token::StreamKey;
use zeroize::Zeroizing;

use super::text;

const LENGTH: usize = 32;

/// The key that seals what is secret in a data directory: 256 bits in a file that its owner alone may read.
///
/// Who loses it loses secrets, the stored requests of live executions, and what the checkpoints of the audit log prove: under
/// another key they are not authentic. A database opens with its own key only. `Debug` shows nothing of it, and its memory
/// is wiped when it is dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; LENGTH]>);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// Others could have read it.
    #[error("{path} may be read by others (mode {mode:04o}): run `chmod 600 {path}`, if nobody has", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is something else.
    #[error("{path} is not a master key: it is not a file of 32 bytes", path = .path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read or written.
    #[error("the master key {path} cannot be used: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl MasterKey {
    /// A new key of 256 random bits.
    pub fn generate() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; LENGTH]);
        getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
        Ok(Self(key))
    }

    /// A key as text: 64 hex digits. `None` if it is something else.
    pub fn from_hex(text: &str) -> Option<Self> {
        text::parse_hex(text.trim()).map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// A key that is kept elsewhere.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the key in the file at `path`. If there is no such file, makes one of mode 0600 with a random key.
    ///
    /// Of several processes that do this at once, all get the same key. The directory must exist.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        let io = |source| MasterKeyError::Io { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => Self::load(path, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::generate().and_then(|key| key.write(path)).map_err(io)?;
                // Somebody else's file, if that was first.
                Self::load(path, &File::open(path).map_err(io)?)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// Reads the key in the file at `path`; `None` if there is no such file.
    pub fn load_if_there(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        match File::open(path) {
            Ok(file) => Self::load(path, &file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MasterKeyError::Io { path: path.to_owned(), source }),
        }
    }

    /// Makes a file of mode 0600 with this key, durably; one that is there stays as it is.
    ///
    /// Makes the whole file under another name, and gives it its own only then: nobody ever reads half a key. Killed
    /// between the two it leaves the other name behind, which `remove_unfinished` finds.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", RequestId::random()));
        let unfinished = path.with_file_name(name);
        let made =
            write_new(&unfinished, self.0.as_ref()).and_then(|()| match fs::hard_link(&unfinished, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = fs::remove_file(&unfinished);
        // Why there is no key counts, not that there is nothing to remove then.
        made?;
        removed?;
        sync_directory(path)
    }

    fn load(path: &Path, mut file: &File) -> Result<Self, MasterKeyError> {
        let io = |source| MasterKeyError::Io { path: path.to_owned(), source };
        let metadata = file.metadata().map_err(io)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
        }
        if !metadata.is_file() || metadata.len() != LENGTH as u64 {
            return Err(MasterKeyError::NotAKey { path: path.to_owned() });
        }
        let mut key = Zeroizing::new([0; LENGTH]);
        file.read_exact(key.as_mut()).map_err(io)?;
        Ok(Self(key))
    }

    /// The key of the audit log's checkpoints.
    pub fn checkpoint_key(&self) -> CheckpointKey {
        CheckpointKey::derive(self.0.as_ref())
    }

    /// The key of stream tokens: they survive a restart.
    pub fn stream_key(&self) -> StreamKey {
        StreamKey::derive(self.0.as_ref())
    }

    /// Whether another one is this one.
    #[cfg(feature = "server")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(super) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Removes what [`MasterKey::write`] of a process that was killed left beside `path`: whole keys, for ever otherwise.
///
/// Nobody else may be writing there.
#[cfg(feature = "server")]
pub(crate) fn remove_unfinished(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = false;
    for entry in fs::read_dir(directory_of(path))? {
        let entry = entry?;
        let other = entry.file_name();
        let id = other.to_str().and_then(|other| other.strip_prefix(&name)?.strip_prefix('.'));
        if id.is_some_and(|id| id.parse::<RequestId>().is_ok()) {
            fs::remove_file(entry.path())?;
            found = true;
        }
    }
    if found { sync_directory(path) } else { Ok(()) }
}

/// Makes names in the directory of `path` durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn all_get_the_key_that_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let keys: Vec<MasterKey> = std::thread::scope(|scope| {
            let loads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| MasterKey::load_or_create(&path).unwrap())).collect();
            loads.into_iter().map(|load| load.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key.as_bytes() == keys[0].as_bytes()));
        assert_ne!(keys[0].as_bytes(), &[0; 32]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn a_file_that_is_no_secret_or_no_key_is_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        MasterKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("32 bytes"), "{error}");
        let error = MasterKey::load_or_create(&directory.path().join("no/such")).unwrap_err();
        assert!(matches!(error, MasterKeyError::Io { .. }), "{error}");
    }

    #[test]
    fn why_a_key_cannot_be_written_is_said() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error =
            MasterKey::from_bytes([7; 32]).write(&directory.path().join("file/master.key")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        let long = directory.path().join("k".repeat(250));
        let error = MasterKey::from_bytes([7; 32]).write(&long).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let id = RequestId::random();
        let others =
            ["master.key", "master.key.next", "master.key.bak", "master.key.2026", &format!("x.{id}")];
        for name in others.iter().copied().chain([format!("master.key.{id}").as_str()]) {
            fs::write(file(name), [7; 32]).unwrap();
        }
        remove_unfinished(&file("master.key")).unwrap();
        assert!(!file(&format!("master.key.{id}")).exists());
        for name in others {
            assert!(file(name).exists(), "{name}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", MasterKey::from_bytes([7; 32])), "MasterKey(..)");
    }
}

//! Uploaded code: a directory of archives, each in a file that is called by its SHA-256.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use runvoy_core::code::{CodeDigest, CodeHasher};
use runvoy_core::port::{CodeBody, CodeError, CodeStore, StoreError};
use tokio::sync::Semaphore;

use crate::task_dir::space;

/// What is not whole yet. Whatever has this name when a store is opened was left by a crash.
const PART: &str = ".part-";
/// Bytes that are written at once; what an upload has in memory.
const WRITTEN_AT_ONCE: usize = 1024 * 1024;
/// Bytes after which the room is looked at again.
const LOOK_AGAIN: u64 = 64 * 1024 * 1024;

/// A directory of uploaded archives. The time of a file is that of its last use.
#[derive(Clone, Debug)]
pub struct CodeFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    least_free_disk: u64,
    parts: AtomicU64,
    /// A use and a removal of the same archive happen one after the other.
    uses: Mutex<()>,
    /// What is to be compared with its digest before it is found again.
    doubted: Mutex<HashSet<CodeDigest>>,
    /// One is compared at a time.
    comparing: Arc<Semaphore>,
}

impl CodeFiles {
    /// Opens a directory, which only one process may have at a time; makes it where it is missing, and takes away what
    /// a crash left unfinished. Takes nothing while less of its disk is free, in percent.
    pub fn open(dir: impl Into<PathBuf>, least_free_disk: u64) -> io::Result<Self> {
        let dir = dir.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PART) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self(Arc::new(Inner {
            dir,
            least_free_disk,
            parts: AtomicU64::new(0),
            uses: Mutex::new(()),
            doubted: Mutex::default(),
            comparing: Arc::new(Semaphore::new(1)),
        })))
    }

    /// Settles a doubt about an archive, if there is one. Who asks while somebody compares waits for what comes of it.
    async fn settle(&self, digest: CodeDigest) -> Result<(), StoreError> {
        if !self.0.doubted().contains(&digest) {
            return Ok(());
        }
        let turn = Arc::clone(&self.0.comparing).acquire_owned().await.map_err(StoreError::unavailable)?;
        let inner = Arc::clone(&self.0);
        let settled = tokio::task::spawn_blocking(move || {
            // Kept to the end of the work, whoever waits for it or no longer does.
            let _turn = turn;
            inner.settle(digest)
        });
        settled.await.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, CodeError> + Send + 'static,
    ) -> Result<T, CodeError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(StoreError::unavailable(error).into()))
    }
}

impl Inner {
    fn path(&self, digest: CodeDigest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Notes a use of an archive that is there; answers its size.
    fn touch(&self, digest: CodeDigest, now: Timestamp) -> io::Result<Option<u64>> {
        let _one = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match File::open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = file.metadata()?;
        let used = data.modified()?.max(time(now));
        file.set_times(FileTimes::new().set_modified(used))?;
        Ok(Some(data.len()))
    }

    fn doubted(&self) -> MutexGuard<'_, HashSet<CodeDigest>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a doubted archive with its digest, and removes one that is another.
    fn settle(&self, digest: CodeDigest) -> io::Result<()> {
        if !self.doubted().contains(&digest) {
            return Ok(());
        }
        match File::open(self.path(digest)) {
            Ok(file) if !holds(&file, digest) => self.remove_damaged(digest, &file)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.doubted().remove(&digest);
        Ok(())
    }

    /// Unless the same name has another file by now.
    fn remove_damaged(&self, digest: CodeDigest, damaged: &File) -> io::Result<()> {
        let _one = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let there = match fs::metadata(self.path(digest)) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if there.ino() == damaged.metadata()?.ino() {
            fs::remove_file(self.path(digest))?;
            tracing::warn!(%digest, "uploaded code removed: it was damaged");
        }
        Ok(())
    }

    fn remove_unused(&self, before: Timestamp) -> io::Result<Vec<CodeDigest>> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let _one = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            if entry.metadata()?.modified()? < time(before) {
                fs::remove_file(entry.path())?;
                self.doubted().remove(&digest);
                removed.push(digest);
            }
        }
        Ok(removed)
    }

    fn must_have_room(&self) -> Result<(), CodeError> {
        let free = space::free_percent(&self.dir).map_err(StoreError::unavailable)?;
        if free >= self.least_free_disk {
            return Ok(());
        }
        let (dir, least) = (self.dir.display(), self.least_free_disk);
        let message =
            format!("{free} % of the disk of {dir} is free, an upload needs {least} %; make room there");
        Err(CodeError::NoRoom { message })
    }

    fn begin(&self) -> Result<Part, CodeError> {
        self.must_have_room()?;
        let path = self.dir.join(format!("{PART}{}", self.parts.fetch_add(1, Ordering::Relaxed)));
        // For the agent, which may be somebody else in its container; the directory is its owner's alone.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path);
        let file = file.map_err(StoreError::unavailable)?;
        Ok(Part { path, file, hasher: CodeHasher::default(), bytes: 0, looked_at: 0 })
    }

    fn finish(&self, part: &Part, digest: CodeDigest, now: Timestamp) -> Result<u64, CodeError> {
        let found = part.hasher.clone().finish();
        if found != digest {
            return Err(CodeError::OtherBytes { wanted: digest, found });
        }
        let place = || -> io::Result<()> {
            part.file.set_times(FileTimes::new().set_modified(time(now)))?;
            part.file.sync_all()?;
            {
                let _one = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                // The same bytes take the place of the same bytes, whose last use may be later than this upload's beginning.
                if let Ok(there) = fs::metadata(self.path(digest)) {
                    let used = there.modified()?.max(time(now));
                    part.file.set_times(FileTimes::new().set_modified(used))?;
                }
                fs::rename(&part.path, self.path(digest))?;
                self.doubted().remove(&digest);
            }
            File::open(&self.dir)?.sync_all()
        };
        place().map_err(|error| written(error, &self.dir))?;
        Ok(part.bytes)
    }
}

/// An archive on its way. Its file is gone with it, unless it was given its name.
struct Part {
    path: PathBuf,
    file: File,
    hasher: CodeHasher,
    bytes: u64,
    /// How many there were when the room was looked at.
    looked_at: u64,
}

impl Part {
    fn write(mut self, store: &Inner, pieces: &[Bytes]) -> Result<Self, CodeError> {
        for piece in pieces {
            self.hasher.update(piece);
            self.file.write_all(piece).map_err(|error| written(error, &store.dir))?;
            self.bytes += piece.len() as u64;
        }
        if self.bytes - self.looked_at >= LOOK_AGAIN {
            store.must_have_room()?;
            self.looked_at = self.bytes;
        }
        Ok(self)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // One that has its name is not there under this one.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a file holds what its digest names. One that cannot be read to its end does not.
fn holds(mut file: &File, digest: CodeDigest) -> bool {
    let (mut hasher, mut buffer) = (CodeHasher::default(), vec![0; WRITTEN_AT_ONCE]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hasher.finish() == digest,
            Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// What is before 1970 is never asked for.
fn time(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(at.subsec_nanosecond()).unwrap_or_default())
}

fn written(error: io::Error, dir: &Path) -> CodeError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let message = format!("the disk of {} is full; make room there", dir.display());
        return CodeError::NoRoom { message };
    }
    StoreError::unavailable(error).into()
}

#[async_trait]
impl CodeStore for CodeFiles {
    async fn find(&self, digest: CodeDigest, now: Timestamp) -> Result<Option<u64>, StoreError> {
        self.settle(digest).await?;
        let inner = Arc::clone(&self.0);
        let found = tokio::task::spawn_blocking(move || inner.touch(digest, now)).await;
        found.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
    }

    async fn put(
        &self,
        digest: CodeDigest,
        mut body: CodeBody,
        limit: u64,
        now: Timestamp,
    ) -> Result<u64, CodeError> {
        let mut part = self.blocking(Inner::begin).await?;
        let (mut pieces, mut waiting, mut left) = (Vec::new(), 0, limit);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| CodeError::BrokenOff { source })?;
            left = left.checked_sub(piece.len() as u64).ok_or(CodeError::TooLarge { limit })?;
            waiting += piece.len();
            pieces.push(piece);
            if waiting >= WRITTEN_AT_ONCE {
                let some = std::mem::take(&mut pieces);
                waiting = 0;
                part = self.blocking(move |store| part.write(store, &some)).await?;
            }
        }
        self.blocking(move |store| store.finish(&part.write(store, &pieces)?, digest, now)).await
    }

    async fn doubt(&self, digest: CodeDigest) -> Result<(), StoreError> {
        self.0.doubted().insert(digest);
        Ok(())
    }

    async fn remove_unused(&self, before: Timestamp) -> Result<Vec<CodeDigest>, StoreError> {
        let inner = Arc::clone(&self.0);
        let removed = tokio::task::spawn_blocking(move || inner.remove_unused(before)).await;
        removed.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
    }
}

//! Making things below one directory, and nowhere else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, fchmod, futimens, linkat, mkdirat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;

/// Why something could not be made.
#[derive(Debug)]
pub(super) enum Unplaced {
    /// There is something of that name.
    Twice,
    /// There are as many things as may be.
    TooMany,
    /// A directory on the way is none.
    NoDirectory,
    /// A hard link leads to no file that was unpacked.
    NoTarget,
    /// The system says so.
    Io(io::Error),
}

impl From<Errno> for Unplaced {
    fn from(error: Errno) -> Self {
        match error {
            Errno::EXIST => Self::Twice,
            Errno::NOTDIR | Errno::LOOP => Self::NoDirectory,
            error => Self::Io(error.into()),
        }
    }
}

/// The workspace, by its descriptor.
pub(super) struct Place {
    root: OwnedFd,
    left: Left,
    /// The directory that was entered last: most files lie beside the one before.
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
}

/// For directories on the way: a link is none.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many things may yet be made, whether they are asked for or on the way to another one.
struct Left(u64);

impl Left {
    fn take(&mut self) -> Result<(), Unplaced> {
        self.0 = self.0.checked_sub(1).ok_or(Unplaced::TooMany)?;
        Ok(())
    }
}

impl Place {
    /// A directory in which so many things may be made.
    pub(super) fn open(root: &Path, most: u64) -> io::Result<Self> {
        let root =
            rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, left: Left(most), last: None })
    }

    /// Makes a directory and those on the way to it; one that is there will do.
    pub(super) fn directory(&mut self, way: &[&[u8]]) -> Result<(), Unplaced> {
        self.enter(way, true).map(drop)
    }

    /// Makes a file that was not there.
    pub(super) fn file(&mut self, dirs: &[&[u8]], name: &[u8]) -> Result<File, Unplaced> {
        self.left.take()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.enter(dirs, true)?, name, flags, Mode::from_bits_truncate(0o600))?.into())
    }

    /// Makes a symbolic link that was not there.
    pub(super) fn symlink(&mut self, dirs: &[&[u8]], name: &[u8], target: &[u8]) -> Result<(), Unplaced> {
        self.left.take()?;
        Ok(symlinkat(target, self.enter(dirs, true)?, name)?)
    }

    /// Gives a further name to a file that was unpacked.
    pub(super) fn hardlink(&mut self, dirs: &[&[u8]], name: &[u8], target: &[&[u8]]) -> Result<(), Unplaced> {
        let Some((file, target_dirs)) = target.split_last() else { return Err(Unplaced::NoTarget) };
        self.left.take()?;
        let from = match self.enter(target_dirs, false) {
            Ok(from) => from.try_clone().map_err(Unplaced::Io)?,
            Err(Unplaced::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Unplaced::NoTarget);
            }
            Err(error) => return Err(error),
        };
        match statat(&from, *file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) | Err(Errno::NOENT) => return Err(Unplaced::NoTarget),
            Err(error) => return Err(error.into()),
        }
        Ok(linkat(&from, *file, self.enter(dirs, true)?, name, AtFlags::empty())?)
    }

    /// Opens a directory, step by step.
    fn enter(&mut self, way: &[&[u8]], create: bool) -> Result<&OwnedFd, Unplaced> {
        if way.is_empty() {
            return Ok(&self.root);
        }
        let is_last = self.last.as_ref().is_some_and(|(last, _)| last.iter().eq(way.iter()));
        if !is_last {
            let mut dir: Option<OwnedFd> = None;
            for name in way {
                let parent = dir.as_ref().unwrap_or(&self.root);
                dir = Some(step(parent, name, create.then_some(&mut self.left))?);
            }
            let Some(dir) = dir else { return Ok(&self.root) };
            self.last = Some((way.iter().map(|name| name.to_vec()).collect(), dir));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, dir)| dir))
    }
}

fn step(parent: &OwnedFd, name: &[u8], create: Option<&mut Left>) -> Result<OwnedFd, Unplaced> {
    match (openat(parent.as_fd(), name, DIRECTORY, Mode::empty()), create) {
        (Err(Errno::NOENT), Some(left)) => {
            left.take()?;
            mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755))?;
            Ok(openat(parent.as_fd(), name, DIRECTORY, Mode::empty())?)
        }
        (opened, _) => Ok(opened?),
    }
}

/// Gives a written file its permissions (no set-user-id and the like) and its time.
pub(super) fn finish(file: &File, mode: u32, modified: u64) -> io::Result<()> {
    fchmod(file, Mode::from_bits_truncate(mode & 0o777 | 0o600))?;
    let Ok(seconds) = i64::try_from(modified) else { return Ok(()) };
    if seconds > 0 {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        futimens(file, &Timestamps { last_access: time, last_modification: time })?;
    }
    Ok(())
}

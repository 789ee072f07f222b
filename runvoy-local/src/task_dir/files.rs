//! Files that a command may have had its hands on: a container's root can put anything in its execution's directory.
//!
//! No link is followed out of it, nothing is waited for that is no file, and no more is read than makes sense.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
#[cfg(feature = "docker")]
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use runvoy_task::layout;
use rustix::fs::{Mode, OFlags, open as open_path, openat};

/// Larger than any document of an agent.
const MOST: u64 = 1024 * 1024;

/// Whether an agent says that it prepares the directory to start in.
pub(crate) fn is_preparing(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(layout::PREPARING)).is_ok()
}

/// Opens a file in an execution's directory, by the names that lead there.
pub(crate) fn open(dir: &Path, steps: &[&str]) -> io::Result<File> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = open_path(dir, through, Mode::empty())?;
    let Some((name, folders)) = steps.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
    for folder in folders {
        at = openat(&at, *folder, through | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, *name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(format!("{name} is no file"))) }
}

/// Opens a pipe in an execution's directory to write to it, without waiting: `ENXIO` where nobody reads.
#[cfg(feature = "docker")]
pub(crate) fn open_to_write(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at: OwnedFd = open_path(dir, through, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, name, flags, Mode::empty())?);
    let is_pipe = file.metadata()?.file_type().is_fifo();
    if is_pipe { Ok(file.into()) } else { Err(io::Error::other(format!("{name} is no pipe"))) }
}

/// Reads a document in an execution's directory; `None` if it is not there.
pub(crate) fn read(dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match open(dir, &[name]) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes a file that was not there: what stands in its place is removed, never written to.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (root.path().join("a"), root.path().join("b"));
        for dir in [&dir, &other] {
            fs::create_dir_all(dir.join("log")).unwrap();
            fs::write(dir.join("log/0"), dir.to_str().unwrap()).unwrap();
        }
        assert!(open(&dir, &["log", "0"]).is_ok());
        fs::remove_dir_all(dir.join("log")).unwrap();
        symlink(other.join("log"), dir.join("log")).unwrap();
        symlink(other.join("log/0"), dir.join("end")).unwrap();
        assert!(open(&dir, &["log", "0"]).is_err());
        assert!(read(&dir, "end").is_err());
        write_new(&dir.join("end"), b"mine").unwrap();
        assert_eq!(read(&dir, "end").unwrap().unwrap(), b"mine");
        assert_eq!(fs::read(other.join("log/0")).unwrap(), other.to_str().unwrap().as_bytes());
        assert_eq!(read(&dir, "none").unwrap(), None);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(dir.path(), "pipe").is_err());
    }
}

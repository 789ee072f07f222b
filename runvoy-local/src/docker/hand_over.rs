//! Telling an agent its spec: by a pipe in the execution's directory, so that no secret is in a file or in the engine.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use runvoy_task::layout;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;

use crate::task_dir::{files, unblocked};

/// Room for the inotify events of one read.
const BUFFER: usize = 1024;
/// How often a pipe is looked at where nobody tells that it was opened.
const LOOK: Duration = Duration::from_millis(5);

/// Makes the pipe, if it is not there. What stands in its place and is none is removed.
pub(super) fn make_pipe(dir: &Path) -> io::Result<()> {
    let path = dir.join(layout::SPEC);
    let make = || mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR);
    match make() {
        Err(Errno::EEXIST) if fs::symlink_metadata(&path)?.file_type().is_fifo() => Ok(()),
        Err(Errno::EEXIST) => {
            fs::remove_file(&path)?;
            Ok(make()?)
        }
        other => Ok(other?),
    }
}

/// Waits for somebody who reads the pipe. For ever, where an earlier reader took it away.
pub(super) async fn reader(dir: &Path) -> io::Result<Sender> {
    let path = dir.join(layout::SPEC);
    let mut opened = unblocked(move || opens(&path)).await?;
    loop {
        let dir = dir.to_owned();
        match unblocked(move || files::open_to_write(&dir, layout::SPEC)).await {
            Ok(pipe) => return Sender::from_owned_fd(pipe),
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::future::pending().await,
            Err(error) => return Err(error),
        }
        match &mut opened {
            Some(opened) => _ = opened.next().await.transpose()?,
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Tells when somebody opens a file. `None` where there are too many who want to know such things.
fn opens(path: &Path) -> io::Result<Option<EventStream<[u8; BUFFER]>>> {
    let inotify = match Inotify::init() {
        Ok(inotify) => inotify,
        Err(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => return Ok(None),
        Err(error) => return Err(error),
    };
    match inotify.watches().add(path, WatchMask::OPEN | WatchMask::DONT_FOLLOW) {
        Err(error)
            if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::StorageFull =>
        {
            Err(error)
        }
        Err(_) => Ok(None),
        Ok(_) => inotify.into_event_stream([0; BUFFER]).map(Some),
    }
}

/// Writes to whoever reads the pipe. Its end is the end of the spec: dropped half way, they get what is no whole spec.
pub(super) async fn tell(mut pipe: Sender, spec: &[u8]) -> io::Result<()> {
    match pipe.write_all(spec).await {
        // Who it was is gone; whoever watches it sees that.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::OFlags;

    use super::*;

    #[tokio::test]
    async fn whoever_opens_the_pipe_is_told() {
        let root = tempfile::tempdir().unwrap();
        make_pipe(root.path()).unwrap();
        let path = root.path().join(layout::SPEC);
        let waiting = reader(root.path());
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        tell(waiting.await.unwrap(), b"spec").await.unwrap();
        let mut told = [0; 8];
        assert_eq!(rustix::io::read(&opened, &mut told).unwrap(), 4);
        assert_eq!(told.get(..4), Some(&b"spec"[..]));
    }

    #[tokio::test]
    async fn the_pipe_of_another_execution_is_told_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (dir, other) = (root.path().join("a"), root.path().join("b"));
        for dir in [&dir, &other] {
            fs::create_dir(dir).unwrap();
        }
        make_pipe(&other).unwrap();
        let (theirs, mine) = (other.join(layout::SPEC), dir.join(layout::SPEC));
        symlink(&theirs, &mine).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let _reads = rustix::fs::open(&theirs, flags, rustix::fs::Mode::empty()).unwrap();
        assert!(reader(&dir).await.is_err());
        make_pipe(&dir).unwrap();
        assert!(fs::symlink_metadata(&mine).unwrap().file_type().is_fifo());
        assert!(theirs.exists());
    }
}

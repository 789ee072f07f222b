//! Telling an agent its spec: by a pipe in the execution's directory, so that no secret is in a file or in the engine.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use runvoy_task::layout;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

/// How often a pipe is looked at that nobody reads yet.
const LOOK: Duration = Duration::from_millis(2);

/// Makes the pipe, if it is not there.
pub(super) fn make_pipe(dir: &Path) -> io::Result<()> {
    match mkfifo(&dir.join(layout::SPEC), Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits for somebody who reads the pipe, and writes to them. Ends without that when `is_over` says so.
///
/// The end of the pipe is the end of the spec: dropped half way, the reader gets what is no whole spec.
pub(super) async fn tell(dir: &Path, spec: &[u8], is_over: impl Fn() -> bool) -> io::Result<()> {
    let path = dir.join(layout::SPEC);
    let mut pipe = loop {
        match pipe::OpenOptions::new().open_sender(&path) {
            Ok(pipe) => break pipe,
            Err(error) if is_early(&error) => {}
            Err(error) => return Err(error),
        }
        if is_over() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    };
    match pipe.write_all(spec).await {
        // Who it was is gone; whoever watches it sees that.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// No reader yet; or a reader that was told before, and took the pipe away.
fn is_early(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENXIO as i32)
}

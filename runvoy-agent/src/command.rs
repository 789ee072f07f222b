//! Starting a stage in a process of its own, with a pipe for each of its outputs.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::process;

/// Room that spares both sides most of their waiting.
const PIPE_BYTES: usize = 1024 * 1024;

/// A started stage.
pub(crate) struct Started {
    /// Its process, and its process group.
    pub(crate) pid: Pid,
    report: UnixStream,
}

/// Starts a stage and hands it its order. Answers the read ends of its outputs, too; they do not block.
pub(crate) fn start(stage: &str, order: &[u8]) -> io::Result<(Started, [OwnedFd; 2])> {
    let (stdout, stdout_end) = output_pipe()?;
    let (stderr, stderr_end) = output_pipe()?;
    let (mut report, report_end) = UnixStream::pair()?;
    let child = process::stage(stage)
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(report_end)))
        .stdout(Stdio::from(stdout_end))
        .stderr(Stdio::from(stderr_end))
        .spawn()?;
    // A stage that died early is seen when it is reaped.
    let _ = report.write_all(order).and_then(|()| report.shutdown(Shutdown::Write));
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok((Started { pid: Pid::from_raw(pid), report }, [stdout, stderr]))
}

impl Started {
    /// What the stage answered, once its process has ended. `None` if nothing: it became the command.
    pub(crate) fn report(&mut self) -> Option<String> {
        let mut message = String::new();
        // The other end is closed by now; the timeout only guards against surprises.
        self.report.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
        self.report.read_to_string(&mut message).ok()?;
        (!message.is_empty()).then_some(message)
    }
}

fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // Over the user's quota the default size has to do.
    let _ = fcntl_setpipe_size(&read, PIPE_BYTES);
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, write))
}

//! Starting the command, with a pipe for each of its outputs.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use runvoy_task::TaskSpec;
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::process;

/// Room that spares both sides most of their waiting.
const PIPE_BYTES: usize = 1024 * 1024;

/// A started command.
pub(crate) struct Started {
    /// Its process, and its process group.
    pub(crate) pid: Pid,
    outputs: Option<[OwnedFd; 2]>,
    report: UnixStream,
}

/// Starts the command, by way of the stage `exec`.
pub(crate) fn start(spec: &TaskSpec) -> io::Result<Started> {
    let (stdout, stdout_end) = output_pipe()?;
    let (stderr, stderr_end) = output_pipe()?;
    let (mut report, report_end) = UnixStream::pair()?;
    let child = process::stage("exec")
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(report_end)))
        .stdout(Stdio::from(stdout_end))
        .stderr(Stdio::from(stderr_end))
        .spawn()?;
    let spec = serde_json::to_vec(spec)?;
    // A stage that died early is seen when it is reaped.
    let _ = report.write_all(&spec).and_then(|()| report.shutdown(Shutdown::Write));
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Started { pid: Pid::from_raw(pid), outputs: Some([stdout, stderr]), report })
}

impl Started {
    /// Read ends of its standard output and error, non-blocking. They can be had once.
    pub(crate) fn take_outputs(&mut self) -> io::Result<[OwnedFd; 2]> {
        self.outputs.take().ok_or_else(|| io::Error::other("the outputs were taken before"))
    }

    /// Why there never was a command, once its process has ended. `None` if there was one.
    pub(crate) fn failure(&mut self) -> Option<String> {
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

//! Servers as processes of their own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{KEY, Result};

/// Longest wait for a server to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a server without commands does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noop {
    /// Policies beside the built-in ones.
    pub(crate) policies: usize,
    /// The command `true` ends at once; no other ever does.
    pub(crate) runs_true: bool,
}

/// A server that is there until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it said that it listens.
    pub(crate) listening_after: Duration,
}

impl Server {
    /// The service over SQLite, without anything that runs commands.
    pub(crate) fn noop(data_dir: &Path, noop: Noop) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve-noop").arg(data_dir).stdin(Stdio::piped());
        command.arg("--policies").arg(noop.policies.to_string());
        command.args(noop.runs_true.then_some("--runs-true"));
        Self::start(command)
    }

    /// The server that people use, over the process executor.
    pub(crate) fn runvoy(runvoy: &Path, home: &Path) -> Result<Self> {
        let mut command = clean(runvoy, home);
        command.args(["local", "serve", "--executor", "process", "--listen", "127.0.0.1:0", "--data-dir"]);
        command
            .arg(home.join("data"))
            .args(["--rate-per-key", "10000000"])
            .env("RUNVOY_ADMIN_API_KEY", KEY)
            .stdin(Stdio::null());
        command.stderr(File::options().create(true).append(true).open(home.join("server.log"))?);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let read = child.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
        let listening_after = begun.elapsed();
        if let (Some(Ok(_)), Some(Ok(address))) =
            (read, line.trim_end().strip_prefix("http://").map(str::parse))
        {
            Ok(Self { child, address, listening_after })
        } else {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("the server said {line:?} instead of where it listens").into())
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err("the server does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `runvoy` with nothing of this machine's environment but `PATH` and the agent that it was told to use.
pub(crate) fn clean(runvoy: &Path, home: &Path) -> Command {
    let mut command = Command::new(runvoy);
    command.env_clear().env("HOME", home).current_dir(home);
    for name in ["PATH", "RUNVOY_AGENT"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// The `runvoy` beside this executable.
pub(crate) fn beside() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("runvoy"))
}

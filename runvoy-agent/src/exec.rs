//! The last stage before the command: takes on its identity and becomes it.
//!
//! The spec comes through a socket that is this process's standard input; what went wrong goes back the same way.
//! Nothing of the command (its environment above all) reaches this program by argument or environment, because it
//! still has the agent's rights.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runvoy_task::{CommandLine, TaskSpec};

use crate::{NOT_RUN, dotenv, identity};

/// Becomes the command. Comes back only if that fails.
pub(crate) fn run() -> ExitCode {
    match attempt() {
        Failure::Shell(code, line) => {
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::from(code)
        }
        Failure::Start(message, report) => {
            if let Some(report) = report {
                // A supervisor that is gone needs no report.
                let _ = fs::File::from(report).write_all(message.as_bytes());
            }
            ExitCode::from(NOT_RUN)
        }
    }
}

enum Failure {
    /// As a shell would put it: an exit code, and a line for the command's standard error.
    Shell(u8, String),
    /// There was no command: a sentence for the end record.
    Start(String, Option<OwnedFd>),
}

fn attempt() -> Failure {
    // Closed by a successful exec, which is what the supervisor sees then.
    let report = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(report) => report,
        Err(error) => return Failure::Start(error.to_string(), None),
    };
    match prepare() {
        Ok(spec) => become_command(&spec, report),
        Err(message) => Failure::Start(message, Some(report)),
    }
}

/// Everything that takes rights, then gives them up.
fn prepare() -> Result<TaskSpec, String> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the task spec: {error}"))?;
    let spec = TaskSpec::from_json(&bytes).map_err(|error| error.to_string())?;
    identity::expose_to_oom_killer();
    if let Some(most) = spec.max_processes {
        limit_processes(most).map_err(|error| format!("cannot limit the number of processes: {error}"))?;
    }
    if let Some(who) = &spec.run_as {
        identity::take(who).map_err(|error| format!("cannot run as user {}: {error}", who.uid))?;
    }
    std::env::set_current_dir(&spec.workdir)
        .map_err(|error| format!("cannot enter the working directory {}: {error}", spec.workdir.display()))?;
    if let Err(error) = dotenv::write(&spec) {
        let _ = writeln!(io::stderr(), "runvoy: .env could not be written: {error}");
    }
    Ok(spec)
}

fn limit_processes(most: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    let most = most.min(hard);
    setrlimit(Resource::RLIMIT_NPROC, most, most)
}

fn become_command(spec: &TaskSpec, report: OwnedFd) -> Failure {
    let words: Vec<&str> = match &spec.command {
        // A command that begins with a dash is none of the shell's options.
        CommandLine::Shell(text) => vec!["/bin/sh", "-c", "--", text],
        CommandLine::Args(args) => args.iter().map(String::as_str).collect(),
    };
    let shown = words.first().copied().unwrap_or_default();
    let mut command = Command::new(shown);
    command.args(words.iter().skip(1)).env_clear().envs(&spec.env).stdin(Stdio::null());
    let error = command.exec();
    match (&spec.command, error.kind()) {
        _ if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => Failure::Start(
            format!("cannot start {shown}: it is no program for this machine's architecture"),
            Some(report),
        ),
        (CommandLine::Shell(_), io::ErrorKind::NotFound) => {
            let message = format!("there is no {shown} here; run the program itself, with `--no-shell`");
            Failure::Start(message, Some(report))
        }
        (CommandLine::Shell(_), _) => Failure::Start(format!("cannot start {shown}: {error}"), Some(report)),
        (_, io::ErrorKind::InvalidInput) => {
            Failure::Start("the command or its environment holds a zero byte".to_owned(), Some(report))
        }
        (_, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Failure::Shell(127, format!("runvoy: {shown}: not found"))
        }
        (_, io::ErrorKind::PermissionDenied) => {
            Failure::Shell(126, format!("runvoy: {shown}: not executable"))
        }
        _ => Failure::Shell(126, format!("runvoy: {shown}: {error}")),
    }
}

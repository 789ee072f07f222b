//! Prepares the directory that a command starts in, before it starts.
//!
//! The work is done by a process of its own, the stage `checkout`: its memory is gone when the command starts, it can be
//! killed at any moment, it has the command's rights and no more, and the token lives there alone.

mod checkout;
mod fault;
mod git;
mod upload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runvoy_task::block::{Stream, Tail};
use runvoy_task::{EndReason, RunAs, TaskSpec, Workspace};
use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};

pub(crate) use checkout::run;

use crate::control::{Cause, Kept, Orders};
use crate::signals::Signals;
use crate::sink::Asleep;
use crate::stage::{self, Ended, Log};
use crate::{clock, command, identity};

/// Bytes of memory that preparing a workspace may take. A checkout needs what its largest file has, and as much again; a server
/// that never comes to an end of its answer must not have the machine's.
const MEMORY: u64 = 2 << 30;

/// What the stage is told.
#[derive(Serialize, Deserialize)]
struct Order {
    workspace: Workspace,
    root: PathBuf,
    run_as: Option<RunAs>,
    /// Whether the command gets a file `.env`.
    dotenv: bool,
}

/// What it answers.
#[derive(Serialize, Deserialize)]
enum Report {
    Ready(Ready),
    Failed(String),
}

/// A directory to start a command in.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The commit that is checked out there, if it comes from git.
    pub(crate) commit: Option<String>,
    /// The directory.
    pub(crate) workdir: PathBuf,
}

/// What came of it, and what the next stage goes on with.
pub(crate) struct Prepared {
    /// The directory, or why the task ends here.
    pub(crate) outcome: Result<Ready, Cause>,
    pub(crate) log: Log,
    pub(crate) signals: Signals,
}

/// Values of a workspace that must not appear in the log.
pub(crate) fn secrets(workspace: &Workspace) -> Vec<String> {
    let Workspace::Git(git) = workspace else { return Vec::new() };
    let token = git.token.as_ref().map(|token| token.expose().to_owned());
    let proxy = git.network.https_proxy.as_ref().into_iter();
    let password = proxy.flat_map(|proxy| git::proxy_passwords(proxy.expose()));
    token.into_iter().chain(password).filter(|secret| !secret.is_empty()).collect()
}

/// Prepares a workspace. Whatever goes wrong, the directory is left as empty as it was.
pub(crate) fn prepare(
    workspace: Workspace,
    spec: &TaskSpec,
    (dir, kept): (&Path, Kept),
    log: Log,
    signals: Signals,
) -> Prepared {
    let root = spec.workdir.clone();
    let started = identity::with_own_rights(|| empty_directory(&root, spec.run_as.as_ref()))
        .map_err(|error| unusable(&root, &error))
        .and_then(|()| {
            let dotenv = spec.dotenv.iter().any(|name| spec.env.contains_key(name));
            let order = Order { workspace, root: root.clone(), run_as: spec.run_as.clone(), dotenv };
            let started = serde_json::to_vec(&order)
                .map_err(io::Error::from)
                .and_then(|order| command::start("checkout", &order));
            started.map_err(|error| format!("the workspace could not be prepared: {error}; try again"))
        });
    let (started, outputs) = match started {
        Ok(started) => started,
        Err(sentence) => return never_began(sentence, log, signals),
    };
    let orders = Orders {
        dir: dir.to_owned(),
        command: started.pid,
        deadline: Instant::now().checked_add(Duration::from_millis(spec.workspace_timeout_ms)),
        grace: Duration::ZERO,
        stop_signal: Signal::SIGKILL,
        kept,
    };
    let Ended { status, cause, report, log, signals } =
        stage::supervise(started, outputs, orders, log, signals);
    let outcome = outcome(status, cause, report, spec.workspace_timeout_ms);
    let outcome = outcome.map_err(|mut cause| {
        cause.message = cause.message.map(|message| log.patterns.mask(&message));
        cause
    });
    if outcome.is_err() {
        // The stage does so itself, unless it was killed.
        let _ = identity::with_own_rights(|| clear(&root));
    }
    Prepared { outcome, log, signals }
}

/// Without a stage that says so, the log is told here.
fn never_began(sentence: String, mut log: Log, signals: Signals) -> Prepared {
    let line = format!("runvoy: {sentence}\n");
    let line = [line.as_bytes(), &[]];
    let stored = log.sink.append(line, Stream::Stderr, Tail::Newline, clock::now_ms(), &mut Asleep);
    if let Err(error) = stored {
        log.broken.get_or_insert(error);
    }
    Prepared { outcome: Err(failed(sentence)), log, signals }
}

fn unusable(root: &Path, error: &io::Error) -> String {
    let root = root.display();
    match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => format!(
            "the workspace directory {root} is not empty, and nothing in it is touched; take an image that has nothing \
             there, or leave `--upload` and `--git-repo` out"
        ),
        _ => format!("the workspace directory {root} is not usable: {error}; see that it can be written to"),
    }
}

fn outcome(
    status: Option<WaitStatus>,
    cause: Option<Cause>,
    report: Option<String>,
    timeout_ms: u64,
) -> Result<Ready, Cause> {
    match cause {
        Some(Cause { reason: EndReason::TimedOut, .. }) => Err(failed(format!(
            "the workspace was not ready after {}; fetch less, or look at the way to the server",
            seconds(timeout_ms)
        ))),
        Some(cause) => Err(cause),
        None => match report.and_then(|report| serde_json::from_str(&report).ok()) {
            Some(Report::Ready(ready)) => Ok(ready),
            Some(Report::Failed(sentence)) => Err(failed(sentence)),
            None => Err(failed(match status.and_then(WaitStatus::terminating_signal) {
                Some(9) => "preparing the workspace was killed, as happens when memory runs out; \
                            give the task more memory"
                    .to_owned(),
                Some(6) => format!(
                    "preparing the workspace was given up, as happens when it needs more than {} GiB of memory; check the \
                     address, or upload less; see the log",
                    MEMORY >> 30
                ),
                Some(signal) => format!("preparing the workspace crashed with signal {signal}; see the log"),
                None => "preparing the workspace ended without an answer; see the log".to_owned(),
            })),
        },
    }
}

fn failed(sentence: String) -> Cause {
    Cause { reason: EndReason::WorkspaceFailed, message: Some(sentence) }
}

fn seconds(ms: u64) -> String {
    match ms {
        ms if ms >= 120_000 => format!("{} minutes", ms / 60_000),
        ms => format!("{} s", ms.div_ceil(1000)),
    }
}

/// Makes sure of an empty directory that belongs to whom the command runs as.
fn empty_directory(path: &Path, owner: Option<&RunAs>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if fs::read_dir(path)?.next().is_some() {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    match owner {
        Some(owner) if nix::unistd::Uid::effective().is_root() => {
            std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))
        }
        _ => Ok(()),
    }
}

/// Removes everything in a directory, without following a link.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

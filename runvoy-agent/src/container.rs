//! The first process of a container: keeper and supervisor in one.
//!
//! Nobody could answer for it: when it dies, the kernel kills all that is in the container, and the engine tells.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use runvoy_task::layout;
use rustix::fs::{Mode, OFlags};

use crate::error::AgentError;
use crate::keeper::{existing, read_spec};
use crate::signals::Signals;
use crate::user::Accounts;
use crate::{claim, process, spec, supervisor};

/// Runs a whole task: is told its spec by a pipe in the directory, supervises its command, answers as that did.
pub(crate) fn run(dir: &Path) -> Result<ExitCode, AgentError> {
    process::close_inherited().map_err(AgentError::io("closing inherited files"))?;
    let signals = Signals::install().map_err(AgentError::io("installing signal handlers"))?;
    let dir = existing(dir)?;
    let accounts = Accounts::read().map_err(AgentError::io("reading the image's users"))?;
    write_as_owner(&dir).map_err(AgentError::io("looking at the directory"))?;
    speak_to_file(&dir).map_err(AgentError::io("opening agent.log"))?;
    let bytes = take_spec(&dir, &signals)?;
    let spec = spec::parse(&bytes)?;
    drop(bytes);
    process::stand_alone().map_err(AgentError::io("becoming the first process"))?;
    if claim::claim(&dir)?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    supervisor::contained(&dir, spec, &accounts, signals)
}

/// Shows that a container's files are those of the server: carries what it is told by the pipe into a file.
pub(crate) fn probe(dir: &Path) -> Result<ExitCode, AgentError> {
    let signals = Signals::install().map_err(AgentError::io("installing signal handlers"))?;
    write_as_owner(dir).map_err(AgentError::io("looking at the directory"))?;
    let told = take_spec(dir, &signals)?;
    fs::write(dir.join(layout::END), told).map_err(AgentError::io("writing the answer"))?;
    Ok(ExitCode::SUCCESS)
}

/// From here on files are the directory's owner's, who may be somebody else than this root. The command is not
/// concerned: executing it sets the file system's user anew.
fn write_as_owner(dir: &Path) -> io::Result<()> {
    let found = fs::metadata(dir)?;
    if Uid::effective().is_root() && found.uid() != 0 {
        setfsgid(Gid::from_raw(found.gid()));
        setfsuid(Uid::from_raw(found.uid()));
    }
    Ok(())
}

/// What the agent itself has to say goes to a file, as everywhere: an engine need not keep a log of the container.
fn speak_to_file(dir: &Path) -> io::Result<()> {
    let path = dir.join(layout::AGENT_LOG);
    let log: OwnedFd = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.into();
    rustix::stdio::dup2_stdout(log.as_fd())?;
    rustix::stdio::dup2_stderr(log.as_fd())?;
    Ok(())
}

/// Waits for whoever writes the spec; then nobody finds the pipe any more.
fn take_spec(dir: &Path, signals: &Signals) -> Result<Vec<u8>, AgentError> {
    let path = dir.join(layout::SPEC);
    // Without waiting: a reader that waits for its writer in `open` could not be stopped.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(AgentError::io("opening the pipe of the spec"))?;
    let bytes = read_spec(pipe.as_fd(), signals)?;
    fs::remove_file(&path).map_err(AgentError::io("removing the pipe of the spec"))?;
    Ok(bytes)
}

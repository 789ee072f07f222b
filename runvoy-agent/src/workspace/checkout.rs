//! The stage that fills the workspace, with the command's rights.
//!
//! Its order comes through a socket that is its standard input, the answer goes back the same way: no token in an
//! argument or in the environment.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use runvoy_task::{UploadWorkspace, Workspace};

use super::fault::Fault;
use super::{MEMORY, Order, Ready, Report, clear, git, upload};
use crate::{NOT_RUN, identity};

/// Fills the workspace and says what came of it.
pub(crate) fn run() -> ExitCode {
    let (report, code) = match attempt() {
        Ok(ready) => (Report::Ready(ready), ExitCode::SUCCESS),
        Err(fault) => {
            for line in fault.said.iter().flat_map(|said| said.lines()).filter(|line| !line.is_empty()) {
                let _ = writeln!(io::stderr(), "{line}");
            }
            let _ = writeln!(io::stderr(), "runvoy: {}", fault.sentence);
            (Report::Failed(fault.sentence), ExitCode::from(NOT_RUN))
        }
    };
    // A supervisor that is gone needs no report.
    let _ = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(|line| serde_json::to_vec(&report).map_or(Ok(()), |bytes| File::from(line).write_all(&bytes)));
    code
}

fn attempt() -> Result<Ready, Fault> {
    let order = read_order().map_err(|error| Fault::new(format!("the order is not readable: {error}")))?;
    identity::expose_to_oom_killer();
    limit_memory()
        .map_err(|error| Fault::new(format!("the memory of this stage cannot be limited: {error}")))?;
    let source = Source::open(order.workspace)?;
    if let Some(who) = &order.run_as {
        identity::take(who)
            .map_err(|error| Fault::new(format!("cannot fill the workspace as user {}: {error}", who.uid)))?;
    }
    // Both are lost with the identity. Its memory holds the token, and nobody else finds it once the agent is dead.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    umask(Mode::from_bits_truncate(0o022));
    source.fill(order.root.clone(), order.dotenv).inspect_err(|_| {
        // Before a word is said: the log may need the room.
        let _ = clear(&order.root);
    })
}

fn read_order() -> io::Result<Order> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What is mapped from files, as packs are, does not count.
fn limit_memory() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    let most = hard.min(MEMORY);
    setrlimit(Resource::RLIMIT_DATA, most, most)
}

/// A workspace whose source is at hand, whoever this process becomes.
enum Source {
    Git(Box<runvoy_task::GitWorkspace>),
    Upload(UploadWorkspace, File),
}

impl Source {
    fn open(workspace: Workspace) -> Result<Self, Fault> {
        match workspace {
            Workspace::Git(git) => Ok(Self::Git(Box::new(git))),
            Workspace::Upload(upload) => match File::open(&upload.archive) {
                Ok(file) => Ok(Self::Upload(upload, file)),
                Err(error) => Err(Fault::new(format!(
                    "the uploaded code {} cannot be read ({error}); upload it again",
                    short(&upload.sha256)
                ))),
            },
        }
    }

    fn fill(self, root: PathBuf, dotenv: bool) -> Result<Ready, Fault> {
        match self {
            Self::Git(git) => git::checkout(&git, &root, dotenv),
            Self::Upload(upload, archive) => {
                upload::unpack(archive, &upload, &root, upload::Limits::default())?;
                Ok(Ready { commit: None, workdir: root })
            }
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

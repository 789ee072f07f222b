//! The agent's side of the start gate.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use runvoy_task::{AgentProcess, Gate, GateState, layout};

use crate::error::AgentError;
use crate::{clock, process};

/// Takes the right to run the command. `None`: somebody else has it, or nobody ever will.
///
/// Answers when the claim was made, in milliseconds since the Unix epoch.
pub(crate) fn claim(dir: &Path) -> Result<Option<u64>, AgentError> {
    let me = myself().map_err(AgentError::io("reading /proc about this process"))?;
    let at_ms = clock::now_ms();
    let private = dir.join(format!(".gate.{}.{}", me.pid, me.start_time));
    let gate = Gate::new(GateState::Claimed(me), at_ms);
    let won = link(dir, &private, &gate).map_err(AgentError::io("claiming the start gate"));
    let _ = fs::remove_file(&private);
    Ok(won?.then_some(at_ms))
}

/// Complete and durable before it has the name that counts.
fn link(dir: &Path, private: &Path, gate: &Gate) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(private)?;
    file.write_all(&serde_json::to_vec(gate)?)?;
    file.sync_all()?;
    match fs::hard_link(private, dir.join(layout::GATE)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    File::open(dir)?.sync_all()?;
    Ok(true)
}

fn myself() -> io::Result<AgentProcess> {
    let stat = process::stat("self").ok_or_else(|| io::Error::other("no stat of this process"))?;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(AgentProcess { pid: std::process::id(), start_time: stat.start_time, boot_id })
}

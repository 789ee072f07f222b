//! The executor's side of the start gate.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use runvoy_core::port::Claim;
use runvoy_task::{Gate, GateState, layout};

use super::layout::sync;

/// Tells apart the private files of revokes that run at once.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Closes the gate, unless somebody came first. Who did.
pub(crate) fn revoke(dir: &Path, at_ms: u64) -> io::Result<Claim> {
    if read(dir)?.is_none() {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let private = dir.join(format!(".gate.{}.revoke.{number}", std::process::id()));
        let linked = link(dir, &private, &Gate::new(GateState::Revoked, at_ms));
        let removed = fs::remove_file(&private);
        linked?;
        removed?;
    }
    // Also where the agent won: what was said once must still be true after a crash of the machine.
    sync(dir)?;
    let gate = read(dir)?.ok_or_else(|| io::Error::other("the start gate was removed"))?;
    Ok(answer(&gate))
}

/// Who holds the gate; `None` while it is open.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Gate>> {
    match fs::read(dir.join(layout::GATE)) {
        Ok(bytes) => Gate::from_json(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Complete and durable before it has the name that counts.
fn link(dir: &Path, private: &Path, gate: &Gate) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(private)?;
    file.write_all(&serde_json::to_vec(gate)?)?;
    file.sync_all()?;
    match fs::hard_link(private, dir.join(layout::GATE)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn answer(gate: &Gate) -> Claim {
    match gate.state {
        GateState::Revoked => Claim::Revoked,
        GateState::Claimed(_) => Claim::Claimed,
    }
}

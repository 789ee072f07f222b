//! The executor's side of the start gate.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use runvoy_core::port::Claim;
use runvoy_task::{Gate, GateState, layout};

use super::files;
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
    let bytes = files::read(dir, layout::GATE)?;
    bytes.map(|bytes| Gate::from_json(&bytes).map_err(io::Error::other)).transpose()
}

/// Complete and durable before it has the name that counts.
fn link(dir: &Path, private: &Path, gate: &Gate) -> io::Result<()> {
    files::write_new(private, &serde_json::to_vec(gate)?)?.sync_all()?;
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

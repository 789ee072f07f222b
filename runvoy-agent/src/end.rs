//! Writing the end record: the last thing that happens to an execution's directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use runvoy_task::{EndRecord, layout};

use crate::sink::{Wait, retrying};

/// Puts the record in place, durably. Waits for space rather than to fail.
pub(crate) fn write(dir: &Path, record: &EndRecord, wait: &mut dyn Wait) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let temporary = dir.join(".end.json");
    retrying(wait, || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()
    })?;
    fs::rename(&temporary, dir.join(layout::END))?;
    File::open(dir)?.sync_all()
}

/// Reads the record, if there is one.
pub(crate) fn read(dir: &Path) -> Option<EndRecord> {
    EndRecord::from_json(&fs::read(dir.join(layout::END)).ok()?).ok()
}

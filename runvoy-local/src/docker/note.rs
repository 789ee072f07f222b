//! What a server notes of a container, out of the command's reach.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::task_dir::files;
use crate::task_dir::layout::container_note;

/// Tells apart the private files of notes that are written at once.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What stays of a container when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What its image was exactly.
    pub(super) image_digest: String,
    /// When its agent claimed the command, once that was seen: it stays true when the gate is tampered with.
    #[serde(default)]
    pub(super) claimed_at_ms: Option<u64>,
}

impl Note {
    /// Reads the note of an execution; `None` where there is none.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(container_note(dir)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = container_note(dir);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let private = path.with_extension(format!("container.{}.{number}", std::process::id()));
        files::write_new(&private, &serde_json::to_vec(self)?)?;
        fs::rename(private, path)
    }
}

//! Why there is no workspace, in words.

use std::io;

/// One sentence for the end record, what happened and what to do about it; and what the other side said, for the log.
#[derive(Debug)]
pub(crate) struct Fault {
    /// For people. Names no secret.
    pub(crate) sentence: String,
    /// Lines.
    pub(crate) said: Vec<String>,
}

impl Fault {
    /// A fault that needs no further words.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), said: Vec::new() }
    }

    /// Adds to what was said.
    pub(crate) fn saying(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.said.extend(lines);
        self
    }

    /// Something could not be written into the workspace.
    pub(crate) fn writing(what: &str, error: &io::Error) -> Self {
        if is_full(error) {
            return Self::full();
        }
        Self::new(format!("{what} could not be written into the workspace: {error}"))
    }

    /// There is no room for the workspace.
    pub(crate) fn full() -> Self {
        Self::new(
            "the disk is full: the workspace does not fit on it; free space on the machine, or fetch less",
        )
    }
}

/// Whether the disk, or the user's share of it, has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

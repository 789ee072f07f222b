//! What a server notes of an execution's container: beside the execution's directory, out of the command's reach.

use std::fs;
use std::io;
use std::path::Path;
#[cfg(feature = "docker")]
use std::path::PathBuf;
#[cfg(feature = "docker")]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::layout::container_note;
#[cfg(feature = "docker")]
use super::{files, layout::sync};

/// Tells apart the private files of notes that are written at once.
#[cfg(feature = "docker")]
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Who has an execution's command, as far as containers are concerned: decided once, by whoever links it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Note {
    /// No container is ever told the command.
    Revoked,
    /// A container was told the command, or was about to be: as good as claimed, and nobody is told it again.
    Told(Told),
}

/// The container that was told a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// The grace that the run was started with.
    pub(crate) grace_ms: Option<u64>,
    /// Which engine has it; `None` where the note was spoilt.
    pub(crate) engine: Option<String>,
    /// What that engine calls it; `None` where the note was spoilt.
    pub(crate) container: Option<String>,
    /// What its image was exactly.
    pub(crate) image_digest: Option<String>,
    /// That it is over, once its engine has said so.
    #[serde(default)]
    pub(crate) over: Option<Over>,
}

/// An engine's word for the end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Over {
    /// When that was heard, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// What its first process exited with, where the engine was heard saying it.
    pub(crate) exit_code: Option<i64>,
}

impl Note {
    /// Reads the note of an execution; `None` where there is none.
    ///
    /// One that is unreadable still says that there was one: somebody may have been told.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let path = container_note(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&bytes).map(Some).or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "a note is spoilt; its container counts as told");
            let written = fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Some(Self::Told(Told::spoilt(super::millis(written)))))
        })
    }

    /// Makes this the decision, durably, unless there is one. Whether there was none.
    #[cfg(feature = "docker")]
    pub(crate) fn decide(&self, dir: &Path) -> io::Result<bool> {
        let (path, private) = (container_note(dir), private(dir));
        let linked = files::write_new(&private, &serde_json::to_vec(self)?)
            .and_then(|file| file.sync_all())
            .and_then(|()| match fs::hard_link(&private, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                other => other.map(|()| true),
            });
        let removed = fs::remove_file(&private);
        let is_first = linked?;
        removed?;
        // Also for whoever comes second: what they are told must still be true after a crash of the machine.
        path.parent().map_or(Ok(()), sync)?;
        Ok(is_first)
    }
}

impl Told {
    /// What is left to know where a note says nothing.
    fn spoilt(at_ms: u64) -> Self {
        Self { at_ms, grace_ms: None, engine: None, container: None, image_digest: None, over: None }
    }

    /// Adds that it is over. The first word stays; lost with the machine, it is asked for again.
    #[cfg(feature = "docker")]
    pub(crate) fn end(mut self, dir: &Path, over: Over) -> io::Result<Self> {
        if let Some(Note::Told(noted)) = Note::read(dir)?
            && noted.over.is_some()
        {
            return Ok(noted);
        }
        self.over = Some(over);
        let (note, private) = (Note::Told(self), private(dir));
        let written = files::write_new(&private, &serde_json::to_vec(&note)?)
            .and_then(|_| fs::rename(&private, container_note(dir)));
        if let Err(error) = written {
            // A full disk, say: it is over all the same.
            tracing::warn!(%error, "the end of a container could not be noted");
            let _ = fs::remove_file(&private);
        }
        let Note::Told(told) = note else { return Err(io::ErrorKind::InvalidData.into()) };
        Ok(told)
    }
}

#[cfg(feature = "docker")]
fn private(dir: &Path) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    container_note(dir).with_extension(format!("container.{}.{number}", std::process::id()))
}

#[cfg(all(test, feature = "docker"))]
mod tests {
    use super::*;

    fn told() -> Told {
        Told { grace_ms: Some(5), container: Some("c".to_owned()), ..Told::spoilt(7) }
    }

    #[test]
    fn the_first_decision_stays() {
        for (first, second) in [(Note::Told(told()), Note::Revoked), (Note::Revoked, Note::Told(told()))] {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("a");
            assert_eq!(Note::read(&dir).unwrap(), None);
            assert!(first.decide(&dir).unwrap());
            assert!(!second.decide(&dir).unwrap());
            assert_eq!(Note::read(&dir).unwrap(), Some(first));
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "private files are left");
        }
    }

    #[test]
    fn the_first_word_about_an_end_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a");
        assert!(Note::Told(told()).decide(&dir).unwrap());
        let over = |at_ms, exit_code| Over { at_ms, exit_code };
        let first = told().end(&dir, over(8, Some(137))).unwrap();
        assert_eq!(told().end(&dir, over(9, None)).unwrap(), first);
        assert_eq!(Note::read(&dir).unwrap(), Some(Note::Told(first)));
    }

    #[test]
    fn a_spoilt_note_counts_as_told() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a");
        fs::write(container_note(&dir), b"").unwrap();
        let Some(Note::Told(told)) = Note::read(&dir).unwrap() else { panic!("not told") };
        assert_eq!((told.engine, told.container, told.over), (None, None, None));
        assert!(told.at_ms > 0);
    }
}

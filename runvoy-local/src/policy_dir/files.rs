use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use runvoy_core::cedar::PolicyError;

/// What makes a file one of policies.
const EXTENSION: &str = "cedar";

/// Why the policies of a directory are not in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyDirError {
    /// The directory, or a file in it, cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is refused.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

/// Names and texts, in the order of their names.
pub(super) type Files = Vec<(String, String)>;

/// The files `*.cedar` of a directory, as a shell reads that: not hidden ones, and not of directories below.
pub fn read_policies(dir: &Path) -> Result<Vec<(String, String)>, PolicyDirError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PolicyDirError::Unreadable { path, source }
    };
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        // Follows links: that is how files are mounted into containers.
        if !has_policies(&path) || path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, text));
    }
    files.sort();
    Ok(files)
}

/// Not what an editor or another system hides beside them.
fn has_policies(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension().is_some_and(|extension| extension == EXTENSION)
}

pub(super) fn borrowed(files: &Files) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

/// What a directory looks like from outside, links followed: whether another one took its place, or a file changed.
/// What cannot be looked at is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    dir: Option<[u64; 2]>,
    files: Vec<(OsString, [u64; 3], [i64; 2])>,
}

impl Looks {
    pub(super) fn of(dir: &Path) -> Self {
        let place = std::fs::metadata(dir).ok().map(|it| [it.dev(), it.ino()]);
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter(|entry| has_policies(Path::new(&entry.file_name())))
            .filter_map(|entry| {
                let it = std::fs::metadata(entry.path()).ok()?;
                Some((entry.file_name(), [it.dev(), it.ino(), it.len()], [it.mtime(), it.mtime_nsec()]))
            })
            .collect();
        files.sort();
        Self { dir: place, files }
    }
}

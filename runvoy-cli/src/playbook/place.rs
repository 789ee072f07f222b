//! Where playbooks are: `.runvoy` in the current directory, then in the home directory.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::{fs, io};

use runvoy_core::id::PlaybookName;

use super::keys::nearest;
use crate::error::{CliError, Kind};

const DIRECTORY: &str = ".runvoy";
/// In this order, where a playbook has two files.
const EXTENSIONS: [&str; 2] = ["yaml", "yml"];
/// `config.yaml` is the client's configuration.
const CONFIGURATION: &str = "config";

/// The directories, in the order in which they are asked.
#[derive(Clone, Debug)]
pub(crate) struct Places(Vec<PathBuf>);

impl Places {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Self::new(Path::new(""), home.as_deref())
    }

    pub(super) fn new(here: &Path, home: Option<&Path>) -> Self {
        Self([here].into_iter().chain(home).map(|base| base.join(DIRECTORY)).collect())
    }

    /// The file of a playbook.
    pub(crate) fn find(&self, name: &PlaybookName) -> Result<PathBuf, CliError> {
        if name.as_str() == CONFIGURATION {
            let what = "`config` is the client's configuration, never a playbook";
            return Err(CliError::new(Kind::NotFound, what).hint("give the playbook another name"));
        }
        let candidates = self
            .0
            .iter()
            .flat_map(|dir| EXTENSIONS.iter().map(move |extension| dir.join(format!("{name}.{extension}"))));
        for path in candidates {
            match path.try_exists() {
                Ok(true) => return Ok(path),
                Ok(false) => {}
                Err(e) => return Err(unreadable(&path, &e)),
            }
        }
        let known = self.list()?;
        let hint = match nearest(name.as_str(), known.keys().map(PlaybookName::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`runvoy playbook list` shows what there is".to_owned(),
        };
        Err(CliError::new(Kind::NotFound, format!("there is no playbook `{name}`")).hint(hint))
    }

    /// Every playbook's file, by name.
    pub(crate) fn list(&self) -> Result<BTreeMap<PlaybookName, PathBuf>, CliError> {
        let mut found = BTreeMap::new();
        for dir in &self.0 {
            collect(dir, "", &mut found).map_err(|e| unreadable(dir, &e))?;
        }
        Ok(found)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Kind::Config, format!("`{}` cannot be read: {error}", path.display()))
}

/// What was found first stays. A directory that is not there has none.
fn collect(dir: &Path, prefix: &str, found: &mut BTreeMap<PlaybookName, PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<Result<_, _>>()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    // `NAME.yaml` before `NAME.yml`.
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str().filter(|text| !text.starts_with('.')) else { continue };
        // A link to a directory is not gone into: it could lead back here.
        if entry.file_type()?.is_dir() {
            let prefix = format!("{prefix}{text}/");
            // What is too deep for a name is none.
            if prefix.len() <= runvoy_core::limits::NAME {
                collect(&entry.path(), &prefix, found)?;
            }
            continue;
        }
        let stem = EXTENSIONS.iter().find_map(|extension| text.strip_suffix(extension)?.strip_suffix('.'));
        let name = stem.and_then(|stem| format!("{prefix}{stem}").parse::<PlaybookName>().ok());
        if let Some(name) = name.filter(|name| name.as_str() != CONFIGURATION) {
            found.entry(name).or_insert_with(|| entry.path());
        }
    }
    Ok(())
}

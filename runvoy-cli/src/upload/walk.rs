//! What of a directory is uploaded: everything that is not ignored.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use ignore::WalkBuilder;
use runvoy_task::links;

use super::{bytes, limit, shown, unreadable};
use crate::error::{CliError, Kind};

/// Names what is not to be uploaded, beside `.gitignore` and by its rules.
const OWN_IGNORES: &str = ".runvoyignore";
/// Files, directories and links that are unpacked at most: an agent refuses more.
const ENTRIES: usize = 500_000;
/// Bytes of files that are unpacked at most.
const BYTES: u64 = 4 << 30;
/// Directories and files that are named when there is too much.
const BIGGEST: usize = 5;

/// One thing to pack.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its path below the directory.
    pub(super) name: PathBuf,
    /// What it is.
    pub(super) what: What,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum What {
    /// A directory.
    Directory,
    /// A file, of so many bytes.
    File(u64),
    /// A link that stays inside, and where it leads.
    Link(PathBuf),
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their names.
    pub(super) entries: Vec<Entry>,
    /// What is nothing that could be packed: sockets, pipes, devices.
    pub(super) left_out: Vec<PathBuf>,
}

/// Looks through a directory. Hidden files are taken, what git keeps of its own is not.
pub(super) fn walk(root: &Path) -> Result<Found, CliError> {
    let is_of_git = root.ancestors().any(|dir| dir.join(".git").exists());
    let mut found = Found::default();
    let walked = WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_exclude(true)
        // Of a directory in a repository the files above it count as they do for git, of any other only its own.
        .require_git(is_of_git)
        .parents(is_of_git)
        .add_custom_ignore_filename(OWN_IGNORES)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in walked {
        let entry = entry.map_err(|error| unwalkable(root, error))?;
        let Ok(name) = entry.path().strip_prefix(root) else { continue };
        if name.as_os_str().is_empty() {
            continue;
        }
        match what(root, name)? {
            Some(what) => found.entries.push(Entry { name: name.to_owned(), what }),
            None => found.left_out.push(name.to_owned()),
        }
    }
    found.entries.sort_by(|a, b| a.name.cmp(&b.name));
    must_be_few(&found.entries)?;
    Ok(found)
}

/// What was in the way, in the words for a file that cannot be read where the system said no to a place.
fn unwalkable(root: &Path, error: ignore::Error) -> CliError {
    // The walk's own words for it repeat the path.
    let system = error.io_error().and_then(|error| {
        let inner = error.source().and_then(|inner| inner.downcast_ref::<io::Error>());
        inner.unwrap_or(error).raw_os_error().map(io::Error::from_raw_os_error)
    });
    match place(&error).zip(system) {
        Some((path, system)) => {
            let name = path.strip_prefix(root).ok().filter(|name| !name.as_os_str().is_empty());
            unreadable(name.unwrap_or(path), system)
        }
        None => CliError::new(Kind::Usage, format!("cannot look through the code: {error}")).because(error),
    }
}

/// Where it went wrong, if that is known.
fn place(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place(err),
        _ => None,
    }
}

fn what(root: &Path, name: &Path) -> Result<Option<What>, CliError> {
    let path = root.join(name);
    let data = fs::symlink_metadata(&path).map_err(|error| unreadable(name, error))?;
    if data.is_dir() {
        return Ok(Some(What::Directory));
    }
    if data.is_file() {
        return Ok(Some(What::File(data.len())));
    }
    if !data.is_symlink() {
        return Ok(None);
    }
    let target = fs::read_link(&path).map_err(|error| unreadable(name, error))?;
    let depth = name.components().count().saturating_sub(1);
    if links::stay(depth, target.as_os_str().as_encoded_bytes()) {
        return Ok(Some(What::Link(target)));
    }
    let what = format!("`{}` is a link to `{}`, which leads out of the code", shown(name), shown(&target));
    Err(CliError::new(Kind::Usage, what)
        .hint(format!("leave it out by {OWN_IGNORES}, or put a copy in its place")))
}

/// What an agent would refuse to unpack is not sent.
fn must_be_few(entries: &[Entry]) -> Result<(), CliError> {
    let size = entries.iter().map(Entry::size).sum();
    if entries.len() > ENTRIES {
        let what = format!("{} files are too many, {ENTRIES} may be uploaded", entries.len());
        return Err(too_much(what, entries));
    }
    if size > BYTES {
        let what = format!("the code has {}, {} may be uploaded", bytes(size), limit(BYTES));
        return Err(too_much(what, entries));
    }
    Ok(())
}

impl Entry {
    fn size(&self) -> u64 {
        match self.what {
            What::File(size) => size,
            What::Directory | What::Link(_) => 0,
        }
    }
}

/// Says that there is too much of it, and where most of it is.
pub(super) fn too_much(what: String, entries: &[Entry]) -> CliError {
    let mut sizes: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| matches!(entry.what, What::File(_))) {
        // The first two names of its directory tell enough: `web/node_modules`. What is in none stands for itself.
        let dir: PathBuf = entry.name.parent().into_iter().flat_map(Path::components).take(2).collect();
        let place = if dir.as_os_str().is_empty() { entry.name.clone() } else { dir };
        *sizes.entry(place).or_default() += entry.size();
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by(|(_, a), (_, b)| b.cmp(a));
    let biggest =
        sizes.iter().take(BIGGEST).map(|(place, size)| format!("`{}` ({})", shown(place), bytes(*size)));
    let biggest = biggest.collect::<Vec<_>>().join(", ");
    let error = CliError::new(Kind::Usage, what);
    if biggest.is_empty() {
        return error.hint(format!("leave out what the command does not need by {OWN_IGNORES}"));
    }
    error.hint(format!(
        "most of it is in {biggest}: leave out what the command does not need by {OWN_IGNORES}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_told_as_a_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let said = walk(&gone).unwrap_err().to_string();
        let place = format!("`{}` cannot be read: No such file or directory", gone.display());
        assert!(said.starts_with(&place) && said.ends_with("or make it readable"), "{said}");

        let denied = io::Error::from_raw_os_error(13);
        let within = ignore::Error::WithPath { path: gone.join("sub"), err: Box::new(denied.into()) };
        let error = ignore::Error::WithDepth { depth: 1, err: Box::new(within) };
        assert_eq!(
            unwalkable(&gone, error).to_string(),
            "`sub` cannot be read: Permission denied (os error 13); leave it out by .runvoyignore, or make it readable"
        );
    }
}

//! A git checkout without git: gix, over a transport of our own.
//!
//! The only module that knows gix. Its versions break each other: they are pinned in the workspace's manifest.

mod address;
mod http;
mod network;
mod repository;
mod unsupported;
mod wanted;
mod words;

use std::path::{Path, PathBuf};

use runvoy_task::{GitWorkspace, checkout};

use self::address::Address;
pub(super) use self::network::proxy_passwords;
use self::repository::Repository;
use self::wanted::Wanted;
use super::Ready;
use super::fault::Fault;

/// Checks a commit out into an empty directory, in which the command may find a file `.env` that is not the repository's.
pub(super) fn checkout(git: &GitWorkspace, root: &Path, dotenv: bool) -> Result<Ready, Fault> {
    let address = Address::parse(&git.url)?;
    let wanted = Wanted::parse(&git.git_ref)?;
    let path = git.path.as_deref().map(subdirectory).transpose()?.unwrap_or_default();
    let repository = Repository::init(root)?;
    let fetched = repository.fetch(&address, &wanted, git)?;
    let commit = fetched.commit.to_string();
    repository.check_out(&fetched, &path)?;
    repository.remember(&address, &fetched)?;
    unsupported::refuse_pointers(&repository, &path)?;
    let workdir = enter(root, &path)?;
    if dotenv {
        repository.ignore_dotenv(&workdir)?;
    }
    Ok(Ready { commit: Some(commit), workdir })
}

/// A path below the repository's root.
fn subdirectory(path: &str) -> Result<PathBuf, Fault> {
    let names = checkout::path_names(path).ok_or_else(|| {
        Fault::new(format!("git_path `{path}` leads out of the repository; name a directory in it"))
    })?;
    Ok(names.into_iter().collect())
}

/// The directory that the command starts in. A link of the repository's may lead to it, but not out.
fn enter(root: &Path, path: &Path) -> Result<PathBuf, Fault> {
    let root = root.canonicalize().map_err(|error| Fault::writing("the repository", &error))?;
    let found = root.join(path).canonicalize().map_err(|_| missing(path))?;
    if !found.starts_with(&root) || found.strip_prefix(&root).is_ok_and(|path| path.starts_with(".git")) {
        return Err(Fault::new(format!(
            "git_path `{}` leads out of the repository; name a directory in it",
            path.display()
        )));
    }
    if !found.is_dir() {
        return Err(missing(path));
    }
    Ok(found)
}

fn missing(path: &Path) -> Fault {
    Fault::new(format!(
        "git_path `{}` is no directory of the repository at this ref; name one that is",
        path.display()
    ))
}

//! What a repository may hold that a checkout would not bring: told before a command trips over it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use gix::bstr::{BStr, ByteSlice as _};
use gix::index::entry::Mode;

use super::super::fault::Fault;
use super::repository::Repository;

/// How every pointer of Git LFS begins.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// Pointers are smaller.
const LONGEST_POINTER: u64 = 1024;

/// Refuses submodules in the part of the repository that the command works in.
pub(super) fn refuse_submodules(index: &gix::index::State, path: &Path) -> Result<(), Fault> {
    let mut submodules = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT);
    match submodules.find(|entry| is_below(entry.path(index), path)) {
        Some(entry) => Err(Fault::new(format!(
            "the repository has a submodule at `{}`, and submodules are not supported; upload the code instead, or \
             name a git_path without submodules",
            entry.path(index).to_str_lossy()
        ))),
        None => Ok(()),
    }
}

/// Refuses files of which the repository has only a pointer for Git LFS, in the part that the command works in.
pub(super) fn refuse_pointers(repository: &Repository, path: &Path) -> Result<(), Fault> {
    let index = repository.index()?;
    let uses_lfs = index.entries().iter().any(|entry| {
        let name = entry.path(&index);
        let is_attributes = name == ".gitattributes" || name.ends_with(b"/.gitattributes");
        is_attributes && contents(repository, name, u64::MAX).find(b"filter=lfs").is_some()
    });
    if !uses_lfs {
        return Ok(());
    }
    let files =
        index.entries().iter().filter(|entry| matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE));
    let mut pointers = files
        .map(|entry| entry.path(&index))
        .filter(|name| is_below(name, path))
        .filter(|name| contents(repository, name, LONGEST_POINTER).starts_with(POINTER));
    let Some(first) = pointers.next() else { return Ok(()) };
    Err(Fault::new(format!(
        "`{}` and {} more files are in Git LFS, which is not supported; upload the code instead, or name a git_path \
         without such files",
        first.to_str_lossy(),
        pointers.count()
    )))
}

fn is_below(name: &BStr, path: &Path) -> bool {
    Path::new(std::ffi::OsStr::new(&*name.to_str_lossy())).starts_with(path)
}

/// A file of the checkout, if it is one and no larger than this.
fn contents(repository: &Repository, name: &BStr, most: u64) -> Vec<u8> {
    let path = repository.root().join(&*name.to_path_lossy());
    let is_small = path.symlink_metadata().is_ok_and(|data| data.is_file() && data.len() <= most);
    let mut bytes = Vec::new();
    if is_small && let Ok(file) = File::open(path) {
        let _ = file.take(1 << 20).read_to_end(&mut bytes);
    }
    bytes
}

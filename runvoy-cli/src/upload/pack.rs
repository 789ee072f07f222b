//! A directory as an archive: the same files make the same bytes, whenever and by whomever they are packed.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use runvoy_core::code::{CodeDigest, CodeHasher};
use runvoy_core::limits;
use tar::{Builder, EntryType, Header};

use super::walk::{Entry, What, too_much, walk};
use super::{shown, unreadable};
use crate::error::{CliError, Kind};

/// Quick, and small enough.
const LEVEL: u32 = 3;

/// An archive in a file that is gone when it is closed.
#[derive(Debug)]
pub(super) struct Packed {
    /// At its beginning.
    pub(super) file: File,
    pub(super) digest: CodeDigest,
    pub(super) size: u64,
    /// How many files are in it.
    pub(super) files: usize,
    /// What could not be packed, for people.
    pub(super) left_out: Vec<String>,
}

/// Packs what is not ignored of a directory.
pub(super) fn pack(root: &Path) -> Result<Packed, CliError> {
    pack_within(root, limits::CODE_BYTES)
}

fn pack_within(root: &Path, limit: u64) -> Result<Packed, CliError> {
    let found = walk(root)?;
    let file = tempfile::tempfile().map_err(|error| unwritten(&error))?;
    let hashed = Hashed { file: BufWriter::new(file), hasher: CodeHasher::default(), bytes: 0, limit };
    let gzip = GzBuilder::new().mtime(0).write(hashed, Compression::new(LEVEL));
    let mut archive = Builder::new(gzip);
    for entry in &found.entries {
        append(&mut archive, root, entry)
            .map_err(|failure| failure.told(&entry.name, limit, &found.entries))?;
    }
    let finished = archive.into_inner().and_then(flate2::write::GzEncoder::finish);
    let hashed =
        finished.map_err(|error| Failure::Writing(error).told(Path::new(""), limit, &found.entries))?;
    let mut file = hashed.file.into_inner().map_err(|error| unwritten(error.error()))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| unwritten(&error))?;
    let files = found.entries.iter().filter(|entry| matches!(entry.what, What::File(_))).count();
    let left_out = found.left_out.iter().map(|name| shown(name)).collect();
    Ok(Packed { file, digest: hashed.hasher.finish(), size: hashed.bytes, files, left_out })
}

/// Why something was not packed.
enum Failure {
    /// It cannot be read.
    Reading(io::Error),
    /// It is not as long as it was.
    Changed,
    /// The archive cannot be written.
    Writing(io::Error),
}

impl Failure {
    fn told(self, name: &Path, limit: u64, entries: &[Entry]) -> CliError {
        match self {
            Self::Reading(error) => unreadable(name, error),
            Self::Changed => {
                let what = format!("`{}` changed while it was packed", shown(name));
                CliError::new(Kind::TryLater, what).hint("try again")
            }
            Self::Writing(error) if is_too_much(&error) => too_much(
                format!("the packed code has more than {}, which is the limit", super::limit(limit)),
                entries,
            ),
            Self::Writing(error) => unwritten(&error),
        }
    }
}

fn is_too_much(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooMuch>)
}

fn append(archive: &mut Builder<impl Write>, root: &Path, entry: &Entry) -> Result<(), Failure> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(0o755);
    match &entry.what {
        What::Directory => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, &entry.name, io::empty()).map_err(Failure::Writing)
        }
        What::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, &entry.name, target).map_err(Failure::Writing)
        }
        What::File(size) => {
            let file = File::open(root.join(&entry.name)).map_err(Failure::Reading)?;
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if is_executable(&file).map_err(Failure::Reading)? { 0o755 } else { 0o644 });
            header.set_size(*size);
            let mut body = Body { file, left: *size, failed: None };
            let written = archive.append_data(&mut header, &entry.name, &mut body);
            match body.failed {
                Some(error) => Err(Failure::Reading(error)),
                None if body.left > 0 && written.is_ok() => Err(Failure::Changed),
                None => written.map_err(Failure::Writing),
            }
        }
    }
}

#[cfg(unix)]
fn is_executable(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;

    Ok(file.metadata()?.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// A file's bytes, as many as it had when it was found; tells its own errors from the archive's.
struct Body {
    file: File,
    left: u64,
    failed: Option<io::Error>,
}

impl io::Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&self.file).take(self.left).read(buffer) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                }
                Err(kind.into())
            }
        }
    }
}

/// Hashes and counts what is written.
struct Hashed {
    file: BufWriter<File>,
    hasher: CodeHasher,
    bytes: u64,
    limit: u64,
}

/// The archive grows over the limit.
#[derive(Debug, thiserror::Error)]
#[error("too much")]
struct TooMuch;

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(buffer.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        if self.bytes > self.limit { Err(io::Error::other(TooMuch)) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn unwritten(error: &io::Error) -> CliError {
    let what = format!("the code cannot be packed into {}: {error}", std::env::temp_dir().display());
    CliError::new(Kind::Config, what).hint("make room there, or set TMPDIR")
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(packed: &Packed) -> Vec<String> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed.file));
        let entries =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        entries.collect()
    }

    #[test]
    fn what_is_ignored_is_left_out_and_what_is_hidden_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in [
            "main.tf",
            ".hidden/file",
            "node_modules/a/b.js",
            "web/node_modules/c.js",
            "web/app.js",
            "build/out",
            "notes.md",
            ".git/config",
            "vendored/.git/config",
            "vendored/file",
            "logs/keep.log",
            "logs/other.log",
        ] {
            write(root, name, name);
        }
        write(root, ".gitignore", "node_modules/\n*.log\n");
        write(root, "web/.gitignore", "!keep\n");
        write(root, ".runvoyignore", "/build\nnotes.md\n!keep.log\n");
        let wanted = [
            ".gitignore",
            ".hidden",
            ".hidden/file",
            ".runvoyignore",
            "logs",
            "logs/keep.log",
            "main.tf",
            "vendored",
            "vendored/file",
            "web",
            "web/.gitignore",
            "web/app.js",
        ];
        assert_eq!(names(&pack(root).unwrap()), wanted);
    }

    #[test]
    fn in_a_repository_the_rules_above_a_directory_count_and_elsewhere_they_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        write(&root, "../.gitignore", "*\n");
        write(&root, ".gitignore", "*.tmp\n");
        write(&root, "code/a.txt", "a");
        write(&root, "code/b.tmp", "b");
        assert_eq!(names(&pack(&root.join("code")).unwrap()), ["a.txt", "b.tmp"]);
        fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(names(&pack(&root.join("code")).unwrap()), ["a.txt"]);
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let [one, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        for (dir, order) in [(&one, ["b", "a/c"]), (&other, ["a/c", "b"])] {
            for name in order {
                write(dir.path(), name, name);
            }
            symlink("b", dir.path().join("link")).unwrap();
        }
        File::open(one.path().join("b")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let digest = |dir: &tempfile::TempDir| pack(dir.path()).unwrap().digest;
        assert_eq!(digest(&one), digest(&other));
        let before = digest(&one);
        fs::set_permissions(one.path().join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest(&one), before, "what may be executed is a part of it");
        write(one.path(), "b", "c");
        assert_ne!(digest(&one), digest(&other));
        let packed = pack(other.path()).unwrap();
        assert_eq!(
            (packed.files, names(&packed)),
            (2, ["a", "a/c", "b", "link"].map(str::to_owned).to_vec())
        );
        assert_eq!(packed.file.metadata().unwrap().len(), packed.size);
    }

    #[test]
    fn links_stay_if_they_lead_to_what_is_packed_and_are_refused_in_words_otherwise() {
        for (link, target, fits) in [
            ("in", "a/file", true),
            ("a/up", "../b", true),
            ("dangling", "nowhere", true),
            ("out", "../secret", false),
            ("a/far", "../../x", false),
            ("abs", "/etc/passwd", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "a/file", "x");
            symlink(target, dir.path().join(link)).unwrap();
            match pack(dir.path()) {
                Ok(packed) => assert!(fits && names(&packed).contains(&link.to_owned()), "{link}"),
                Err(error) => {
                    let said = error.to_string();
                    assert!(!fits && said.contains(link) && said.contains(".runvoyignore"), "{said}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_file_is_left_out_and_told() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "file", "x");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let packed = pack(dir.path()).unwrap();
        assert_eq!((names(&packed), packed.left_out), (vec!["file".to_owned()], vec!["socket".to_owned()]));
    }

    #[test]
    fn too_much_is_told_with_where_most_of_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut noise = vec![0; 300_000];
        getrandom::fill(&mut noise).unwrap();
        let files =
            [("web/assets/big.bin", 300_000), ("src/small.rs", 1000), ("dump", 2000), ("web/index", 10)];
        for (name, size) in files {
            write(dir.path(), name, "");
            fs::write(dir.path().join(name), &noise[..size]).unwrap();
        }
        assert!(pack_within(dir.path(), 400_000).is_ok());
        let error = pack_within(dir.path(), 100_000).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("100.0 kB")
                && said.contains(
                    "in `web/assets` (300.0 kB), `dump` (2.0 kB), `src` (1.0 kB), `web` (10 bytes): "
                ),
            "{said}"
        );
    }

    #[test]
    fn long_names_and_links_are_packed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}/{}/{}", "a".repeat(120), "b".repeat(120), "c".repeat(120));
        write(dir.path(), &long, "x");
        symlink(&long, dir.path().join("link")).unwrap();
        let packed = pack(dir.path()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed.file));
        let links: Vec<_> = archive
            .entries()
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().link_name().unwrap().map(|target| target.display().to_string())
            })
            .collect();
        assert_eq!(links, [long]);
    }
}

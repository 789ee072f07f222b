//! The agent's executable: named by the user, beside ours, or the copy inside ours.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Take, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::env_vars;
use crate::error::{CliError, Kind};

/// Built by `build.rs`; empty where it could not be.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runvoy-agent"));
/// BLAKE3 of it, in hex.
const EMBEDDED_HASH: &str = env!("RUNVOY_AGENT_HASH");

/// Where the agent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// A file that is there.
    File(PathBuf),
    /// The copy inside this executable.
    Embedded,
}

impl Agent {
    /// Looks for it: `RUNVOY_AGENT`, then beside this executable, then inside it.
    pub(crate) fn find() -> Result<Self, CliError> {
        let named = std::env::var_os(env_vars::AGENT);
        let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("runvoy-agent"));
        choose(named.as_deref(), beside.as_deref(), EMBEDDED)
    }

    /// Its path; the embedded copy is written into `dir` first, if it is not there yet.
    pub(crate) fn path(&self, dir: &Path) -> Result<PathBuf, CliError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Embedded => unpack(EMBEDDED, EMBEDDED_HASH, dir).map_err(|e| {
                let what = format!("the agent cannot be written to `{}`: {e}", dir.display());
                CliError::new(Kind::Config, what).hint("name another directory, or an agent in RUNVOY_AGENT")
            }),
        }
    }
}

fn choose(named: Option<&OsStr>, beside: Option<&Path>, embedded: &[u8]) -> Result<Agent, CliError> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let path = std::path::absolute(named).ok().filter(|path| is_executable(path)).ok_or_else(|| {
            let what = format!("RUNVOY_AGENT names `{}`, which cannot be run", Path::new(named).display());
            CliError::new(Kind::Config, what).hint("unset it to use the embedded agent")
        })?;
        return Ok(Agent::File(path));
    }
    if let Some(path) = beside.filter(|path| is_executable(path)) {
        return Ok(Agent::File(path.to_owned()));
    }
    if embedded.is_empty() {
        return Err(CliError::new(Kind::Config, "this build of runvoy has no agent inside")
            .hint("put `runvoy-agent` beside it, or name one in RUNVOY_AGENT"));
    }
    Ok(Agent::Embedded)
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Writes an executable that is named by its content, whole or not at all; keeps one that is as it should be.
fn unpack(bytes: &[u8], hash: &str, dir: &Path) -> io::Result<PathBuf> {
    let path = dir.join(format!("runvoy-agent-{hash:.32}"));
    if is_executable(&path) && hash_of(&path)? == hash {
        return Ok(path);
    }
    fs::create_dir_all(dir)?;
    let partial = dir.join(format!(".runvoy-agent-{}", std::process::id()));
    let _ = fs::remove_file(&partial);
    let written = write_out(bytes, hash, &partial);
    let written = written.and_then(|()| fs::rename(&partial, &path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| path)
}

/// Not synced: the next start finds by the hash what a crash of the machine cut short.
fn write_out(bytes: &[u8], hash: &str, to: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o755).open(to)?;
    // From file to file, so that the copy inside us is not mapped and does not count as the server's memory.
    let copied = in_our_file(bytes).and_then(|mut ours| io::copy(&mut ours, &mut file));
    if copied.is_ok() && hash_of(to)? == hash {
        return Ok(());
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)
}

/// Where this executable's file holds `bytes`, as `proc_pid_maps(5)` tells; nothing vouches for what is read there.
fn in_our_file(bytes: &[u8]) -> io::Result<Take<File>> {
    let address = bytes.as_ptr().addr();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let offset = maps.lines().find_map(|mapping| file_offset(mapping, address));
    let mut file = File::open("/proc/self/exe")?;
    file.seek(SeekFrom::Start(offset.ok_or(io::ErrorKind::NotFound)?))?;
    Ok(file.take(u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

/// A mapping is `start-end permissions offset ...`, in hex.
fn file_offset(mapping: &str, address: usize) -> Option<u64> {
    let address = u64::try_from(address).ok()?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let mut fields = mapping.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end, offset) = (number(start)?, number(end)?, number(fields.nth(1)?)?);
    (start..end).contains(&address).then(|| offset + (address - start))
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut hash = blake3::Hasher::new();
    hash.update_reader(File::open(path)?)?;
    Ok(hash.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_nearest_agent_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (named, beside) = (executable(dir.path(), "named"), executable(dir.path(), "beside"));
        let nowhere = dir.path().join("nowhere");
        let choose = |named: Option<&Path>, beside: &Path, embedded| {
            choose(named.map(Path::as_os_str), Some(beside), embedded)
        };
        assert_eq!(choose(Some(&named), &beside, b"e").unwrap(), Agent::File(named.clone()));
        assert_eq!(choose(None, &beside, b"e").unwrap(), Agent::File(beside.clone()));
        assert_eq!(choose(None, &nowhere, b"e").unwrap(), Agent::Embedded);
        assert!(choose(Some(&nowhere), &beside, b"e").is_err());
        assert!(choose(None, &nowhere, b"").is_err());
    }

    #[test]
    fn the_copy_is_whole_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("deep");
        let unpack = |bytes: &[u8]| unpack(bytes, blake3::hash(bytes).to_hex().as_str(), &dir);
        let path = unpack(b"agent").unwrap();
        assert!(is_executable(&path));
        fs::write(&path, "tampered").unwrap();
        assert_eq!(unpack(b"agent").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"agent");
        assert_ne!(unpack(b"newer").unwrap(), path);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    }

    #[test]
    fn the_copy_inside_is_found_in_our_own_file() {
        let mut found = Vec::new();
        in_our_file(EMBEDDED).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == EMBEDDED, "what is mapped is what stands in the file");
        assert_eq!(file_offset("7f00-8000 r--p 00000200 08:01 7 /bin/x", 0x7f10), Some(0x210));
        assert_eq!(file_offset("7f00-8000 r--p 00000200 08:01 7 /bin/x", 0x8000), None);
        assert_eq!(file_offset("no mapping", 0), None);
    }

    #[test]
    fn what_stands_elsewhere_is_written_too() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = dir.path().display().to_string().into_bytes();
        let path = unpack(&bytes, blake3::hash(&bytes).to_hex().as_str(), dir.path()).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
    }

    #[test]
    fn the_embedded_agent_is_there_and_static() {
        assert_eq!(blake3::hash(EMBEDDED).to_hex().as_str(), EMBEDDED_HASH);
        assert!(EMBEDDED.starts_with(b"\x7fELF"), "built by build.rs");
        // A dynamic executable names its loader.
        assert!(!EMBEDDED.windows(8).take(4096).any(|window| window == b"ld-linux"));
    }
}

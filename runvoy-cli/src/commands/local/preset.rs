//! Keys, out of the environment.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use runvoy_core::key::ApiKey;
use runvoy_local::sqlite::MasterKey;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroize::Zeroizing;

use crate::env_vars::{ADMIN_API_KEY, API_KEY, MASTER_KEY, NEW_MASTER_KEY, PRESET_ON_STDIN};
use crate::error::{CliError, Kind};

/// More than all keys have.
const MOST: usize = 4096;
/// What is preset, in the order of its lines on standard input.
const PRESETS: [&str; 3] = [ADMIN_API_KEY, MASTER_KEY, NEW_MASTER_KEY];

/// Keys that the environment held and commands must not see.
#[derive(Default)]
pub(super) struct Preset {
    /// The first admin's key.
    pub(super) admin: Option<ApiKey>,
    /// The data directory's master key.
    pub(super) master: Option<MasterKey>,
    /// The one that takes its place.
    pub(super) new_master: Option<MasterKey>,
}

/// Who is to be started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A server for others.
    Serve,
    /// A run of one's own, which may have a use for one's own API key.
    Run,
    /// A rotation: it starts nothing, but commands that were started before may go on beside it.
    Rotation,
}

impl Start {
    fn hides(self) -> &'static [&'static str] {
        match self {
            Self::Serve => &[ADMIN_API_KEY, API_KEY, MASTER_KEY],
            Self::Run => &[MASTER_KEY],
            Self::Rotation => &[MASTER_KEY, NEW_MASTER_KEY],
        }
    }
}

/// Keeps this process's memory, which holds keys and secrets, from core files and from other processes of its user, its
/// commands above all. Root's stays readable to root.
///
/// The limit of core files would be the commands' own, too, so it is left as it is.
pub(super) fn keep_memory() -> Result<(), CliError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| CliError::new(Kind::NotRun, format!("cannot keep memory from core files: {error}")))
}

/// The keys that were preset.
///
/// A process shows the environment that it was started with for as long as it lives, to every command of the same user.
/// So where that holds a key the program starts again without it, under the same process id, and reads it from its
/// standard input.
pub(super) fn take(start: Start) -> Result<Preset, CliError> {
    if start.hides().iter().any(|name| std::env::var_os(name).is_some()) {
        let keys = PRESETS
            .map(|name| if start.hides().contains(&name) { text(name) } else { Ok(Zeroizing::default()) });
        let [admin, master, new] = keys;
        let keys = [admin?, master?, new?];
        // Before anything else: what cannot be a key is told at once.
        parse(keys.each_ref().map(|key| key.as_str()))?;
        let text = Zeroizing::new(keys.each_ref().map(|key| key.trim()).join("\n"));
        return Err(start_again(start, &text));
    }
    let marker = std::env::var(PRESET_ON_STDIN).unwrap_or_default();
    match marker.split_once(' ') {
        // A process that only inherited the variable has another id.
        Some((pid, stdin)) if pid == std::process::id().to_string() => {
            let mut text = Zeroizing::new(String::with_capacity(MOST));
            std::io::stdin()
                .lock()
                .take(MOST as u64)
                .read_to_string(&mut text)
                .map_err(|e| unusable(ADMIN_API_KEY, &e))?;
            look_as_before(stdin);
            let mut lines = text.split('\n');
            parse(PRESETS.map(|_| lines.next().unwrap_or_default()))
        }
        _ => Ok(Preset::default()),
    }
}

fn text(name: &str) -> Result<Zeroizing<String>, CliError> {
    let value = std::env::var_os(name).unwrap_or_default();
    value.into_string().map(Zeroizing::new).map_err(|_| unusable(name, &"it is not text"))
}

/// Takes back what starting again has changed: the name in `ps`, and a terminal as standard input. Neither is needed.
fn look_as_before(stdin: &str) {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map(OsStr::as_encoded_bytes);
    // Not by /proc, where what is ours is root's now.
    let name = CString::new(name.unwrap_or(b"runvoy"));
    let _ = name.map(|name| rustix::thread::set_name(&name));
    if let Some(terminal) = Some(stdin).filter(|path| !path.is_empty()).and_then(|path| File::open(path).ok())
    {
        let _ = rustix::stdio::dup2_stdin(&terminal);
    }
}

/// The terminal that standard input is, if it is one; its path has no blank in front.
fn terminal() -> String {
    let path = std::io::stdin().is_terminal().then(|| std::fs::read_link("/proc/self/fd/0").ok());
    path.flatten().and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_default()
}

/// No key holds a line break: what follows one is nothing but white space.
fn parse([admin, master, new]: [&str; 3]) -> Result<Preset, CliError> {
    let admin = Some(admin).filter(|key| !key.is_empty()).map(ApiKey::parse).transpose();
    let admin = admin.map_err(|e| unusable(ADMIN_API_KEY, &e))?;
    let (master, new_master) = (master_key(MASTER_KEY, master)?, master_key(NEW_MASTER_KEY, new)?);
    Ok(Preset { admin, master, new_master })
}

/// A master key as a variable holds it; none in an empty one.
fn master_key(name: &str, text: &str) -> Result<Option<MasterKey>, CliError> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = MasterKey::from_hex(text).ok_or_else(|| {
        unusable(name, &"it is not 64 hex digits").hint("`openssl rand -hex 32` makes a new key")
    });
    key.map(Some)
}

/// Answers only if that fails.
fn start_again(start: Start, keys: &str) -> CliError {
    let run = || {
        let (reader, mut writer) = std::io::pipe()?;
        // A pipe holds far more than a key.
        writer.write_all(keys.as_bytes())?;
        drop(writer);
        let marker = format!("{} {}", std::process::id(), terminal());
        let mut args = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args).env(PRESET_ON_STDIN, &marker);
        start.hides().iter().for_each(|name| {
            command.env_remove(name);
        });
        Err::<(), _>(command.stdin(reader).exec())
    };
    let error = run().err().unwrap_or_else(|| std::io::Error::other("nothing was started"));
    CliError::new(Kind::NotRun, format!("cannot start again without the key in the environment: {error}"))
}

fn unusable(name: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Kind::Config, format!("{name}: {error}"))
}

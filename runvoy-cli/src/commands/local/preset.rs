//! The first admin's key, out of the environment.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use runvoy_core::key::ApiKey;

use crate::env_vars::{ADMIN_API_KEY, API_KEY, PRESET_ON_STDIN};
use crate::error::{CliError, Kind};

/// More than any key has.
const MOST: u64 = 4096;

/// The preset key, if there is one.
///
/// A process shows the environment that it was started with for as long as it lives, to every command of the same user.
/// So where that holds a key the program starts again without it, under the same process id, and reads it from its
/// standard input.
pub(super) fn take() -> Result<Option<ApiKey>, CliError> {
    let [preset, own] = [ADMIN_API_KEY, API_KEY].map(std::env::var_os);
    if preset.is_some() || own.is_some() {
        let preset = preset.unwrap_or_default();
        let text = preset.to_str().ok_or_else(|| unusable(&"it is not text"))?;
        // Before anything else: what cannot be a key is told at once.
        parse(text)?;
        return Err(start_again(text));
    }
    let marker = std::env::var(PRESET_ON_STDIN).unwrap_or_default();
    match marker.split_once(' ') {
        // A process that only inherited the variable has another id.
        Some((pid, stdin)) if pid == std::process::id().to_string() => {
            let mut text = String::new();
            std::io::stdin().lock().take(MOST).read_to_string(&mut text).map_err(|e| unusable(&e))?;
            look_as_before(stdin);
            parse(&text)
        }
        _ => Ok(None),
    }
}

/// Takes back what starting again has changed: the name in `ps`, and a terminal as standard input. Neither is needed.
fn look_as_before(stdin: &str) {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map(OsStr::as_encoded_bytes);
    let _ = std::fs::write("/proc/self/comm", name.unwrap_or(b"runvoy"));
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

fn parse(text: &str) -> Result<Option<ApiKey>, CliError> {
    if text.is_empty() { Ok(None) } else { ApiKey::parse(text).map(Some).map_err(|e| unusable(&e)) }
}

/// Answers only if that fails.
fn start_again(key: &str) -> CliError {
    let run = || {
        let (reader, mut writer) = std::io::pipe()?;
        // A pipe holds far more than a key.
        writer.write_all(key.as_bytes())?;
        drop(writer);
        let marker = format!("{} {}", std::process::id(), terminal());
        let mut args = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args).env_remove(ADMIN_API_KEY).env_remove(API_KEY).env(PRESET_ON_STDIN, &marker);
        Err::<(), _>(command.stdin(reader).exec())
    };
    let error = run().err().unwrap_or_else(|| std::io::Error::other("nothing was started"));
    CliError::new(Kind::NotRun, format!("cannot start again without the key in the environment: {error}"))
}

fn unusable(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Kind::Config, format!("{ADMIN_API_KEY}: {error}"))
}

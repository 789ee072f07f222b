//! The first admin's key, out of the environment.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
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
    if std::env::var_os(PRESET_ON_STDIN).is_some() {
        let mut text = String::new();
        std::io::stdin().lock().take(MOST).read_to_string(&mut text).map_err(|e| unusable(&e))?;
        return parse(&text);
    }
    let [preset, own] = [ADMIN_API_KEY, API_KEY].map(std::env::var_os);
    if preset.is_none() && own.is_none() {
        return Ok(None);
    }
    let preset = preset.unwrap_or_default();
    let text = preset.to_str().ok_or_else(|| unusable(&"it is not text"))?;
    // Before anything else: what cannot be a key is told at once.
    parse(text)?;
    Err(start_again(text))
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
        let mut args = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args).env_remove(ADMIN_API_KEY).env_remove(API_KEY).env(PRESET_ON_STDIN, "1");
        Err::<(), _>(command.stdin(reader).exec())
    };
    let error = run().err().unwrap_or_else(|| std::io::Error::other("nothing was started"));
    CliError::new(Kind::NotRun, format!("cannot start again without the key in the environment: {error}"))
}

fn unusable(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Kind::Config, format!("{ADMIN_API_KEY}: {error}"))
}

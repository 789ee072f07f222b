//! `runvoy configure`: write the configuration file.

use std::io::{self, IsTerminal as _, Read as _};

use console::Term;

use super::Context;
use crate::args::ConfigureArgs;
use crate::config::Config;
use crate::error::{CliError, Kind};
use crate::exit;
use crate::settings::{self, Endpoint};

/// The command.
pub(crate) fn configure(context: &Context, args: &ConfigureArgs) -> Result<u8, CliError> {
    let path = settings::config_path()?;
    let mut config = Config::read(&path)?.unwrap_or_default();
    let name = context.global.profile.as_deref();
    let profile = config.profile_mut(name);
    let asks = args.endpoint.is_none() && args.api_key.is_none() && args.web_url.is_none();
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::new(Kind::Usage, "there is no terminal to ask on")
            .hint("pass `--endpoint URL --api-key KEY`"));
    }
    let endpoint = if asks { ask_endpoint(profile.api_endpoint.as_deref())? } else { args.endpoint.clone() };
    let key = if asks { ask_key()? } else { args.api_key.as_deref().map(key).transpose()? };
    if let Some(endpoint) = endpoint {
        let endpoint = Endpoint::parse(&endpoint)?;
        if !endpoint.is_private() {
            context
                .printer
                .warn(&format!("{endpoint} sends the API key unencrypted; it needs --insecure-http"));
        }
        let endpoint = endpoint.to_string();
        let moved = profile.api_endpoint.as_ref().is_some_and(|old| old.trim_end_matches('/') != endpoint);
        // The old server's key is none of the new one's business.
        if moved && key.is_none() && profile.api_key.take().is_some() {
            context.printer.warn("the stored API key was for another server and is removed");
        }
        profile.api_endpoint = Some(endpoint);
    }
    if let Some(key) = key {
        settings::key_header(&key)?;
        profile.api_key = Some(key);
    }
    if let Some(url) = &args.web_url {
        profile.web_url = Some(Endpoint::parse(url)?.to_string());
    }
    if profile.api_endpoint.is_none() {
        return Err(CliError::new(Kind::Usage, "no server is named").hint("pass `--endpoint URL`"));
    }
    config.write(&path)?;
    context.printer.note(&format!("wrote {}; `runvoy whoami` checks it", path.display()));
    Ok(exit::OK)
}

fn key(given: &str) -> Result<String, CliError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let read = io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|e| CliError::new(Kind::Usage, format!("the key cannot be read: {e}")))?;
    Ok(text.trim().to_owned())
}

fn ask_endpoint(old: Option<&str>) -> Result<Option<String>, CliError> {
    let shown = old.map(|old| format!(" [{old}]")).unwrap_or_default();
    let terminal = Term::stderr();
    let answer = terminal.write_str(&format!("Server address{shown}: ")).and_then(|()| terminal.read_line());
    let answer = answer.map_err(|e| no_answer(&e))?;
    Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

fn ask_key() -> Result<Option<String>, CliError> {
    let terminal = Term::stderr();
    let answer = terminal.write_str("API key (not shown): ").and_then(|()| terminal.read_secure_line());
    let answer = answer.map_err(|e| no_answer(&e))?;
    Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

fn no_answer(error: &io::Error) -> CliError {
    CliError::new(Kind::Usage, format!("there was no answer: {error}")).hint("nothing was written")
}

//! `runvoy configure`: write the configuration file.

use std::io::{self, IsTerminal as _, Read as _};

use console::Term;

use super::Context;
use super::stored_key::must_be_worthless;
use crate::args::ConfigureArgs;
use crate::config::{Config, Profile};
use crate::error::{CliError, Kind};
use crate::exit;
use crate::settings::{self, Endpoint, Settings};

/// The command.
pub(crate) async fn configure(context: &Context, args: &ConfigureArgs) -> Result<u8, CliError> {
    let path = settings::config_path()?;
    let mut config = Config::read(&path)?.unwrap_or_default();
    let profile = config.profile_mut(context.global.profile.as_deref());
    let wanted = wanted(args, profile)?;
    if wanted.endpoint.is_none() && profile.api_endpoint.is_none() {
        return Err(CliError::new(Kind::Usage, "no server is named").hint("pass `--endpoint URL`"));
    }
    if let Some(endpoint) = wanted.endpoint.as_ref().filter(|endpoint| !endpoint.is_private()) {
        if !context.global.insecure_http {
            let what = format!("`{endpoint}` would get the API key unencrypted");
            return Err(CliError::new(Kind::Config, what).hint("use `https`, or pass --insecure-http"));
        }
        context.printer.warn(&format!("{endpoint} sends the API key unencrypted; it needs --insecure-http"));
    }
    if !args.force {
        nothing_is_lost(profile, &wanted).await?;
    }
    apply(profile, wanted);
    let next = match &profile.api_key {
        Some(_) => "`runvoy whoami` checks it",
        None => "`runvoy claim TOKEN` fetches your key, with the claim token that an admin gives you",
    };
    config.write(&path)?;
    context.printer.note(&format!("wrote {}; {next}", path.display()));
    Ok(exit::OK)
}

/// What is to be written.
struct Wanted {
    endpoint: Option<Endpoint>,
    key: Option<String>,
    web_url: Option<Endpoint>,
}

/// From the options, or from who sits at the terminal.
fn wanted(args: &ConfigureArgs, profile: &Profile) -> Result<Wanted, CliError> {
    let asks = args.endpoint.is_none() && args.api_key.is_none() && args.web_url.is_none();
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::new(Kind::Usage, "there is no terminal to ask on")
            .hint("pass `--endpoint URL --api-key KEY`"));
    }
    let endpoint = if asks { ask_endpoint(profile.api_endpoint.as_deref())? } else { args.endpoint.clone() };
    let key = if asks { ask_key()? } else { args.api_key.as_deref().map(key).transpose()? };
    if let Some(key) = &key {
        settings::key_header(key)?;
    }
    let parse = |text: Option<&str>| text.map(Endpoint::parse).transpose();
    Ok(Wanted { endpoint: parse(endpoint.as_deref())?, key, web_url: parse(args.web_url.as_deref())? })
}

/// Whether the profile's server becomes another one.
fn moves(profile: &Profile, wanted: &Wanted) -> bool {
    let old = profile.api_endpoint.as_deref().map(|old| old.trim_end_matches('/'));
    wanted.endpoint.as_ref().is_some_and(|new| old.is_some_and(|old| old != new.as_str()))
}

/// Refuses to replace or remove a key that may work.
async fn nothing_is_lost(profile: &Profile, wanted: &Wanted) -> Result<(), CliError> {
    let old = profile.api_key.as_deref().filter(|key| !key.is_empty());
    let stays = wanted.key.as_deref().is_none_or(|key| Some(key) == old);
    if stays && !moves(profile, wanted) {
        return Ok(());
    }
    let text = wanted.endpoint.as_ref().map(Endpoint::as_str).or(profile.api_endpoint.as_deref());
    let endpoint = Endpoint::parse(text.unwrap_or_default())?;
    let server = Settings { endpoint, key: None, is_of_environment: false };
    must_be_worthless(&server, old, profile.api_endpoint.as_deref()).await
}

fn apply(profile: &mut Profile, wanted: Wanted) {
    if moves(profile, &wanted) {
        // The old server's key is none of the new one's business.
        profile.api_key = None;
    }
    profile.api_endpoint = wanted.endpoint.map(|url| url.to_string()).or(profile.api_endpoint.take());
    profile.api_key = wanted.key.or(profile.api_key.take());
    profile.web_url = wanted.web_url.map(|url| url.to_string()).or(profile.web_url.take());
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

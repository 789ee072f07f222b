//! `runvoy claim`: fetch a key with a claim token and keep it.

use std::io::{self, Read as _};

use runvoy_core::api::{ClaimAnswer, Me};
use runvoy_core::claim::ClaimToken;

use super::Context;
use crate::args::ClaimArgs;
use crate::client::Client;
use crate::config::Config;
use crate::error::{CliError, Kind};
use crate::exit;
use crate::settings::{self, Settings, Sources};

/// The command. A token works once, so all that can be wrong is looked at before it is used.
pub(crate) async fn claim(context: &Context, args: &ClaimArgs) -> Result<u8, CliError> {
    let token = token(&args.token)?;
    let path = settings::config_path()?;
    let mut config = Config::read(&path)?.unwrap_or_default();
    let sources = Sources::from_process(&context.global);
    let name = sources.profile_option.clone().or_else(|| sources.profile_variable.clone());
    let server = Settings::resolve(&sources, || Ok(Some(config.clone())))?;
    let kept = config.profile(name.as_deref()).cloned().unwrap_or_default();
    if !args.force {
        must_be_worthless(&server, kept.api_key.as_deref(), kept.api_endpoint.as_deref()).await?;
    }
    // Written before and after: a file that cannot be written is told while the token is still good.
    config.write(&path)?;
    let endpoint = server.endpoint.to_string();
    let client = Client::connect(Settings { key: None, ..server });
    let answer = client.get::<ClaimAnswer>(&format!("/claim/{}", token.reveal())).await?.value;
    let profile = config.profile_mut(name.as_deref());
    profile.api_endpoint = Some(endpoint);
    profile.api_key = Some(answer.api_key.clone());
    if let Err(error) = config.write(&path) {
        // The only copy there is.
        context.printer.data_line(&answer.api_key)?;
        return Err(error.hint("the key is on standard output: keep it, nobody can fetch it again"));
    }
    let shown = name.as_deref().unwrap_or("default");
    context.printer.note(&format!(
        "you are {}; the key is in {}, profile `{shown}`",
        answer.user_email,
        path.display()
    ));
    Ok(exit::OK)
}

fn token(given: &str) -> Result<ClaimToken, CliError> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let read = io::stdin().take(4096).read_to_string(&mut text);
        read.map_err(|e| CliError::new(Kind::Usage, format!("the token cannot be read: {e}")))?;
    }
    ClaimToken::parse(text.trim()).map_err(|e| {
        CliError::new(Kind::Usage, format!("this is no claim token: {e}")).hint("ask an admin for one")
    })
}

/// Whose key still works is somebody's, and it would be lost.
async fn must_be_worthless(
    server: &Settings,
    key: Option<&str>,
    endpoint: Option<&str>,
) -> Result<(), CliError> {
    let Some(key) = key else { return Ok(()) };
    if endpoint.map(|endpoint| endpoint.trim_end_matches('/')) != Some(server.endpoint.as_str()) {
        return Err(CliError::new(Kind::Usage, "the profile holds the key of another server")
            .hint("pass `--profile NAME` to keep both, or `--force` to replace it"));
    }
    let client = Client::connect(Settings { key: Some(settings::key_header(key)?), ..server.clone() });
    match client.get::<Me>("/me").await {
        Ok(me) => {
            let what = format!("the profile holds a key of {} that works", me.value.email);
            Err(CliError::new(Kind::Usage, what)
                .hint("pass `--profile NAME` to keep both, or `--force` to replace it"))
        }
        Err(error) if error.kind == Kind::Denied => Ok(()),
        Err(error) => Err(error),
    }
}

//! `runvoy claim`: fetch a key with a claim token and keep it.

use std::io::{self, Read as _};

use runvoy_core::api::ClaimAnswer;
use runvoy_core::claim::ClaimToken;

use super::Context;
use super::stored_key::must_be_worthless;
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
    let file = Config::read(&path)?;
    let sources = Sources::from_process(&context.global);
    let name = sources.profile_option.clone().or_else(|| sources.profile_variable.clone());
    let server = server(&sources, file.as_ref(), name.as_deref())?;
    let mut config = file.unwrap_or_default();
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

/// Where to fetch the key: who has none yet is not told to write one down.
fn server(sources: &Sources, file: Option<&Config>, name: Option<&str>) -> Result<Settings, CliError> {
    let endpoint = file.and_then(|config| config.profile(name)).and_then(|p| p.api_endpoint.as_deref());
    let is_named =
        sources.endpoint_variable.is_some() || endpoint.is_some_and(|endpoint| !endpoint.is_empty());
    let profile = name.map(|name| format!(" --profile {name}")).unwrap_or_default();
    Settings::resolve(sources, || Ok(file.cloned())).map_err(|error| {
        if is_named {
            error
        } else {
            error.hint(format!("run `runvoy configure{profile} --endpoint URL` first"))
        }
    })
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

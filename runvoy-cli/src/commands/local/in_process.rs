use http::HeaderValue;
use runvoy_core::api::{ImageData, ImageDone, RegisterImageRequest};
use runvoy_core::id::Email;
use runvoy_core::key::ApiKey;
use runvoy_local::{DataDir, DataDirError, Guest, Local, Sandbox};

use super::not_started;
use super::place::Place;
use super::serve;
use crate::args::LocalRunArgs;
use crate::client::Client;
use crate::commands::run::{OnInterrupt, RunSettings, execute};
use crate::commands::{Context, images};
use crate::config::Config;
use crate::env_vars;
use crate::error::{CliError, Kind};
use crate::settings::{self, Settings, Sources};

/// The whole of `runvoy run`, over the server that holds the data directory, or one in this process.
pub(super) async fn run(context: &Context, args: &LocalRunArgs) -> Result<u8, CliError> {
    let place = Place::new(&args.place)?;
    let mut settings = RunSettings::new(&args.options, &args.command, &std::env::vars_os().collect())?;
    settings.on_interrupt = OnInterrupt::Kill;
    match DataDir::open(&place.data_dir) {
        Ok(dir) => {
            let (local, key) = start(&place, dir).await?;
            let client = Client::in_process(local.router(), key);
            prepare_image(&local, &client, &place, &settings).await?;
            let code = execute(&client, &settings, context.printer).await;
            local.stop().await;
            code
        }
        Err(DataDirError::Held { note, .. }) => {
            let endpoint = note.as_ref().and_then(|note| note.endpoint.clone());
            let client = client_of_holder(endpoint.ok_or_else(|| held_without_server(&place))?)?;
            execute(&client, &settings, context.printer).await
        }
        Err(error) => Err(not_started(error)),
    }
}

/// A server of this process alone. Its key is made for it and kept nowhere.
async fn start(place: &Place, dir: DataDir) -> Result<(Local, HeaderValue), CliError> {
    let key = ApiKey::generate();
    let header = settings::key_header(key.reveal())?;
    let config = place.config(&dir, Some(Guest { email: caller(), key }))?;
    Ok((Local::start(dir, config).await.map_err(not_started)?, header))
}

/// Nobody but the caller runs anything here: an image that they name needs no registration beforehand.
async fn prepare_image(
    local: &Local,
    client: &Client,
    place: &Place,
    settings: &RunSettings,
) -> Result<(), CliError> {
    serve::offer_image(local, place, &caller()).await?;
    let image = settings.request.image.as_ref().filter(|image| !image.is_empty());
    let Some(image) = image.filter(|_| *local.sandbox() == Sandbox::Containers) else { return Ok(()) };
    match client.get::<ImageData>(&images::path(image)).await {
        Err(error) if error.kind == Kind::NotFound => {
            let request = RegisterImageRequest {
                image: image.clone(),
                is_default: Some(false),
                cpu: Some(0),
                memory: Some(0),
                ..RegisterImageRequest::default()
            };
            client.post::<ImageDone>("/images/register", &request).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// Who the records name: the user of this machine, if that makes an address.
fn caller() -> Email {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let address = format!("{name}@localhost").parse();
    #[expect(clippy::expect_used, reason = "a constant")]
    address.unwrap_or_else(|_| "admin@localhost".parse().expect("an email address"))
}

/// The key for it is the caller's own, or the one that the server's first start wrote.
fn client_of_holder(endpoint: String) -> Result<Client, CliError> {
    let profile =
        Config::read(&settings::config_path()?)?.and_then(|config| config.profile(Some("local")).cloned());
    let stored = profile
        .filter(|profile| profile.api_endpoint.as_deref() == Some(endpoint.as_str()))
        .and_then(|p| p.api_key);
    let key = std::env::var(env_vars::API_KEY).ok().filter(|key| !key.is_empty()).or(stored);
    if key.is_none() {
        let what = format!("the data directory is served by {endpoint}, for which there is no key");
        return Err(CliError::new(Kind::Config, what).hint("set RUNVOY_API_KEY, or pass another --data-dir"));
    }
    let sources = Sources { endpoint_variable: Some(endpoint), key_variable: key, ..Sources::default() };
    Ok(Client::connect(Settings::resolve(&sources, || Ok(None))?))
}

fn held_without_server(place: &Place) -> CliError {
    let what = format!("another `runvoy local run` uses {}", place.data_dir.display());
    CliError::new(Kind::TryLater, what)
        .hint("wait for it, pass another --data-dir, or start `runvoy local serve` to run several at once")
}

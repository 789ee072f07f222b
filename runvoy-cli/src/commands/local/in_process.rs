use http::HeaderValue;
use runvoy_core::api::{ImageData, ImageDone, Me, RegisterImageRequest};
use runvoy_core::id::Email;
use runvoy_core::key::ApiKey;
use runvoy_local::{DataDir, DataDirError, Guest, Local};

use super::not_started;
use super::place::{Place, unusable};
use super::preset::Preset;
use crate::args::LocalRunArgs;
use crate::client::Client;
use crate::commands::run::{OnInterrupt, RunSettings, execute};
use crate::commands::{Context, images};
use crate::config::Config;
use crate::env_vars;
use crate::error::{CliError, Kind};
use crate::settings::{self, Settings, Sources};
use crate::upload;

/// The whole of `runvoy run`, over the server that holds the data directory, or one in this process.
pub(super) async fn run(context: &Context, args: &LocalRunArgs, preset: Preset) -> Result<u8, CliError> {
    let place = Place::new(&args.place)?;
    let mut settings = RunSettings::new(&args.options, &args.command, &std::env::vars_os().collect())?;
    settings.on_interrupt = OnInterrupt::Kill;
    match DataDir::open(&place.data_dir) {
        Ok(dir) => {
            let (local, key) = start(&place, dir, preset).await?;
            let client = Client::in_process(local.router(), key);
            let code = match ready(&local, &client, &place, &mut settings, context).await {
                Ok(()) => execute(&client, &settings, context.printer).await,
                Err(error) => Err(error),
            };
            local.stop().await;
            code
        }
        Err(DataDirError::Held { note, .. }) => {
            let endpoint = note.as_ref().and_then(|note| note.endpoint.clone());
            let endpoint = endpoint.ok_or_else(|| held_without_server(&place))?;
            nothing_is_ignored(args, &endpoint)?;
            let client = client_of_holder(endpoint).await?;
            bring(&client, &mut settings, context).await?;
            execute(&client, &settings, context.printer).await
        }
        Err(error) => Err(unusable(error)),
    }
}

/// Has the image registered and the code uploaded.
async fn ready(
    local: &Local,
    client: &Client,
    place: &Place,
    settings: &mut RunSettings,
    context: &Context,
) -> Result<(), CliError> {
    prepare_image(local, client, place, settings).await?;
    bring(client, settings, context).await
}

async fn bring(client: &Client, settings: &mut RunSettings, context: &Context) -> Result<(), CliError> {
    upload::bring(client, settings.upload.as_ref(), &mut settings.request, context.printer).await
}

/// A server of this process alone. Its key is made for it and kept nowhere.
async fn start(place: &Place, dir: DataDir, preset: Preset) -> Result<(Local, HeaderValue), CliError> {
    let key = ApiKey::generate();
    let header = settings::key_header(key.reveal())?;
    let mut config = place.config(&dir, Some(Guest { email: caller(), key }))?;
    config.master_key = preset.master;
    Ok((Local::start(dir, config).await.map_err(not_started)?, header))
}

/// Nobody but the caller runs anything here: an image that they name needs no registration beforehand.
async fn prepare_image(
    local: &Local,
    client: &Client,
    place: &Place,
    settings: &RunSettings,
) -> Result<(), CliError> {
    local.offer_image(&place.default_image, &caller()).await.map_err(not_started)?;
    let image = settings.request.image.as_ref().filter(|image| !image.is_empty());
    let Some(image) = image.filter(|_| local.sandbox().is_containers()) else { return Ok(()) };
    match client.get::<ImageData>(&images::path(image)).await {
        // Another registry's image of the same name and tag is another image.
        Ok(found) if found.value.image == *image || found.value.image_id.as_str() == image => Ok(()),
        Err(error) if error.kind != Kind::NotFound => Err(error),
        Ok(_) | Err(_) => {
            let request = RegisterImageRequest {
                image: image.clone(),
                is_default: Some(false),
                cpu: Some(0),
                memory: Some(0),
                ..RegisterImageRequest::default()
            };
            client.post::<ImageDone>("/images/register", &request).await.map(drop)
        }
    }
}

/// Who the records name: the user of this machine, if that makes an address.
fn caller() -> Email {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let address = format!("{name}@localhost").parse();
    #[expect(clippy::expect_used, reason = "a constant")]
    address.unwrap_or_else(|_| "admin@localhost".parse().expect("an email address"))
}

/// As whom commands run and with what was settled when the server was started.
fn nothing_is_ignored(args: &LocalRunArgs, endpoint: &str) -> Result<(), CliError> {
    let option = match (&args.place.run_as, args.place.pass_env.as_slice()) {
        (Some(_), _) => "--run-as",
        (None, [_, ..]) => "--pass-env",
        (None, []) => return Ok(()),
    };
    let what = format!("`{option}` would have no effect: the server at {endpoint} holds the data directory");
    Err(CliError::new(Kind::Usage, what)
        .hint("start that server with it, or leave it out, or pass another --data-dir"))
}

/// The key for it is the caller's own, or one that a server's first start wrote.
async fn client_of_holder(endpoint: String) -> Result<Client, CliError> {
    let own = std::env::var(env_vars::API_KEY).ok().filter(|key| !key.is_empty());
    let mut keys = if own.is_some() { own.into_iter().collect() } else { stored_keys(&endpoint)? };
    while let Some(key) = keys.pop() {
        let (endpoint, key) = (Some(endpoint.clone()), Some(key));
        let sources = Sources { endpoint_variable: endpoint, key_variable: key, ..Sources::default() };
        let client = Client::connect(Settings::resolve(&sources, || Ok(None))?);
        // Another directory may have been served at the same address.
        let is_refused =
            async || client.get::<Me>("/me").await.is_err_and(|error| error.kind == Kind::Denied);
        if keys.is_empty() || !is_refused().await {
            return Ok(client);
        }
    }
    let what = format!("the data directory is served by {endpoint}, for which there is no key");
    Err(CliError::new(Kind::Config, what).hint("set RUNVOY_API_KEY, or pass another --data-dir"))
}

/// The keys that the configuration holds for an address, the newest profile last.
fn stored_keys(endpoint: &str) -> Result<Vec<String>, CliError> {
    let config = Config::read(&settings::config_path()?)?.unwrap_or_default();
    let all = std::iter::once(config.default).chain(config.profiles.into_values());
    let here = all.filter(|profile| profile.api_endpoint.as_deref() == Some(endpoint));
    let mut keys: Vec<_> = here.filter_map(|profile| profile.api_key).collect();
    keys.dedup();
    Ok(keys)
}

fn held_without_server(place: &Place) -> CliError {
    let what = format!("another `runvoy local run` uses {}", place.data_dir.display());
    CliError::new(Kind::TryLater, what)
        .hint("wait for it, pass another --data-dir, or start `runvoy local serve` to run several at once")
}

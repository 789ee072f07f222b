use runvoy_core::id::Email;
use runvoy_core::key::ApiKey;
use runvoy_core::{Config as ServiceConfig, Rate, Rates};
use runvoy_local::sqlite::MasterKey;
use runvoy_local::{
    Local, Sandbox, ServeLimits, ServerLog, ServerLogLimits, ServerNote, serve as serve_router,
};
use tokio::net::TcpListener;

use super::not_started;
use super::place::{self, Place};
use super::preset::Preset;
use crate::args::{LimitArgs, ServeArgs};
use crate::commands::Context;
use crate::config::Config;
use crate::error::{CliError, Kind};
use crate::signals::{Hangups, Signals};
use crate::{env_vars, exit, settings};

/// The profile that the first start writes.
const PROFILE: &str = "local";

/// Serves until a signal ends it; a second one does not wait for what is under way.
pub(super) async fn serve(context: &Context, args: &ServeArgs, preset: Preset) -> Result<u8, CliError> {
    let admin: Email =
        args.admin_email.parse().map_err(|e| CliError::new(Kind::Usage, format!("--admin-email: {e}")))?;
    let mut signals = if args.policies.is_some() { Signals::catch_ends()? } else { Signals::catch()? };
    let mut hangups = Hangups::catch(args.policies.is_some())?;
    let place = Place::new(&args.place)?;
    let (local, log, listener) = open(args, &place, preset.master).await?;
    let endpoint = format!("http://{}", listener.local_addr().map_err(not_started)?);
    first_admin(context, &local, admin.clone(), preset.admin, &endpoint).await?;
    local.offer_image(&place.default_image, &admin).await.map_err(not_started)?;
    let note = ServerNote { pid: std::process::id(), endpoint: Some(endpoint.clone()) };
    local.data_dir().note(&note).map_err(not_started)?;
    context.printer.note(&place.trust_note(local.sandbox()));
    context.printer.note(&format!(
        "data in {}; Ctrl-C or SIGTERM ends the server, commands go on",
        local.data_dir().path().display()
    ));
    context.printer.data_line(&endpoint)?;
    until_told(context, local, listener, &mut signals, &mut hangups).await?;
    log.flush().await;
    Ok(exit::OK)
}

/// A server over its data directory, and where it listens. Commands are looked after once it may be there at all.
async fn open(
    args: &ServeArgs,
    place: &Place,
    master_key: Option<MasterKey>,
) -> Result<(Local, ServerLog, TcpListener), CliError> {
    let dir = place::open(place)?;
    let log = ServerLog::open(dir.path(), ServerLogLimits::default())
        .map_err(|e| CliError::new(Kind::Config, format!("the server's log cannot be written: {e}")))?;
    super::log("info", Some(&log));
    let mut config = place.config(&dir, None)?;
    config.server_log = Some(log.clone());
    config.master_key = master_key;
    config.policies.clone_from(&args.policies);
    config.service.public_url.clone_from(&args.public_url);
    config.service.allowed_origins.clone_from(&args.allow_origin);
    limit(&mut config.service, &args.limits);
    let opened = Local::open(dir, config).await.map_err(not_started)?;
    must_be_allowed(args, opened.sandbox())?;
    let listener = TcpListener::bind(args.listen).await.map_err(|e| {
        CliError::new(Kind::Config, format!("cannot listen on {}: {e}", args.listen))
            .hint("pass another --listen")
    })?;
    Ok((opened.tend(), log, listener))
}

async fn until_told(
    context: &Context,
    mut local: Local,
    listener: TcpListener,
    signals: &mut Signals,
    hangups: &mut Hangups,
) -> Result<(), CliError> {
    let runvoy = local.runvoy().clone();
    let (stop, told_to_stop) = tokio::sync::oneshot::channel::<()>();
    let server = serve_router(listener, local.router(), ServeLimits::default(), async move {
        // The sender is dropped only with this whole command.
        let _ = told_to_stop.await;
    });
    let orders = async {
        signals.next().await;
        runvoy.drain();
        let _ = stop.send(());
        signals.next().await;
    };
    let reload = local.policy_reload();
    let reloads = async {
        loop {
            hangups.next().await;
            reload.ask();
        }
    };
    tokio::select! {
        () = reloads => {}
        ended = server => ended.map_err(not_started)?,
        () = local.background_ended() => {
            let what = "the server's background work has ended, and nothing would be settled any more";
            return Err(CliError::new(Kind::NotRun, what).hint("its log says why; start it again"));
        }
        () = orders => context.printer.note("left at once; requests under way were cut off"),
    }
    local.stop().await;
    Ok(())
}

/// Processes are of the server's own kind: whoever may run one may do what the server may.
fn must_be_allowed(args: &ServeArgs, sandbox: &Sandbox) -> Result<(), CliError> {
    if args.listen.ip().is_loopback() || args.allow_unsandboxed || sandbox.is_containers() {
        return Ok(());
    }
    let what = format!("{} is not loopback, and commands are not kept apart from the server", args.listen);
    Err(CliError::new(Kind::Config, what)
        .hint("pass --allow-unsandboxed if everybody who has a key may be the server's user"))
}

/// Lets in what an admin wants let in.
fn limit(service: &mut ServiceConfig, limits: &LimitArgs) {
    let any_number = |number: u64| (number > 0).then_some(number);
    service.rates = rates(limits);
    service.trusted_proxies.clone_from(&limits.trusted_proxy);
    service.max_live = any_number(limits.max_live);
    service.max_live_per_user = any_number(limits.max_live_per_user);
    service.queue_depth = limits.queue_depth;
    service.max_timeout = limits.max_timeout;
    service.log_limit = limits.log_limit;
}

fn rates(limits: &LimitArgs) -> Rates {
    Rates {
        per_key: Rate::per_second(limits.rate_per_key),
        per_address: Rate::per_second(limits.rate_per_address),
        failures: Rate::per_minute(limits.failures_per_address),
    }
}

/// An empty data directory gets its first admin, and this user's configuration the key: that first, since a key that is
/// kept nowhere opens nothing.
async fn first_admin(
    context: &Context,
    local: &Local,
    email: Email,
    preset: Option<ApiKey>,
    endpoint: &str,
) -> Result<(), CliError> {
    if !local.runvoy().is_new().await.map_err(not_started)? {
        if preset.is_some() {
            context.printer.note(&format!("{} is ignored: there are users already", env_vars::ADMIN_API_KEY));
        }
        return Ok(());
    }
    let key = preset.clone().unwrap_or_else(ApiKey::generate);
    let place = match configure(&key, endpoint) {
        Ok(place) => format!("; the key is in {place}"),
        // Whoever presets a key has it.
        Err(error) if preset.is_some() => format!("; the key could not be written down: {error}"),
        Err(error) => return Err(error),
    };
    if local.runvoy().bootstrap_admin(email.clone(), &key).await.map_err(not_started)? {
        context.printer.note(&format!("{email} is the first admin{place}"));
    }
    Ok(())
}

/// Writes the key into this user's configuration; answers where.
fn configure(key: &ApiKey, endpoint: &str) -> Result<String, CliError> {
    let path = settings::config_path()?;
    let mut config = Config::read(&path)?.unwrap_or_default();
    let is_default = config.default.api_endpoint.is_none() && config.default.api_key.is_none();
    let name = free_profile(&config, key);
    for name in [Some(name.as_str()), None].into_iter().filter(|name| name.is_some() || is_default) {
        let profile = config.profile_mut(name);
        profile.api_endpoint = Some(endpoint.to_owned());
        profile.api_key = Some(key.reveal().to_owned());
    }
    config.write(&path)?;
    Ok(match (is_default, name == PROFILE) {
        (true, _) => format!("{}, profile `{name}` and the default one", path.display()),
        (false, true) => format!("{}, profile `{name}`", path.display()),
        (false, false) => {
            let why = "since `local` holds another server's key";
            format!("{}, profile `{name}`, {why}: use it with `--profile {name}`", path.display())
        }
    })
}

/// `local`, or the first of `local-2`, `local-3`… that holds no other key: it may be the only copy.
fn free_profile(config: &Config, key: &ApiKey) -> String {
    let is_free = |name: &String| {
        let held = config.profile(Some(name)).and_then(|profile| profile.api_key.as_deref());
        held.is_none_or(|held| held.is_empty() || held == key.reveal())
    };
    let others = (2_u64..).map(|number| format!("{PROFILE}-{number}"));
    std::iter::once(PROFILE.to_owned()).chain(others).find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, LocalCommand};

    fn limited(args: &[&str]) -> Result<ServiceConfig, clap::Error> {
        let cli = Cli::try_parse_from(["runvoy", "local", "serve"].iter().chain(args))?;
        let Command::Local(LocalCommand::Serve(args)) = cli.command else { panic!("{:?}", cli.command) };
        let mut service = ServiceConfig::default();
        limit(&mut service, &args.limits);
        Ok(service)
    }

    #[test]
    fn a_server_that_is_told_nothing_keeps_the_limits_of_the_service() {
        assert_eq!(limited(&[]).unwrap(), ServiceConfig::default());
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused() {
        assert_eq!(limited(&["--queue-depth", "1000"]).unwrap().queue_depth, 1000);
        assert_eq!(limited(&["--max-live", "0"]).unwrap().max_live, None);
        let bad = [
            ["--queue-depth", "1001"],
            ["--max-timeout", "0"],
            ["--max-timeout", "366d"],
            ["--log-limit", "0"],
            ["--max-live", "-1"],
        ];
        for args in bad {
            assert!(limited(&args).is_err(), "{args:?}");
        }
    }
}

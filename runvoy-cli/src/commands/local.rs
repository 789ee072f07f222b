//! `runvoy local`: the server of this machine, and runs without one.

use std::path::PathBuf;

use super::run::{OnInterrupt, RunSettings, execute};
use super::{Context, no_runtime};
use crate::agent::Agent;
use crate::args::{ExecutorChoice, LocalCommand, LocalRunArgs, ServeArgs};
use crate::client::Client;
use crate::error::{CliError, Kind};

/// Where state is kept and how commands run.
#[expect(dead_code, reason = "the server is still to be wired")]
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Directory for everything that is kept.
    pub(crate) data_dir: PathBuf,
    /// What runs the commands.
    pub(crate) executor: ExecutorChoice,
    /// Where the agent comes from.
    pub(crate) agent: Agent,
}

impl Place {
    fn new(args: &crate::args::PlaceArgs) -> Result<Self, CliError> {
        let data_dir = args.data_dir.clone().map_or_else(default_data_dir, Ok)?;
        Ok(Self { data_dir, executor: args.executor, agent: Agent::find()? })
    }
}

/// `$XDG_DATA_HOME/runvoy`.
fn default_data_dir() -> Result<PathBuf, CliError> {
    let set = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir = set.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    dir.map(|dir| dir.join("runvoy")).ok_or_else(|| {
        CliError::new(Kind::Config, "there is no home directory to keep data in").hint("pass --data-dir")
    })
}

/// The commands.
pub(crate) fn local(context: &Context, command: &LocalCommand) -> Result<u8, CliError> {
    // The server's work must not wait for the client's, nor the other way round.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(no_runtime)?;
    runtime.block_on(async {
        match command {
            LocalCommand::Serve(args) => serve(context, args).await,
            LocalCommand::Run(args) => run(context, args).await,
        }
    })
}

/// Serves until a signal ends it.
#[expect(clippy::unused_async, reason = "the server is still to be wired")]
async fn serve(_context: &Context, args: &ServeArgs) -> Result<u8, CliError> {
    let _place = Place::new(&args.place)?;
    Err(not_wired())
}

/// The whole of `runvoy run`, over a service in this process.
async fn run(context: &Context, args: &LocalRunArgs) -> Result<u8, CliError> {
    let place = Place::new(&args.place)?;
    let mut settings = RunSettings::new(&args.options, &args.command, &std::env::vars_os().collect())?;
    settings.on_interrupt = OnInterrupt::Kill;
    let client = in_process(&place).await?;
    execute(&client, &settings, context.printer).await
}

/// A client of a service in this process.
#[expect(clippy::unused_async, reason = "the service is still to be wired")]
async fn in_process(place: &Place) -> Result<Client, CliError> {
    let _agent = place.agent.path(&place.data_dir)?;
    let (router, key): (axum::Router, http::HeaderValue) = Err(not_wired())?;
    Ok(Client::in_process(router, key))
}

fn not_wired() -> CliError {
    CliError::new(Kind::NotRun, "this build has no local server yet")
}

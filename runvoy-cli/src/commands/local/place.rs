use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use runvoy_core::Config;
use runvoy_local::{DataDir, DataDirError, ExecutorChoice, Guest, LocalConfig, Network, Sandbox, Secret};

use super::not_started;
use crate::agent::Agent;
use crate::args::{self, PlaceArgs};
use crate::env_vars;
use crate::error::{CliError, Kind};

/// Time between two looks for what was left half done.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

/// Variables that every command gets as the server has them.
const PASSED_ON: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

/// Where state is kept and how commands run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Directory for everything that is kept.
    pub(super) data_dir: PathBuf,
    executor: ExecutorChoice,
    /// The image that an empty registry begins with.
    pub(super) default_image: String,
    run_as: Option<String>,
    pass_env: Vec<String>,
    agent: Agent,
}

impl Place {
    pub(super) fn new(args: &PlaceArgs) -> Result<Self, CliError> {
        let data_dir = data_dir(args.data_dir.as_ref())?;
        let executor = match args.executor {
            args::ExecutorChoice::Auto => ExecutorChoice::Auto,
            args::ExecutorChoice::Docker => ExecutorChoice::Docker,
            args::ExecutorChoice::Process => ExecutorChoice::Process,
        };
        let (default_image, run_as) = (args.default_image.clone(), args.run_as.clone());
        Ok(Self {
            data_dir,
            executor,
            default_image,
            run_as,
            pass_env: args.pass_env.clone(),
            agent: Agent::find()?,
        })
    }

    /// What the server is to be told.
    pub(super) fn config(&self, dir: &DataDir, guest: Option<Guest>) -> Result<LocalConfig, CliError> {
        let docker_host = std::env::var(env_vars::DOCKER_HOST).ok().filter(|host| !host.is_empty());
        Ok(LocalConfig {
            executor: self.executor,
            docker_host,
            agent: self.agent.path(dir.path())?,
            base_env: base_env(&self.pass_env),
            run_as: self.run_as.clone(),
            max_processes: None,
            network: network()?,
            service: Config::default(),
            guest,
            reconcile_every: RECONCILE_EVERY,
            master_key: None,
            policies: None,
            server_log: None,
        })
    }

    /// Says once, in the admin's words, what keeps commands apart from the server.
    pub(super) fn trust_note(&self, sandbox: &Sandbox) -> String {
        let instead = match sandbox {
            Sandbox::Containers { away } => {
                let away = away.as_ref().map(|why| format!("; they wait until the engine is there: {why}"));
                let note =
                    "commands run in containers of registered images; `runvoy images` shows and changes them";
                return format!("{note}{}", away.unwrap_or_default());
            }
            Sandbox::Processes { instead } => {
                instead.as_ref().map(|why| format!("; not in containers, since {why}")).unwrap_or_default()
            }
        };
        let whom = match (&self.run_as, rustix::process::geteuid().is_root()) {
            (Some(user), _) => format!("as user `{user}`"),
            (None, true) => "as root; `--run-as USER` makes them somebody else".to_owned(),
            (None, false) => "as the server's own user, who can read its data and keys".to_owned(),
        };
        format!("commands run as processes of this machine, {whom}{instead}")
    }
}

/// The directory that is named, or the usual one.
pub(super) fn data_dir(named: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    named.cloned().map_or_else(default_data_dir, Ok)
}

/// `$XDG_DATA_HOME/runvoy`.
fn default_data_dir() -> Result<PathBuf, CliError> {
    let set = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir = set.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    dir.map(|dir| dir.join("runvoy")).ok_or_else(|| {
        CliError::new(Kind::Config, "there is no home directory to keep data in").hint("pass --data-dir")
    })
}

/// What commands start from: of this process's environment what tells who and where they are, and what an admin names.
/// Anything else may be a credential of the admin's own. Nothing of Runvoy's is ever passed on.
fn base_env(pass: &[String]) -> BTreeMap<String, String> {
    let is_passed = |name: &str| {
        PASSED_ON.contains(&name) || name.starts_with("LC_") || pass.iter().any(|wanted| wanted == name)
    };
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| is_passed(name) && !name.starts_with("RUNVOY_")).collect()
}

/// How checkouts reach their servers, as far as the environment says.
fn network() -> Result<Network, CliError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let either = |name: &str| variable(name).or_else(|| variable(&name.to_lowercase()));
    let bundle = std::env::var_os(env_vars::CA_BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|error| {
            CliError::new(Kind::Config, format!("{} cannot be read: {error}", path.display()))
                .hint(format!("{} names a PEM file of certificates", env_vars::CA_BUNDLE))
        })
    };
    Ok(Network {
        ca_bundle: bundle.map(read).transpose()?,
        https_proxy: either("HTTPS_PROXY").map(Secret::new),
        no_proxy: either("NO_PROXY"),
    })
}

/// The data directory, or why not.
pub(super) fn open(place: &Place) -> Result<DataDir, CliError> {
    DataDir::open(&place.data_dir).map_err(unusable)
}

/// A data directory that cannot be had, and what to do about it.
pub(super) fn unusable(error: DataDirError) -> CliError {
    let hint = match error {
        DataDirError::Held { .. } => "stop that process, or pass another --data-dir",
        DataDirError::Unused { .. } => "pass the --data-dir of the server",
        _ => "pass another --data-dir",
    };
    not_started(error).hint(hint)
}

//! One machine's Runvoy, wired: SQLite, containers or processes, log files, Cedar.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::clock::{Clock as _, SystemClock};
use runvoy_core::id::{Email, RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::port::{BoxError, KeyStore, User};
use runvoy_core::{Config, ReconcileOptions, Runvoy, http, limits};
use runvoy_task::Network;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::code_files::CodeFiles;
use crate::data_dir::{DataDir, Passage};
use crate::executors::{self, ExecutorChoice, Sandbox};
use crate::guest::WithGuest;
use crate::key_files;
use crate::log_files::LogFiles;
use crate::policy_dir::{self, PolicyDir};
use crate::server_log::ServerLog;
use crate::sqlite::{MasterKey, SqliteConfig, SqliteStores};

/// Time for starts that are under way.
const LAST_STARTS: Duration = Duration::from_secs(5);
/// Time for the last checkpoint.
const ANCHOR: Duration = Duration::from_secs(5);

/// What a front-end has to say. Nothing here is read from the environment. `Debug` shows no variable's value.
pub struct LocalConfig {
    /// What runs commands.
    pub executor: ExecutorChoice,
    /// Where the Docker engine listens, `unix://…` or `tcp://…`; the usual place if absent.
    pub docker_host: Option<String>,
    /// The agent's executable; for containers one that is linked statically.
    pub agent: PathBuf,
    /// The environment that every process starts from; containers have their image's.
    pub base_env: BTreeMap<String, String>,
    /// The user that processes run as; the server's own if absent.
    pub run_as: Option<String>,
    /// Processes that a command may have, where the system can bind it.
    pub max_processes: Option<u64>,
    /// How checkouts reach their servers.
    pub network: Network,
    /// What an admin may set.
    pub service: Config,
    /// Somebody who is known for as long as this server lives.
    pub guest: Option<Guest>,
    /// Time between two passes of [`Runvoy::reconcile`].
    pub reconcile_every: Duration,
    /// The master key, where it is not in the data directory.
    pub master_key: Option<MasterKey>,
    /// A directory of an organisation's own policies, which is followed.
    pub policies: Option<PathBuf>,
    /// The server's own log, for those who may read it.
    pub server_log: Option<ServerLog>,
}

impl fmt::Debug for LocalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalConfig")
            .field("agent", &self.agent)
            .field("run_as", &self.run_as)
            .field("service", &self.service)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

/// An admin whose key is stored nowhere: for a process that is server and client in one.
#[derive(Debug)]
pub struct Guest {
    /// Who.
    pub email: Email,
    /// Their key.
    pub key: ApiKey,
}

/// What kept a server from starting.
#[derive(Debug, thiserror::Error)]
#[error("cannot start: {what}")]
pub struct LocalError {
    what: &'static str,
    source: BoxError,
}

pub(crate) fn failed<E: Into<BoxError>>(what: &'static str) -> impl FnOnce(E) -> LocalError {
    move |source| LocalError { what, source: source.into() }
}

/// A server that does nothing yet: time to look whether it is what was wanted.
pub struct Opened {
    runvoy: Runvoy,
    sandbox: Sandbox,
    dir: DataDir,
    /// Closed again, if this server is not to be there.
    passage: Option<Passage>,
    policies: Option<PolicyDir>,
    has_guest: bool,
    reconcile_every: Duration,
}

impl Opened {
    /// What keeps commands apart from the server.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Finds the tasks of an earlier server, and begins to look after them.
    pub fn tend(self) -> Local {
        let Self { runvoy, sandbox, dir, passage, policies, has_guest, reconcile_every } = self;
        if let Some(passage) = passage {
            passage.keep();
        }
        let mut background = JoinSet::new();
        // Who owns the data directory knows that nobody else is at a start that was left half done.
        let options =
            ReconcileOptions { alone_since: Some(SystemClock.now()), ..ReconcileOptions::default() };
        background.spawn(runvoy.clone().tend(reconcile_every, options));
        let reload = Arc::new(Notify::new());
        match policies {
            Some(policies) => {
                background.spawn(policies.follow(runvoy.clone(), Arc::clone(&reload)));
            }
            // That there are none may be news.
            None if !has_guest => {
                background.spawn(policy_dir::record_none(runvoy.clone()));
            }
            None => {}
        }
        Local { runvoy, sandbox, background, dir, reload }
    }
}

/// A running server without its listener.
#[derive(Debug)]
pub struct Local {
    runvoy: Runvoy,
    sandbox: Sandbox,
    /// Stopped when dropped; the tasks that it looks after go on.
    background: JoinSet<()>,
    dir: DataDir,
    reload: Arc<Notify>,
}

impl Local {
    /// [`open`](Self::open), and [`tend`](Opened::tend) at once.
    pub async fn start(dir: DataDir, config: LocalConfig) -> Result<Self, LocalError> {
        Ok(Self::open(dir, config).await?.tend())
    }

    /// Opens the data directory's stores and chooses what runs commands. Starts nothing yet, and ends nothing.
    ///
    /// Blocks for the few milliseconds that opening a database takes, so call it before serving. Needs a Tokio runtime.
    pub async fn open(dir: DataDir, mut config: LocalConfig) -> Result<Opened, LocalError> {
        let master_key = match config.master_key.take() {
            Some(key) => key,
            None => key_files::settle(&dir).map_err(failed("the master key is not usable"))?,
        };
        let (checkpoint_key, stream_key) = (master_key.checkpoint_key(), master_key.stream_key());
        let stores = SqliteStores::open(SqliteConfig { path: dir.database(), master_key })
            .map_err(failed("the database is not usable"))?;
        let passage = config.run_as.is_some().then(|| dir.let_pass()).transpose();
        let passage = passage.map_err(failed("commands of another user cannot reach their directories"))?;
        let (executor, sandbox) =
            executors::choose(&dir, &config).await.map_err(failed("no command could be run"))?;
        let code = CodeFiles::open(dir.code(), limits::UPLOAD_FREE_DISK_PERCENT)
            .map_err(failed("uploaded code cannot be kept"))?;
        let logs = LogFiles::new(dir.executions()).map_err(failed("the log files are not usable"))?;
        let has_guest = config.guest.is_some();
        let policies = config
            .policies
            .as_deref()
            .map(PolicyDir::open)
            .transpose()
            .map_err(failed("the policies are refused"))?;
        let builtin = || Arc::new(CedarAuthorizer::builtin());
        let mut builder = Runvoy::builder();
        if let Some(log) = config.server_log.take() {
            builder = builder.trace(Arc::new(log));
        }
        let runvoy = builder
            .keys(with_guest(stores.key_store(), config.guest.take()))
            .executions(stores.execution_store())
            .locks(stores.lock_manager())
            .images(stores.image_registry())
            .secrets(stores.secret_store())
            .code(Arc::new(code))
            .audit(stores.audit_log())
            .intake(stores.intake())
            .checkpoint_key(checkpoint_key)
            .stream_key(stream_key)
            .executor(executor)
            .logs(Arc::new(logs))
            .authorizer(policies.as_ref().map_or_else(builtin, PolicyDir::authorizer))
            .config(config.service)
            .build()
            .map_err(failed("a port is missing"))?;
        let reconcile_every = config.reconcile_every;
        Ok(Opened { runvoy, sandbox, dir, passage, policies, has_guest, reconcile_every })
    }

    /// What has the directory of policies read again.
    pub fn policy_reload(&self) -> PolicyReload {
        PolicyReload(Arc::clone(&self.reload))
    }

    /// The service.
    pub fn runvoy(&self) -> &Runvoy {
        &self.runvoy
    }

    /// What keeps commands apart from the server.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The HTTP API.
    pub fn router(&self) -> Router {
        http::router(self.runvoy.clone())
    }

    /// The data directory.
    pub fn data_dir(&self) -> &DataDir {
        &self.dir
    }

    /// Resolves if looking after tasks has ended, which it never should: whoever serves gives up then.
    pub async fn background_ended(&mut self) {
        if let Some(Err(error)) = self.background.join_next().await {
            tracing::error!(%error, "the background work of the server has ended");
        }
    }

    /// Stops looking after tasks, which go on, anchors the audit log, and gives the data directory back.
    pub async fn stop(mut self) {
        self.runvoy.drain();
        if tokio::time::timeout(LAST_STARTS, self.runvoy.settled()).await.is_err() {
            tracing::warn!("a start was cut off; the next server goes on with it");
        }
        self.background.shutdown().await;
        if tokio::time::timeout(LAST_STARTS, self.runvoy.settled()).await.is_err() {
            tracing::warn!("the outcome of a run is recorded by the next server");
        }
        if !matches!(tokio::time::timeout(ANCHOR, self.runvoy.keep_people()).await, Ok(Ok(()))) {
            tracing::warn!("who was seen in the last minute is not written down");
        }
        let anchored = tokio::time::timeout(ANCHOR, self.runvoy.checkpoint_audit()).await;
        if !matches!(anchored, Ok(Ok(_))) {
            tracing::warn!(
                "audit log not anchored: what was written since the last checkpoint can be cut off unseen"
            );
        }
    }
}

/// Asks for the directory of policies to be read again, soon; without one it does nothing.
#[derive(Clone, Debug)]
pub struct PolicyReload(Arc<Notify>);

impl PolicyReload {
    /// Asks.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

fn with_guest(keys: Arc<dyn KeyStore>, guest: Option<Guest>) -> Arc<dyn KeyStore> {
    let Some(Guest { email, key }) = guest else { return keys };
    let request_id = RequestId::random();
    let user = User::new(email, Role::Admin, SystemClock.now(), request_id);
    Arc::new(WithGuest { inner: keys, user, key: key.hash() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_start_that_is_refused_leaves_the_directory_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&home.path().join("data")).unwrap();
        let path = dir.path().to_owned();
        let config = LocalConfig {
            // No container's user is to be chosen here.
            executor: ExecutorChoice::Docker,
            docker_host: None,
            agent: home.path().join("agent"),
            base_env: BTreeMap::new(),
            run_as: Some("nobody".to_owned()),
            max_processes: None,
            network: Network::default(),
            service: Config::default(),
            guest: None,
            reconcile_every: Duration::from_secs(5),
            master_key: None,
            policies: None,
            server_log: None,
        };
        assert!(Local::open(dir, config).await.is_err());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
